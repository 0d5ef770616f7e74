import static java.util.stream.Collectors.toList;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** A server that is killed (victim.py), and transactions whose connections break. */
final class BreakChecks {
    private static final String VICTIM = System.getenv("TIDELOG_VICTIM");
    private static final String CUT = System.getenv("TIDELOG_VICTIM_CUT");

    private BreakChecks() {}

    static void add(Checks checks) {
        if (VICTIM == null || VICTIM.isEmpty()) return;
        checks.add("the server is killed while it is written to and read", () -> killed("classic"));
        checks.add("the server is killed while a group of the consumer protocol reads", () -> killed("consumer"));
        checks.add("transactions: aborted when connections break", BreakChecks::aborted);
    }

    /** `kill` the server and wait until it is there again; `cut` all connections, or let them `lose` their next answer: how many. */
    private static String ask(String what) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + System.getenv("TIDELOG_VICTIM_CONTROL") + "/" + what)).build();
        return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
    }

    /** Breaks connections, of which there must be some. */
    private static void broken(String what) throws Exception {
        Checks.isTrue(Integer.parseInt(ask(what)) > 0, "no connection to " + what);
    }

    private static Map<String, Object> at(String address, Object... settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", address, "reconnect.backoff.max.ms", 500));
        for (int n = 0; n < settings.length; n += 2) all.put((String) settings[n], settings[n + 1]);
        return all;
    }

    private static List<TopicPartition> create(String topic) throws Exception {
        try (Admin admin = Admin.create(at(VICTIM))) {
            Client.create(admin, new NewTopic(topic, 2, (short) 1));
        }
        return List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
    }

    private static List<Future<RecordMetadata>> send(KafkaProducer<byte[], byte[]> producer, String topic, int from, int to) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int n = from; n < to; n++) sent.add(producer.send(new ProducerRecord<>(topic, n % 2, null, Client.bytes("" + n))));
        return sent;
    }

    /** Every second number. */
    private static List<Integer> every(int from, int to, int parity) {
        return IntStream.range(from, to).filter(n -> n % 2 == parity).boxed().collect(toList());
    }

    /** All that is in a partition, which must be so many records, and where it ends. */
    private static List<Integer> read(TopicPartition partition, int count, Long end, String isolation) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(at(VICTIM, "isolation.level", isolation))) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            List<Integer> values = new ArrayList<>();
            Checks.until(count + " records", () -> poll(consumer, values) && values.size() >= count);
            if (end != null) Checks.equal(consumer.endOffsets(List.of(partition)).get(partition), end, "the end of " + partition);
            return values;
        }
    }

    private static boolean poll(KafkaConsumer<byte[], byte[]> consumer, List<Integer> values) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
            values.add(Integer.parseInt(Client.text(record.value())));
        }
        return true;
    }

    private static void killed(String protocol) throws Exception {
        String topic = Checks.unique("killed-" + protocol);
        List<TopicPartition> partitions = create(topic);
        Map<String, Object> member = at(VICTIM, "group.id", Checks.unique("g-killed-" + protocol), "group.protocol", protocol,
                "enable.auto.commit", "false", "max.poll.records", "20");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<Integer> seen = new ArrayList<>();
        Map<String, Object> sure = at(VICTIM, "enable.idempotence", "true", "acks", "all", "linger.ms", "1", "batch.size", "300");
        try (KafkaProducer<byte[], byte[]> producer = Client.producer(sure)) {
            try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(member)) {
                consumer.subscribe(List.of(topic));
                sent.addAll(send(producer, topic, 0, 100));
                Checks.until("the first records", () -> poll(consumer, seen) && seen.size() >= 40);
                consumer.commitSync();
                Map<TopicPartition, OffsetAndMetadata> stands = consumer.committed(Set.copyOf(partitions));
                Checks.equal(stands.values().stream().mapToLong(one -> one == null ? 0 : one.offset()).sum(), (long) seen.size(), "committed");
                sent.addAll(send(producer, topic, 100, 200));
                ask("kill");
                try (KafkaConsumer<byte[], byte[]> asker = Client.consumer(member)) {
                    Checks.equal(asker.committed(Set.copyOf(partitions)), stands, "where the group stands after the kill");
                }
                Checks.until("what came around the kill", () -> poll(consumer, seen) && new HashSet<>(seen).size() >= 200);
                sent.addAll(send(producer, topic, 200, 300));
                ask("kill");
                producer.flush();
                for (Future<RecordMetadata> one : sent) Checks.isTrue(one.get().offset() < 150, "an offset is " + one.get().offset());
                Checks.until("everything", () -> poll(consumer, seen) && new HashSet<>(seen).size() >= 300);
                consumer.commitSync();
            }
            for (TopicPartition partition : partitions) {
                List<Integer> stored = read(partition, 150, 150L, "read_uncommitted");
                Checks.equal(stored, every(0, 300, partition.partition()), "each record once, in order");
            }
            send(producer, topic, 300, 301).get(0).get();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(member)) {
            consumer.subscribe(List.of(topic));
            List<Integer> more = new ArrayList<>();
            Checks.until("the group reads on", () -> poll(consumer, more) && !more.isEmpty());
            Checks.equal(more, List.of(300), "what the group reads after its commit");
        }
    }

    /** Connections break before the records are acknowledged, or take along the answer to the abort. */
    private static void aborted() throws Exception {
        String topic = Checks.unique("aborted");
        List<TopicPartition> partitions = create(topic);
        List<Integer> committed = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = Client.producer(at(CUT, "transactional.id", topic, "linger.ms", "1"))) {
            producer.initTransactions();
            int n = 0;
            for (String how : List.of("cut", "lose", "", "lose", "cut", "")) {
                producer.beginTransaction();
                send(producer, topic, n, n + 20);
                if (how.equals("cut")) broken("cut");
                else producer.flush();
                if (how.equals("lose")) broken("lose");
                if (how.isEmpty()) {
                    producer.commitTransaction();
                    for (int i = n; i < n + 20; i++) committed.add(i);
                } else {
                    producer.abortTransaction();
                }
                n += 20;
            }
        }
        for (TopicPartition partition : partitions) {
            List<Integer> expected = committed.stream().filter(n -> n % 2 == partition.partition()).collect(toList());
            Checks.equal(read(partition, 20, null, "read_committed"), expected, "what is committed");
        }
    }
}
