import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.kafka.clients.producer.KafkaProducer;

/** Tools for transactions. */
final class TransactionToolChecks {
    private TransactionToolChecks() {}

    private static final String TRANSACTIONS = "TransactionsCommand";
    private static final String CONSUMER = "consumer.ConsoleConsumer";

    static void add(Checks checks) {
        checks.add("transactions: list, describe, abort", TransactionToolChecks::abort);
        checks.add("transactions: what committed readers see", TransactionToolChecks::isolation);
        checks.add("transactions: perf tests", TransactionToolChecks::performance);
        checks.add("transactions: dump-log", TransactionToolChecks::dump);
    }

    private static KafkaProducer<byte[], byte[]> producer(String id) {
        KafkaProducer<byte[], byte[]> producer = Client.producer(Map.of("transactional.id", id));
        producer.initTransactions();
        return producer;
    }

    private static void abort() throws Exception {
        String topic = Client.topic("tool-abort", 1, Map.of());
        String id = Checks.unique("tool-abort");
        String on = " --topic " + topic + " --partition 0";
        Client.send(Map.of(), Client.numbers(topic, 3));
        try (KafkaProducer<byte[], byte[]> producer = producer(id)) {
            producer.beginTransaction();
            for (int n = 0; n < 5; n++) producer.send(Client.record(topic, 0, null, "open " + n));
            producer.flush();
            Tool.run(TRANSACTIONS, "list").ok().matches(id + "\\s+1\\s+\\d+\\s+Ongoing\\s*");
            Tool.run(TRANSACTIONS, "describe --transactional-id " + id).ok()
                    .matches("1\\s+" + id + "\\s+\\d+\\s+0\\s+Ongoing\\s+60000\\s+\\d+\\s+\\d+\\s+" + topic + "-0\\s*");
            Tool.run(TRANSACTIONS, "describe-producers" + on).ok().matches("\\d+\\s+0\\s+\\S+\\s+4\\s+\\d+\\s+3\\s*");
            Tool.run(TRANSACTIONS, "find-hanging --broker-id 1").ok().lacks(topic);
            Tool.run("GetOffsetShell", "--topic " + topic).ok().prints(topic + ":0:8");
            Tool.run(TRANSACTIONS, "abort --start-offset 3" + on).ok();
            Tool.run(TRANSACTIONS, "describe-producers" + on).ok().matches("\\d+\\s+0\\s+\\S+\\s+4\\s+\\d+\\s+None\\s*");
            Tool.run(CONSUMER, "--isolation-level read_committed --from-beginning --timeout-ms 3000 --topic " + topic).ok()
                    .prints("2").lacks("open");
        }
    }

    private static void isolation() throws Exception {
        String topic = Client.topic("tool-isolation", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(Checks.unique("tool-isolation"))) {
            for (String outcome : List.of("committed", "aborted", "committed")) {
                producer.beginTransaction();
                producer.send(Client.record(topic, 0, null, outcome));
                if (outcome.equals("aborted")) producer.flush();
                if (outcome.equals("aborted")) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
        String read = "--from-beginning --timeout-ms 3000 --topic " + topic + " --isolation-level ";
        Checks.equal(Tool.run(CONSUMER, read + "read_committed").ok().lines()
                .stream().filter("committed"::equals).count(), 2L, "committed");
        Tool.run(CONSUMER, read + "read_committed").ok().lacks("aborted");
        Tool.run(CONSUMER, read + "read_uncommitted").ok().prints("aborted");
    }

    private static void performance() throws Exception {
        String topic = Client.topic("tool-perf", 1, Map.of());
        String options = "--transactional-id " + Checks.unique("perf")
                + " --transaction-duration-ms 100 --producer-props bootstrap.servers="
                + Checks.BROKERS;
        Tool.plain("ProducerPerformance",
                ("--topic " + topic + " --num-records 10000 --record-size 100 --throughput -1 " + options).split(" "))
                .ok().matches("10000 records sent, .*");
        Tool.run("ConsumerPerformance", "--num-records 10000 --topic " + topic).ok().matches(".*, 10000, .*");
    }

    private static void dump() throws Exception {
        String topic = Client.topic("tool-dump", 1, Map.of("internal.segment.bytes", "16384"));
        String id = Checks.unique("tool-dump");
        try (KafkaProducer<byte[], byte[]> producer = producer(id)) {
            for (int n = 0; n < 5; n++) {
                producer.beginTransaction();
                producer.send(Client.record(topic, 0, null, "x".repeat(10_000)));
                producer.flush();
                if (n % 2 == 0) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
        Tool first = dump(DumpToolChecks.files(topic + "-0", ".log").get(0), "--print-data-log");
        first.prints("isTransactional: true isControl: true").prints("endTxnMarker: COMMIT coordinatorEpoch: 0")
                .lacks("isvalid: false");
        boolean aborted = false;
        for (Path index : DumpToolChecks.files(topic + "-0", ".txnindex")) {
            aborted |= Files.size(index) > 0 && dump(index).out.contains("producerId: ");
        }
        Checks.isTrue(aborted, "an entry of an index of aborted transactions");
        StringBuilder all = new StringBuilder();
        for (int partition = 0; partition < 50; partition++) {
            for (Path log : DumpToolChecks.files("__transaction_state-" + partition, ".log")) {
                if (Files.size(log) > 0) all.append(dump(log, "--transaction-log-decoder").lacks("isvalid: false").out);
            }
        }
        String key = "key: {\"type\":\"0\",\"data\":{\"transactionalId\":\"" + id + "\"}} payload: {\"version\":\"";
        Checks.isTrue(all.indexOf(key) >= 0, "the transaction's records");
        Checks.isTrue(all.indexOf("\"transactionPartitions\":[{\"topic\":\"" + topic + "\",\"partitionIds\":[0]}]") >= 0,
                "its partitions");
    }

    private static Tool dump(Path file, String... options) throws Exception {
        String[] arguments = Stream.concat(Stream.of("--files", file.toString()), Stream.of(options)).toArray(String[]::new);
        return Tool.plain("DumpLogSegments", arguments).ok();
    }
}
