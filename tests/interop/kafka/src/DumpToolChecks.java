import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Kafka's dump tool on the files in TIDELOG_DATA. */
final class DumpToolChecks {
    private DumpToolChecks() {}

    private static final String DUMP = "DumpLogSegments";
    private static final Path DATA = Path.of(System.getenv("TIDELOG_DATA"));

    static void add(Checks checks) {
        checks.add("dump-log: segments, indexes and snapshots", DumpToolChecks::segments);
        checks.add("dump-log: __consumer_offsets", DumpToolChecks::offsets);
    }

    static List<Path> files(String folder, String ending) throws IOException {
        try (Stream<Path> all = Files.list(DATA.resolve(folder))) {
            return all.filter(path -> path.toString().endsWith(ending)).sorted().toList();
        }
    }

    private static void segments() throws Exception {
        String topic = Client.topic("dump", 1, Map.of("internal.segment.bytes", "16384", "index.interval.bytes", "1024"));
        Random random = new Random(4);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int n = 0; n < 100; n++) {
                ProducerRecord<byte[], byte[]> record = Client.record(topic, 0, "key " + n, codec
                        + random.ints(40).boxed().toList());
                records.add(record);
                record.headers().add(new RecordHeader("a", new byte[] {1})).add(new RecordHeader("b", null));
            }
            Client.send(Map.of("compression.type", codec, "batch.size", "2000"), records);
        }
        List<Path> logs = files(topic + "-0", ".log");
        Checks.isTrue(logs.size() >= 3, "closed segments: " + logs);
        int records = 0;
        StringBuilder all = new StringBuilder();
        for (Path log : logs) {
            Tool dump = Tool.plain(DUMP, "--deep-iteration", "--print-data-log", "--files", log.toString()).ok()
                    .prints("Log starting offset: " + Long.parseLong(log.getFileName().toString().replace(".log", "")))
                    .prints("isvalid: true").lacks("isvalid: false").fails("headerKeys: [a,b]");
            records += dump.lines().stream().filter(line -> line.startsWith("| offset: ")).count();
            all.append(dump.out);
        }
        Checks.equal(records, 500, "records");
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            Checks.isTrue(all.indexOf("compresscodec: " + codec) >= 0, "a batch of " + codec);
        }
        // All but the last segment are closed and have their indexes. A mismatch with the log would be printed.
        int entries = 0;
        for (Path index : files(topic + "-0", ".index").subList(0, logs.size() - 1)) {
            Tool.plain(DUMP, "--index-sanity-check", "--files", index.toString()).ok().prints("passed sanity check.");
            Tool.plain(DUMP, "--verify-index-only", "--files", index.toString()).ok().lacks("Mismatches in :");
            entries += Tool.plain(DUMP, "--files", index.toString()).ok().lines()
                    .stream().filter(line -> line.startsWith("offset: ")).count();
        }
        Checks.isTrue(entries > 5, "entries of offset indexes: " + entries);
        for (Path index : files(topic + "-0", ".timeindex").subList(0, logs.size() - 1)) {
            Tool.plain(DUMP, "--files", index.toString()).ok().matches("timestamp: [1-9]\\d{12} offset: \\d+")
                    .lacks("Found timestamp mismatch").lacks("Index timestamp:").lacks("out of order");
        }
        List<Path> snapshots = files(topic + "-0", ".snapshot");
        Checks.isTrue(!snapshots.isEmpty(), "a snapshot of the producers");
        Tool.plain(DUMP, "--files", snapshots.get(snapshots.size() - 1).toString()).ok()
                .matches("producerId: \\d+ producerEpoch: 0 .*lastTimestamp: \\d+ .*lastSequence: 99 .*lastOffset: 99 .*");
    }

    private static void offsets() throws Exception {
        String topic = Client.topic("dump-group", 1, Map.of());
        String group = Checks.unique("dump-group");
        Client.send(Map.of(), Client.numbers(topic, 5));
        for (String protocol : List.of("classic", "consumer")) {
            String member = " --group " + group + "-" + protocol + " --command-property group.protocol=" + protocol;
            Tool.run("consumer.ConsoleConsumer", "--from-beginning --max-messages 5 --topic " + topic + member).ok();
        }
        String all = "";
        for (int partition = 0; partition < 50; partition++) {
            for (Path log : files("__consumer_offsets-" + partition, ".log")) {
                if (Files.size(log) > 0) all += Tool.plain(DUMP, "--offsets-decoder", "--files", log.toString()).ok()
                        .lacks("isvalid: false").out;
            }
        }
        for (String protocol : List.of("classic", "consumer")) {
            String key = "{\"type\":\"1\",\"data\":{\"group\":\"" + group + "-" + protocol + "\",\"topic\":\"" + topic
                    + "\",\"partition\":0}}";
            Checks.isTrue(all.contains("key: " + key + " payload: {\"version\":\"4\",\"data\":{\"offset\":5,"), "the commit of "
                    + protocol);
        }
        Checks.isTrue(all.contains("key: {\"type\":\"2\",\"data\":{\"group\":\"" + group
                + "-classic\"}} payload: {\"version\":\"3\""), "the classic group");
        Checks.isTrue(all.contains("key: {\"type\":\"3\",\"data\":{\"groupId\":\"" + group
                + "-consumer\"}} payload: {\"version\":\"0\""), "the consumer group");
        Checks.isTrue(all.contains("key: {\"type\":\"8\",\"data\":{\"groupId\":\"" + group + "-consumer\""),
                "its members' assignments");
    }
}
