import static java.util.stream.Collectors.joining;

import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** Tools that write and read records. */
final class RecordToolChecks {
    private RecordToolChecks() {}

    private static final String CONSUMER = "consumer.ConsoleConsumer";

    static void add(Checks checks) {
        checks.add("console producer and consumer", RecordToolChecks::console);
        checks.add("console consumer: a group resumes", () -> resumes("classic"));
        checks.add("console consumer: a group of the consumer protocol resumes", () -> resumes("consumer"));
        checks.add("console consumer: read_committed, offset, topics by pattern", RecordToolChecks::selections);
        checks.add("producer-perf-test and consumer-perf-test", RecordToolChecks::performance);
        checks.add("e2e-latency", RecordToolChecks::latency);
        checks.add("verifiable producer and consumer", RecordToolChecks::verifiable);
    }

    private static String numbers(int count) {
        return IntStream.range(0, count).mapToObj(n -> "k" + n + ":v" + n + "\n").collect(joining());
    }

    private static void produce(String topic, String input, String options) throws Exception {
        String properties = " --reader-property parse.key=true --reader-property key.separator=: ";
        Tool.feed(input, "ConsoleProducer", "--topic " + topic + properties + options).ok();
    }

    private static void console() throws Exception {
        String topic = Client.topic("console", 1, Map.of());
        produce(topic, numbers(5), "--compression-codec zstd");
        produce(topic, "a:1,b:,a:2|k:v\n",
                "--reader-property parse.headers=true --reader-property headers.delimiter=| --reader-property null.marker=NULL");
        produce(topic, "gone:NULL\n", "--reader-property null.marker=NULL --producer-property acks=1");
        String show = List.of("key", "headers", "partition", "offset").stream()
                .map(what -> " --formatter-property print." + what + "=true").collect(joining());
        Tool read = Tool.run(CONSUMER, "--from-beginning --max-messages 7 --topic " + topic + show).ok();
        Checks.equal(read.lines().subList(0, 7), List.of(
                "Partition:0\tOffset:0\tNO_HEADERS\tk0\tv0", "Partition:0\tOffset:1\tNO_HEADERS\tk1\tv1",
                "Partition:0\tOffset:2\tNO_HEADERS\tk2\tv2", "Partition:0\tOffset:3\tNO_HEADERS\tk3\tv3",
                "Partition:0\tOffset:4\tNO_HEADERS\tk4\tv4", "Partition:0\tOffset:5\ta:1,b:,a:2\tk\tv",
                "Partition:0\tOffset:6\tNO_HEADERS\tgone\tnull"));
        read.fails("Processed a total of 7 messages");
    }

    private static void resumes(String protocol) throws Exception {
        String topic = Client.topic("console-" + protocol, 1, Map.of());
        produce(topic, numbers(10), "");
        String group = " --group " + Checks.unique("console-" + protocol) + " --command-property group.protocol=" + protocol;
        for (int round = 0; round < 2; round++) {
            int from = 5 * round;
            Tool read = Tool.run(CONSUMER, "--from-beginning --max-messages 5 --topic " + topic + group).ok();
            Checks.equal(values(read), IntStream.range(from, from + 5).mapToObj(n -> "v" + n).toList());
        }
    }

    /** The lines that are values; the consumer's own remarks have blanks. */
    private static List<String> values(Tool read) {
        return read.lines().stream().filter(line -> !line.contains(" ")).toList();
    }

    private static void selections() throws Exception {
        String topic = Client.topic("console-select", 2, Map.of());
        Client.send(Map.of(), Client.numbers(topic, 10));
        Tool read = Tool.run(CONSUMER, "--isolation-level read_committed --from-beginning --timeout-ms 3000 --topic " + topic).ok();
        Checks.equal(values(read).size(), 10, "records");
        Checks.equal(values(Tool.run(CONSUMER, "--partition 0 --offset 7 --max-messages 3 --topic " + topic)
                .ok()), List.of("7", "8", "9"));
        read = Tool.run(CONSUMER, "--from-beginning --max-messages 10 --include " + topic.replace("select", "s.*t")).ok();
        Checks.equal(values(read).size(), 10, "records of the pattern");
    }

    private static void performance() throws Exception {
        String topic = Client.topic("perf", 2, Map.of());
        String settings = "--producer-props acks=all compression.type=lz4 bootstrap.servers=" + Checks.BROKERS;
        Tool.plain("ProducerPerformance",
                ("--topic " + topic + " --num-records 20000 --record-size 100 --throughput -1 " + settings).split(" "))
                .ok().matches("20000 records sent, .* records/sec .* ms 99.9th.");
        Tool.run("ConsumerPerformance", "--num-records 20000 --topic " + topic).ok()
                .matches("\\d{4}-\\d\\d-\\d\\d .*, 1.9073, .*, 20000, .*");
    }

    private static void latency() throws Exception {
        String topic = Client.topic("latency", 1, Map.of());
        Tool.run("EndToEndLatency", "--num-records 100 --producer-acks all --record-size 100 --topic " + topic).ok()
                .matches("Avg latency: .* ms").matches("Percentiles: 50th = \\d+, 99th = \\d+, 99.9th = \\d+");
    }

    private static void verifiable() throws Exception {
        String topic = Client.topic("verifiable", 1, Map.of());
        Tool.process("VerifiableProducer", "--max-messages 20 --acks -1 --topic " + topic).ok()
                .prints("\"name\":\"producer_send_success\",\"key\":null,\"value\":\"19\",\"offset\":19")
                .prints("\"sent\":20,\"acked\":20");
        for (String protocol : List.of("classic", "consumer")) {
            String group = " --group-protocol " + protocol + " --group-id " + Checks.unique("verifiable-" + protocol);
            Tool.process("VerifiableConsumer", "--max-messages 20 --topic " + topic + group).ok()
                    .prints("\"name\":\"records_consumed\",\"count\":20")
                    .prints("\"offsets\":[{\"topic\":\"" + topic + "\",\"partition\":0,\"offset\":20}],\"success\":true");
        }
    }
}
