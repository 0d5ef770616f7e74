/** Kafka's Java clients against a server at TIDELOG_KAFKA. */
public final class Check {
    private Check() {}

    public static void main(String[] arguments) {
        Checks checks = new Checks("java");
        RecordChecks.add(checks);
        GroupChecks.add(checks);
        TransactionChecks.add(checks);
        TransactionProtocolChecks.add(checks);
        ConsumerGroupChecks.add(checks);
        MigrationChecks.add(checks);
        BreakChecks.add(checks);
        AdminChecks.add(checks);
        System.exit(checks.run() ? 0 : 1);
    }
}
