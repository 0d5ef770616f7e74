import java.io.File;
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
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Kafka Streams: an application of its own process, which is killed in the middle of its work and started again. */
public final class StreamsChecks {
    private StreamsChecks() {}

    private static final int LINES = 3000;
    private static final int PARTITIONS = 3;

    public static void main(String[] arguments) {
        Checks checks = new Checks("streams");
        checks.add("at_least_once, undisturbed: totals are exact", () -> new Life("calm", "at_least_once").run(0));
        checks.add("at_least_once, killed twice, its state lost once: nothing is missing", () -> new Life("killed",
                "at_least_once").run(2));
        checks.add("exactly_once_v2, killed twice, its state lost once: totals are exact",
                () -> new Life("exact", "exactly_once_v2").run(2));
        System.exit(checks.run() ? 0 : 1);
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
        private Process process;

        Life(String name, String guarantee) throws Exception {
            this.id = "streams-" + name;
            this.guarantee = guarantee;
            this.state = Files.createTempDirectory("tidelog-streams");
        }

        void run(int kills) throws Exception {
            try (Admin admin = Client.admin(); KafkaConsumer<byte[], byte[]> outputs = outputs();
                    KafkaProducer<byte[], byte[]> producer = Client.producer(Map.of("linger.ms", "5"))) {
                users(producer);
                start();
                for (int killed = 0; killed <= kills; killed++) {
                    send(producer, LINES * killed / (kills + 1), LINES * (killed + 1) / (kills + 1));
                    if (killed == kills) break;
                    // A part of what was sent has come out, the rest is in the middle of the application.
                    long some = 2L * LINES * killed / (kills + 1) + 100;
                    Checks.until("the application works", () -> poll(outputs) && seenCounts >= some);
                    process.destroyForcibly().waitFor();
                    if (killed > 0) forget();
                    start();
                }
                Checks.until("all that must come out", () -> poll(outputs) && complete());
                if (kills == 0 || guarantee.startsWith("exactly_once")) exact();
                internals(admin);
            } finally {
                stop();
                forget();
            }
        }

        private KafkaConsumer<byte[], byte[]> outputs() throws Exception {
            try (Admin admin = Client.admin()) {
                for (String input : List.of("lines", "clicks", "users")) create(admin, input);
                List<TopicPartition> partitions = new ArrayList<>();
                for (String output : List.of("counted", "windowed", "joined")) {
                    create(admin, output);
                    for (int n = 0; n < PARTITIONS; n++) partitions.add(new TopicPartition(id + "-" + output, n));
                }
                KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("isolation.level", "read_committed"));
                consumer.assign(partitions);
                return consumer;
            }
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
            process = Worker.launch("StreamsApp", id, guarantee, state.toString());
        }

        private void stop() throws InterruptedException {
            if (process == null) return;
            process.destroy();
            if (!process.waitFor(20, TimeUnit.SECONDS)) process.destroyForcibly();
        }

        /** Removes the application's local state. */
        private void forget() throws IOException {
            try (Stream<Path> files = Files.walk(state)) {
                files.map(Path::toFile).sorted((a, b) -> b.compareTo(a)).forEach(File::delete);
            }
        }
    }
}
