import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Kafka Connect in distributed mode: lines go from a file into a topic and from the topic into another file. */
public final class ConnectChecks {
    private ConnectChecks() {}

    private static final String GROUP = Checks.unique("connect");
    private static final String TOPIC = Checks.unique("connect-lines");
    private static final Map<String, String> SETTINGS = Map.of(
            "key.converter", "org.apache.kafka.connect.storage.StringConverter",
            "value.converter", "org.apache.kafka.connect.storage.StringConverter",
            "offset.flush.interval.ms", "200",
            // Sinks read in groups of their own, which miss a killed member after this time.
            "consumer.session.timeout.ms", "6000",
            // Segments of the offsets close soon, so that there is something to compact.
            "offset.storage.segment.ms", "500", "offset.storage.min.cleanable.dirty.ratio", "0.01", "offset.storage.partitions",
            "1");

    private static Path in;
    private static Path out;
    private static Worker first;
    private static Worker second;
    private static int lines = 0;

    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory("tidelog-connect");
        in = folder.resolve("in");
        out = folder.resolve("out");
        Checks checks = new Checks("connect");
        checks.add("file source and sink by REST", ConnectChecks::create);
        checks.add("pause, resume, alter and restart a connector", ConnectChecks::manage);
        checks.add("a second worker takes its part, and all when the first is killed", ConnectChecks::failover);
        checks.add("a worker that was stopped goes on where it ended", ConnectChecks::restart);
        checks.add("internal topics are compacted", ConnectChecks::compaction);
        checks.add("delete connectors", ConnectChecks::delete);
        checks.add("exactly-once source: killed in the middle, every line comes once", ConnectChecks::exactlyOnce);
        boolean passed = checks.run();
        for (Worker worker : new Worker[] {first, second}) {
            if (worker != null) worker.kill();
        }
        System.exit(passed ? 0 : 1);
    }

    /** Appends lines to the source's file. */
    private static void write(int count) throws Exception {
        List<String> more = IntStream.range(lines, lines + count).mapToObj(n -> "line " + n).toList();
        Files.write(in, more, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        lines += count;
    }

    private static List<String> written() throws Exception {
        return Files.exists(out) ? Files.readAllLines(out) : List.of();
    }

    /** Waits until every line has arrived. */
    private static List<String> arrived() throws Exception {
        Checks.until("all lines", () -> new HashSet<>(written()).size() == lines);
        return written();
    }

    private static List<String> all() {
        return IntStream.range(0, lines).mapToObj(n -> "line " + n).toList();
    }

    private static void create() throws Exception {
        write(100);
        first = new Worker(GROUP, SETTINGS).ready();
        Checks.isTrue(first.get("/").get("kafka_cluster_id").asText().length() == 22, "the cluster's id");
        Checks.isTrue(first.get("/connector-plugins").toString().contains("FileStreamSourceConnector"), "the file source is known");
        Map<String, String> source = Map.of("connector.class", "FileStreamSource", "file", in.toString(), "topic", TOPIC);
        first.ask("POST", "/connectors", Map.of("name", "source", "config", source));
        Map<String, String> sink = Map.of("connector.class", "FileStreamSink", "file", out.toString(), "topics", TOPIC);
        first.ask("POST", "/connectors", Map.of("name", "sink", "config", sink));
        Checks.until("both run", () -> first.runs("source", 1) && first.runs("sink", 1));
        Checks.equal(arrived(), all());
        Checks.equal(first.send("POST", "/connectors", Map.of("name", "sink", "config", sink)).statusCode(), 409,
                "the status of a second one");
        Checks.until("the offsets are known", () -> {
            for (JsonNode one : first.get("/connectors/sink/offsets").get("offsets")) {
                if (!one.get("partition").get("kafka_topic").asText().equals(TOPIC)) continue;
                if (one.get("offset").get("kafka_offset").asInt() == lines) return true;
            }
            return false;
        });
    }

    private static void manage() throws Exception {
        first.ask("PUT", "/connectors/sink/pause", null);
        Checks.until("it pauses", () -> first.get("/connectors/sink/status").get("tasks").get(0)
                .get("state").asText().equals("PAUSED"));
        write(50);
        first.ask("PUT", "/connectors/sink/resume", null);
        Checks.until("it runs", () -> first.runs("sink", 1));
        Checks.equal(arrived(), all());
        Map<String, String> sink = Map.of("connector.class", "FileStreamSink", "file", out.toString(), "topics", TOPIC,
                "tasks.max", "2");
        first.ask("PUT", "/connectors/sink/config", sink);
        Checks.equal(first.get("/connectors/sink").get("config").get("tasks.max").asText(), "2");
        first.ask("POST", "/connectors/source/restart?includeTasks=true", null);
        Checks.until("all run", () -> first.runs("source", 1) && first.runs("sink", 2));
        write(50);
        Checks.equal(arrived(), all());
    }

    private static void failover() throws Exception {
        second = new Worker(GROUP, SETTINGS).ready();
        Checks.until("both workers have tasks", () -> {
            HashSet<String> workers = new HashSet<>(second.get("/connectors/sink/status").findValuesAsText("worker_id"));
            workers.addAll(second.get("/connectors/source/status").findValuesAsText("worker_id"));
            return workers.size() == 2 && second.runs("source", 1) && second.runs("sink", 2);
        });
        write(50);
        arrived();
        first.kill();
        write(50);
        arrived();
        String left = second.url.substring("http://".length());
        Checks.until("all is at the second", () -> second.runs("source", 1) && second.runs("sink", 2)
                && (second.get("/connectors/sink/status") + "" + second.get("/connectors/source/status")).split(left,
                -1).length == 6);
    }

    private static void restart() throws Exception {
        // What the killed worker did twice is in the file already; from here on nothing may be missing or double.
        int before = written().size();
        second.stop();
        write(50);
        first = new Worker(GROUP, SETTINGS).ready();
        arrived();
        write(50);
        List<String> written = arrived();
        Checks.equal(written.subList(before, written.size()), all().subList(lines - 100, lines));
    }

    private static void compaction() throws Exception {
        try (Admin admin = Client.admin()) {
            for (String topic : List.of("-configs", "-offsets", "-status")) {
                ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, GROUP + topic);
                Checks.equal(admin.describeConfigs(List.of(resource)).all().get().get(resource)
                        .get("cleanup.policy").value(), "compact", topic);
            }
            TopicDescription configs = admin.describeTopics(List.of(GROUP + "-configs")).allTopicNames().get()
                    .get(GROUP + "-configs");
            Checks.equal(configs.partitions().size(), 1, "partitions of the configs");
        }
        TopicPartition partition = new TopicPartition(GROUP + "-offsets", 0);
        Checks.until("old offsets are gone", () -> {
            // Each commit closes the segment before it.
            write(1);
            try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of())) {
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(300))) return record.offset() > 0;
            }
            return false;
        });
        arrived();
    }

    private static void delete() throws Exception {
        for (String connector : List.of("source", "sink")) first.ask("DELETE", "/connectors/" + connector, null);
        Checks.until("they are gone", () -> first.get("/connectors").isEmpty());
        first.stop();
    }

    /** Each batch of lines and its place in the file are one transaction of the worker. */
    private static void exactlyOnce() throws Exception {
        // Lines that fill the file source's buffer one by one: short ones that are left in it at the end of the file wait for more.
        int count = 3000;
        List<String> expected = IntStream.range(0, count).mapToObj(n -> "line " + n + " " + "x".repeat(1200)).toList();
        Path file = Files.write(in.resolveSibling("in-once"), expected);
        String topic = Client.topic("connect-once", 1, Map.of());
        String group = Checks.unique("connect-once-workers");
        Map<String, String> settings = new HashMap<>(SETTINGS);
        settings.put("exactly.once.source.support", "enabled");
        first = new Worker(group, settings).ready();
        Map<String, String> source = Map.of("connector.class", "FileStreamSource", "file", file.toString(), "topic", topic,
                "batch.size", "10", "exactly.once.support", "required", "transaction.boundary", "poll",
                // A worker reads its offsets to their end before it works, and what a killed one has left open is in the way until then.
                "producer.override.transaction.timeout.ms", "3000");
        first.ask("POST", "/connectors", Map.of("name", "once", "config", source));
        List<String> read = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            Checks.Action poll = () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(20))) read.add(Client.text(record.value()));
            };
            Checks.until("some lines", () -> {
                poll.run();
                return read.size() >= 500;
            });
            first.kill();
            Checks.isTrue(read.size() < count - 500, "the worker was killed in the middle, after " + read.size());
            first = new Worker(group, settings).ready();
            Checks.until("all lines", () -> {
                poll.run();
                return read.contains(expected.get(count - 1));
            });
            Checks.equal(read.size(), count, "lines");
            Checks.isTrue(read.equals(expected), "each line is in its place");
            // A line written now comes after all the others, and behind it nothing: no batch was written twice.
            Files.write(file, List.of("the end " + "x".repeat(1200)), StandardOpenOption.APPEND);
            Checks.until("the last line", () -> {
                poll.run();
                return read.size() > count;
            });
            Checks.isTrue(read.size() == count + 1 && read.get(count).startsWith("the end"), "the last line is the last");
        }
        first.stop();
    }
}
