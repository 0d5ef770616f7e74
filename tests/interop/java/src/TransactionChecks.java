import static java.util.stream.Collectors.toList;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Transactions of the producer, and what readers see of them. */
final class TransactionChecks {
    private TransactionChecks() {}

    static void add(Checks checks) {
        checks.add("transactions, committed and aborted", TransactionChecks::outcomes);
        checks.add("transactions: positions of a group move with them", TransactionChecks::positions);
        checks.add("transactions: a second producer ends the first one's", TransactionChecks::fencing);
        checks.add("transactions: nobody reads behind an open one", TransactionChecks::open);
        checks.add("transactions: one that nobody ends is aborted", TransactionChecks::timeout);
    }

    private static KafkaProducer<byte[], byte[]> producer(String id, int timeout) {
        KafkaProducer<byte[], byte[]> producer = Client.producer(Map.of("transactional.id", id, "transaction.timeout.ms", timeout));
        producer.initTransactions();
        return producer;
    }

    private static List<String> committed(String topic, int count) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            List<String> values = new ArrayList<>();
            Checks.until(count + " committed records", () -> {
                for (ConsumerRecord<byte[],
                        byte[]> record : consumer.poll(Duration.ofMillis(200))) values.add(Client.text(record.value()));
                return values.size() >= count;
            });
            return values;
        }
    }

    private static void outcomes() throws Exception {
        String topic = Client.topic("outcomes", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(topic, 60_000)) {
            for (int n = 0; n < 5; n++) {
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) producer.send(Client.record(topic, 0, null, "" + (10 * n + i)));
                producer.flush();
                if (n % 2 == 0) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
        List<String> kept = IntStream.range(0, 50).filter(n -> n / 10 % 2 == 0).mapToObj(n -> "" + n).collect(toList());
        Checks.equal(committed(topic, 30), kept);
        List<String> all = Client.read(topic, 0, 50).stream().map(record -> Client.text(record.value())).collect(toList());
        Checks.equal(all, IntStream.range(0, 50).mapToObj(n -> "" + n).collect(toList()));
    }

    private static void positions() throws Exception {
        String in = Client.topic("positions-in", 1, Map.of());
        String out = Client.topic("positions-out", 1, Map.of());
        TopicPartition partition = new TopicPartition(in, 0);
        Client.send(Map.of(), Client.numbers(in, 20));
        Map<String, String> settings = Map.of("group.id", Checks.unique("g-positions"), "enable.auto.commit", "false",
                "max.poll.records", "10");
        try (KafkaProducer<byte[], byte[]> producer = producer(out, 60_000);
                KafkaConsumer<byte[], byte[]> consumer = Client.consumer(settings)) {
            consumer.subscribe(List.of(in));
            // The first attempt at each ten is aborted, the consumer goes back, and the second one counts.
            for (int round = 0; round < 4; round++) {
                List<ConsumerRecord<byte[], byte[]>> ten = new ArrayList<>();
                Checks.until("ten records", () -> {
                    consumer.poll(Duration.ofMillis(200)).forEach(ten::add);
                    return ten.size() >= 10;
                });
                producer.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> record : ten) producer.send(Client.record(out, 0, null,
                        Client.text(record.value())));
                long next = ten.get(9).offset() + 1;
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(next)), consumer.groupMetadata());
                if (round % 2 == 0) {
                    producer.abortTransaction();
                    consumer.seek(partition, next - 10);
                } else {
                    producer.commitTransaction();
                }
                OffsetAndMetadata position = consumer.committed(Set.of(partition)).get(partition);
                Checks.equal(position == null ? 0 : position.offset(), round % 2 == 0 ? next - 10 : next, "position");
            }
        }
        Checks.equal(committed(out, 20), IntStream.range(0, 20).mapToObj(n -> "" + n).collect(toList()));
    }

    private static void fencing() throws Exception {
        String topic = Client.topic("fencing", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> first = producer(topic, 60_000)) {
            first.beginTransaction();
            first.send(Client.record(topic, 0, null, "of the first"));
            first.flush();
            try (KafkaProducer<byte[], byte[]> second = producer(topic, 60_000)) {
                second.beginTransaction();
                second.send(Client.record(topic, 0, null, "of the second"));
                second.commitTransaction();
            }
            try {
                first.commitTransaction();
                throw new AssertionError("the first one committed");
            } catch (ProducerFencedException | InvalidProducerEpochException expected) {
                Checks.equal(committed(topic, 1), List.of("of the second"));
            }
        }
    }

    private static void open() throws Exception {
        String topic = Client.topic("open", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(topic, 60_000);
                KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("isolation.level", "read_committed"))) {
            producer.beginTransaction();
            producer.send(Client.record(topic, 0, null, "in the transaction")).get();
            Client.send(Map.of(), List.of(Client.record(topic, 0, null, "behind it")));
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            Checks.equal(consumer.endOffsets(List.of(partition)).get(partition), 0L, "the end that is stable");
            Checks.equal(consumer.poll(Duration.ofMillis(500)).count(), 0, "records");
            producer.commitTransaction();
            Checks.equal(committed(topic, 2), List.of("in the transaction", "behind it"));
        }
    }

    private static void timeout() throws Exception {
        String topic = Client.topic("timeout", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(topic, 2_000)) {
            producer.beginTransaction();
            producer.send(Client.record(topic, 0, null, "never committed")).get();
            Client.send(Map.of(), List.of(Client.record(topic, 0, null, "behind it")));
            Checks.equal(committed(topic, 1), List.of("behind it"));
        }
    }
}
