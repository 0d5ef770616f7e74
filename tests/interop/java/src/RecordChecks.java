import static java.util.stream.Collectors.toList;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;

/** What goes in comes out: the plain producer and the consumer without a group. */
final class RecordChecks {
    private RecordChecks() {}

    /** The same server behind a proxy that loses answers; empty if there is none. */
    private static final String CUT = Objects.requireNonNullElse(System.getenv("TIDELOG_CUT"), "");

    static void add(Checks checks) {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (String acks : List.of("0", "1", "all")) {
                checks.add("codec " + codec + ", acks " + acks, () -> codec(codec, acks));
            }
        }
        checks.add("headers, repeated keys and null values", RecordChecks::headers);
        checks.add("null and empty keys and values", RecordChecks::nulls);
        checks.add("large record", RecordChecks::large);
        checks.add("too large record is refused, the next one stored", RecordChecks::tooLarge);
        checks.add("seek by time", RecordChecks::seekByTime);
        checks.add("idempotence", () -> idempotence(Checks.BROKERS));
        if (!CUT.isEmpty()) checks.add("idempotence when connections break", () -> idempotence(CUT));
        checks.add("offset out of range", RecordChecks::outOfRange);
        checks.add("many partitions in a fetch session", RecordChecks::manyPartitions);
        checks.add("auto-creation", RecordChecks::autoCreation);
    }

    private static void codec(String codec, String acks) throws Exception {
        String topic = Client.topic("codec-" + codec + "-" + acks, 1, Map.of());
        List<ProducerRecord<byte[], byte[]>> records = IntStream.range(0, 50)
                .mapToObj(n -> Client.record(topic, 0, "" + n, ("value " + n + " ").repeat(50)))
                .collect(toList());
        Map<String, String> settings = Map.of(
                "compression.type", codec, "acks", acks, "enable.idempotence", "false", "linger.ms", "50");
        Client.send(settings, records);
        List<ConsumerRecord<byte[], byte[]>> read = Client.read(topic, 0, 50);
        for (int n = 0; n < 50; n++) {
            Checks.equal(read.get(n).offset(), (long) n, "offset");
            Checks.equal(Client.text(read.get(n).key()), "" + n, "key");
            Checks.equal(Client.text(read.get(n).value()), ("value " + n + " ").repeat(50));
        }
    }

    private static void headers() throws Exception {
        String topic = Client.topic("headers", 1, Map.of());
        ProducerRecord<byte[], byte[]> record = Client.record(topic, 0, null, "x");
        record.headers().add("a", Client.bytes("1")).add("b", null).add("a", Client.bytes("2")).add("ü", new byte[] {0, -1});
        Client.send(Map.of(), List.of(record));
        List<String> read = new ArrayList<>();
        for (Header header : Client.read(topic, 0, 1).get(0).headers()) {
            read.add(header.key() + "=" + Arrays.toString(header.value()));
        }
        Checks.equal(read, List.of("a=[49]", "b=null", "a=[50]", "ü=[0, -1]"));
    }

    private static void nulls() throws Exception {
        String topic = Client.topic("nulls", 1, Map.of());
        String[][] pairs = {{null, null}, {"", ""}, {null, "v"}, {"k", null}, {"k", "v"}};
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (String[] pair : pairs) records.add(Client.record(topic, 0, pair[0], pair[1]));
        Client.send(Map.of(), records);
        List<ConsumerRecord<byte[], byte[]>> read = Client.read(topic, 0, pairs.length);
        for (int n = 0; n < pairs.length; n++) {
            String[] got = {Client.text(read.get(n).key()), Client.text(read.get(n).value())};
            Checks.equal(Arrays.toString(got), Arrays.toString(pairs[n]));
        }
    }

    private static void large() throws Exception {
        String topic = Client.topic("large", 1, Map.of());
        byte[] value = new byte[1_000_000];
        for (int n = 0; n < value.length; n++) value[n] = (byte) (n * 7919 % 251);
        Client.send(Map.of("max.request.size", "2000000"), List.of(new ProducerRecord<>(topic, 0, null, value)));
        Checks.isTrue(Arrays.equals(Client.read(topic, 0, 1).get(0).value(), value), "the same bytes");
    }

    private static void tooLarge() throws Exception {
        String topic = Client.topic("too-large", 1, Map.of());
        Map<String, String> settings = Map.of("max.request.size", "4000000");
        ProducerRecord<byte[], byte[]> huge = new ProducerRecord<>(topic, 0, null, new byte[2_000_000]);
        Checks.refused(RecordTooLargeException.class, () -> Client.send(settings, List.of(huge)));
        Client.send(settings, List.of(Client.record(topic, 0, null, "small")));
        Checks.equal(Client.text(Client.read(topic, 0, 1).get(0).value()), "small");
    }

    private static void seekByTime() throws Exception {
        String topic = Client.topic("times", 1, Map.of());
        long start = System.currentTimeMillis() - 100_000;
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int n = 0; n < 10; n++) {
            records.add(new ProducerRecord<>(topic, 0, start + n * 1000L, null, Client.bytes("" + n)));
        }
        Client.send(Map.of(), records);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of())) {
            long[][] cases = {{-5000, 0}, {3000, 3}, {3001, 4}};
            for (long[] one : cases) {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, start + one[0])).get(partition);
                Checks.equal(found.offset(), one[1], "offset at " + one[0]);
            }
            Checks.equal(consumer.offsetsForTimes(Map.of(partition, start + 60_000)).get(partition), null);
            Checks.equal(consumer.beginningOffsets(List.of(partition)).get(partition), 0L);
            Checks.equal(consumer.endOffsets(List.of(partition)).get(partition), 10L);
        }
    }

    private static void idempotence(String brokers) throws Exception {
        String topic = Client.topic("idempotent-" + brokers.split(":")[1], 1, Map.of());
        Client.send(Map.of("bootstrap.servers", brokers, "enable.idempotence", "true", "acks", "all", "batch.size", "100"),
                Client.numbers(topic, 500));
        List<String> values =
                Client.read(topic, 0, 500).stream().map(record -> Client.text(record.value())).collect(toList());
        Checks.equal(values, IntStream.range(0, 500).mapToObj(n -> "" + n).collect(toList()));
    }

    private static void outOfRange() throws Exception {
        String topic = Client.topic("range", 1, Map.of());
        Client.send(Map.of(), Client.numbers(topic, 5));
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("auto.offset.reset", "none"))) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1000);
            Checks.refused(OffsetOutOfRangeException.class, () -> {
                for (int n = 0; n < 50; n++) consumer.poll(Duration.ofMillis(200));
            });
        }
    }

    /** Java's consumer names its partitions once: what comes afterwards comes by its session. */
    private static void manyPartitions() throws Exception {
        int partitions = 200;
        String topic = Client.topic("many", partitions, Map.of());
        Set<String> expected = new HashSet<>();
        Set<String> seen = new HashSet<>();
        List<TopicPartition> all =
                IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(topic, p)).collect(toList());
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("fetch.max.bytes", "20000"))) {
            consumer.assign(all);
            for (int round = 0; round < 5; round++) {
                List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                for (int p = round; p < partitions - 20; p += 1 + round * 7) {
                    records.add(Client.record(topic, p, null, round + "-" + p + "-" + "x".repeat(500)));
                    expected.add(p + ":" + round);
                }
                Client.send(Map.of(), records);
                Checks.until("round " + round, () -> {
                    consumer.poll(Duration.ofMillis(200)).forEach(record -> {
                        String name = record.partition() + ":" + Client.text(record.value()).split("-")[0];
                        Checks.isTrue(seen.add(name), "a record came twice: " + name);
                    });
                    return seen.size() >= expected.size();
                });
                Checks.equal(seen, expected);
                // Fewer partitions in the session, then more again.
                consumer.assign(round % 2 == 0 ? all.subList(0, partitions - 20) : all);
            }
        }
    }

    private static void autoCreation() throws Exception {
        String topic = Checks.unique("auto");
        Client.send(Map.of(), List.of(new ProducerRecord<>(topic, Client.bytes("x"))));
        Checks.equal(Client.text(Client.read(topic, 0, 1).get(0).value()), "x");
    }
}
