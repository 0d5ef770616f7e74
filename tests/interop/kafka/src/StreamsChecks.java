import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** Kafka Streams: an application of its own process; it or the server or both are killed in the middle of its work and started again. */
public final class StreamsChecks {
    private StreamsChecks() {}

    private static final int LINES = 3000;
    private static final int PARTITIONS = 3;

    public static void main(String[] arguments) {
        Checks checks = new Checks("streams");
        checks.add("at_least_once, undisturbed: totals are exact", () -> new Life("calm", "at_least_once", Checks.BROKERS).run());
        checks.add("at_least_once, killed twice, its state lost once: nothing is missing",
                () -> new Life("killed", "at_least_once", Checks.BROKERS).run(Life::killed, Life::killedAndForgotten));
        checks.add("exactly_once_v2, killed twice, its state lost once: totals are exact",
                () -> new Life("exact", "exactly_once_v2", Checks.BROKERS).run(Life::killed, Life::killedAndForgotten));
        checks.add("exactly_once_v2, the server killed three times, once with the application: totals are exact", () -> {
            Server server = new Server();
            Victim alone = life -> {
                server.kill();
                server.start();
            };
            Victim both = life -> {
                server.kill();
                life.killed();
                server.start();
            };
            new Life("server", "exactly_once_v2", server.address).run(alone, both, alone);
            server.stop();
        });
        checks.add("the reset tool starts an application from the beginning", StreamsChecks::reset);
        checks.add("streams groups, which the server has not, are refused", StreamsChecks::streamsGroups);
        System.exit(checks.run() ? 0 : 1);
    }

    /** Kills something in the middle of an application's life, and starts it again. */
    private interface Victim {
        void fall(Life life) throws Exception;
    }

    private static void reset() throws Exception {
        Life life = new Life("reset", "exactly_once_v2", Checks.BROKERS);
        life.run();
        String id = "streams-reset";
        Tool.run("StreamsResetter", "--force --application-id " + id + " --input-topics " + id + "-lines," + id + "-clicks").ok()
                .prints("Reset-offsets for input topics").prints("Deleting inferred internal topics");
        try (Admin admin = Client.admin()) {
            Set<String> left = new HashSet<>(admin.listTopics().names().get());
            Checks.isTrue(left.stream().noneMatch(topic -> topic.startsWith(id) && topic.endsWith("-changelog")), "topics: " + left);
            Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata().get();
            Checks.equal(offsets.get(new TopicPartition(id + "-lines", 0)).offset(), 0L, "offset");
        }
    }

    /** Streams has two protocols for its groups; the server does not advertise the newer one. */
    private static void streamsGroups() throws Exception {
        String id = Checks.unique("streams-protocol");
        try (Admin admin = Client.admin()) {
            for (String input : List.of("lines", "clicks", "users")) Client.create(admin, new NewTopic(id + "-" + input, 1, (short) 1));
        }
        Path state = Files.createTempDirectory("tidelog-streams");
        Properties properties = new Properties();
        properties.putAll(Map.of("application.id", id, "bootstrap.servers", Checks.BROKERS, "group.protocol", "streams", "state.dir",
                state.toString()));
        CompletableFuture<Throwable> failure = new CompletableFuture<>();
        try (KafkaStreams streams = new KafkaStreams(StreamsApp.topology(id), properties)) {
            streams.setUncaughtExceptionHandler(thrown -> {
                failure.complete(thrown);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            Checks.refused(UnsupportedVersionException.class, () -> {
                streams.start();
                throw new ExecutionException(failure.get(30, TimeUnit.SECONDS));
            });
        }
        Server.remove(state);
    }

    /** One application's topics, what goes into them, what must come out and what has. */
    private static final class Life {
        private final String id;
        private final String guarantee;
        private final Path state;
        private final Map<String, Long> counts = new HashMap<>();
        private final Map<String, Long> windows = new HashMap<>();
        private final Set<String> joins = new HashSet<>();
        /** By output topic and key (or, of joins, value): what came, in order. */
        private final Map<String, List<Long>> seen = new TreeMap<>();
        private long seenCounts = 0;
        private final Map<String, Object> at;
        private Process process;

        Life(String name, String guarantee, String address) throws Exception {
            this.id = "streams-" + name;
            this.guarantee = guarantee;
            this.at = Map.of("bootstrap.servers", address);
            this.state = Files.createTempDirectory("tidelog-streams");
        }

        void run(Victim... victims) throws Exception {
            Map<String, Object> toInputs = new HashMap<>(at);
            toInputs.put("linger.ms", "5");
            try (Admin admin = Admin.create(at); KafkaConsumer<byte[], byte[]> outputs = outputs(admin);
                    KafkaProducer<byte[], byte[]> producer = Client.producer(toInputs)) {
                users(producer);
                start();
                int parts = victims.length + 1;
                for (int part = 0; part < parts; part++) {
                    send(producer, LINES * part / parts, LINES * (part + 1) / parts);
                    if (part == victims.length) break;
                    // A part of what was sent has come out, the rest is in the middle of the application.
                    long some = 2L * LINES * part / parts + 100;
                    Checks.until("the application works", () -> poll(outputs) && seenCounts >= some);
                    victims[part].fall(this);
                }
                Checks.until("all that must come out", () -> poll(outputs) && complete());
                if (victims.length == 0 || guarantee.startsWith("exactly_once")) exact();
                internals(admin);
            } finally {
                stop();
                Server.remove(state);
            }
        }

        void killed() throws Exception {
            process.destroyForcibly().waitFor();
            start();
        }

        /** The same, and its local state is lost. */
        void killedAndForgotten() throws Exception {
            process.destroyForcibly().waitFor();
            Server.remove(state);
            start();
        }

        private KafkaConsumer<byte[], byte[]> outputs(Admin admin) throws Exception {
            for (String input : List.of("lines", "clicks", "users")) create(admin, input);
            List<TopicPartition> partitions = new ArrayList<>();
            for (String output : List.of("counted", "windowed", "joined")) {
                create(admin, output);
                for (int n = 0; n < PARTITIONS; n++) partitions.add(new TopicPartition(id + "-" + output, n));
            }
            Map<String, Object> settings = new HashMap<>(at);
            settings.put("isolation.level", "read_committed");
            KafkaConsumer<byte[], byte[]> consumer = Client.consumer(settings);
            consumer.assign(partitions);
            return consumer;
        }

        private void create(Admin admin, String name) throws Exception {
            Client.create(admin, new NewTopic(id + "-" + name, PARTITIONS, (short) 1));
        }

        private void users(KafkaProducer<byte[], byte[]> producer) {
            for (int user = 0; user < 50; user++) {
                producer.send(new ProducerRecord<>(id + "-users", Client.bytes("u" + user), Client.bytes("c" + user % 7)));
            }
            producer.flush();
        }

        /** Lines from one number to another, their times a hundredth of a second apart, and a click with each. */
        private void send(KafkaProducer<byte[], byte[]> producer, int from, int to) {
            long start = System.currentTimeMillis() / 1000 * 1000 - 600_000;
            for (int n = from; n < to; n++) {
                long time = start + n * 10L;
                List<String> words = List.of("w" + n % 17, "v" + n % 5);
                for (String word : words) {
                    counts.merge(word, 1L, Long::sum);
                    long window = time - time % StreamsApp.WINDOW.toMillis();
                    windows.merge(word + "@" + window, 1L, Long::sum);
                }
                producer.send(new ProducerRecord<>(id + "-lines", null, time, Client.bytes("l" + n),
                        Client.bytes(String.join(" ", words))));
                producer.send(new ProducerRecord<>(id + "-clicks", Client.bytes("u" + n % 50), Client.bytes("p" + n)));
                joins.add("c" + n % 50 % 7 + " p" + n);
            }
            producer.flush();
        }

        private boolean poll(KafkaConsumer<byte[], byte[]> outputs) {
            Checks.isTrue(process.isAlive(), "the application has ended; see the noise");
            for (ConsumerRecord<byte[], byte[]> record : outputs.poll(Duration.ofMillis(50))) {
                if (record.topic().endsWith("-joined")) {
                    seen.computeIfAbsent("joined " + Client.text(record.value()), key -> new ArrayList<>()).add(1L);
                } else {
                    String kind = record.topic().substring(id.length() + 1);
                    String key = kind + " " + Client.text(record.key());
                    seen.computeIfAbsent(key, absent -> new ArrayList<>()).add(ByteBuffer.wrap(record.value()).getLong());
                    if (kind.equals("counted")) seenCounts++;
                }
            }
            return true;
        }

        /** Has every total been reached, and every click joined? */
        private boolean complete() {
            return reached("counted ", counts) && reached("windowed ", windows)
                    && joins.stream().allMatch(join -> seen.containsKey("joined " + join));
        }

        private boolean reached(String kind, Map<String, Long> expected) {
            return expected.entrySet().stream().allMatch(entry -> {
                List<Long> values = seen.getOrDefault(kind + entry.getKey(), List.of());
                return !values.isEmpty() && values.get(values.size() - 1) >= entry.getValue();
            });
        }

        /** Every total was counted up to from 1, each number once, and every click was joined once. */
        private void exact() {
            steps("counted ", counts);
            steps("windowed ", windows);
            for (String join : joins) Checks.equal(seen.get("joined " + join).size(), 1, "times of " + join);
            Checks.equal(seen.size(), counts.size() + windows.size() + joins.size(), "different results");
        }

        private void steps(String kind, Map<String, Long> expected) {
            expected.forEach((key, total) -> {
                List<Long> steps = Stream.iterate(1L, n -> n <= total, n -> n + 1).toList();
                Checks.equal(seen.get(kind + key), steps, kind + key);
            });
        }

        /** The topics that Streams made for itself are as it wants them, and what it has read of them is deleted. */
        private void internals(Admin admin) throws Exception {
            Checks.equal(policy(admin, "counts-changelog"), "compact");
            Checks.equal(policy(admin, "windows-changelog"), "compact,delete");
            Checks.equal(policy(admin, "words-repartition"), "delete");
            TopicPartition partition = new TopicPartition(id + "-words-repartition", 0);
            Checks.until("the repartition topic is purged", () -> {
                return admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset() > 0;
            });
        }

        private String policy(Admin admin, String topic) throws Exception {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, id + "-" + topic);
            return admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value();
        }

        private void start() throws IOException {
            process = Worker.launch("StreamsApp", at.get("bootstrap.servers").toString(), id, guarantee, state.toString());
        }

        private void stop() throws InterruptedException {
            if (process == null) return;
            process.destroy();
            if (!process.waitFor(20, TimeUnit.SECONDS)) process.destroyForcibly();
        }
    }
}
