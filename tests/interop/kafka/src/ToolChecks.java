/** Kafka's command-line tools against a server at TIDELOG_KAFKA whose data is in TIDELOG_DATA. */
public final class ToolChecks {
    private ToolChecks() {}

    public static void main(String[] arguments) {
        Checks checks = new Checks("tools");
        TopicToolChecks.add(checks);
        RecordToolChecks.add(checks);
        GroupToolChecks.add(checks);
        ClusterToolChecks.add(checks);
        DumpToolChecks.add(checks);
        TransactionToolChecks.add(checks);
        System.exit(checks.run() ? 0 : 1);
    }
}
