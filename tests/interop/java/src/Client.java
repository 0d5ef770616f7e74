import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own clients as the checks use them. */
final class Client {
    private Client() {}

    private static Properties properties(Map<String, ?> settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", Checks.BROKERS);
        properties.putAll(settings);
        return properties;
    }

    static Admin admin() {
        return Admin.create(properties(Map.of()));
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, ?> settings) {
        return new KafkaProducer<>(properties(settings), new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, ?> settings) {
        Properties properties = properties(Map.of("auto.offset.reset", "earliest"));
        properties.putAll(settings);
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static String topic(String name, int partitions, Map<String, String> configs) throws Exception {
        String topic = Checks.unique(name);
        try (Admin admin = admin()) {
            create(admin, new NewTopic(topic, partitions, (short) 1).configs(configs));
        }
        return topic;
    }

    /** Creates a topic and waits until the broker knows it, which is not at once with every Kafka. */
    static void create(Admin admin, NewTopic topic) throws Exception {
        admin.createTopics(List.of(topic)).all().get();
        Checks.until("the topic is known", () -> {
            try {
                admin.describeTopics(List.of(topic.name())).allTopicNames().get();
                return true;
            } catch (ExecutionException unknown) {
                return false;
            }
        });
    }

    static List<RecordMetadata> send(Map<String, ?> settings, List<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records) sent.add(producer.send(record));
            List<RecordMetadata> stored = new ArrayList<>();
            for (Future<RecordMetadata> one : sent) stored.add(one.get());
            return stored;
        }
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, String key, String value) {
        return new ProducerRecord<>(topic, partition, bytes(key), bytes(value));
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
    }

    /** Values `0` to `count`, in partition 0. */
    static List<ProducerRecord<byte[], byte[]>> numbers(String topic, int count) {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int n = 0; n < count; n++) records.add(record(topic, 0, "k" + n, "" + n));
        return records;
    }

    /** This many records of partition 0 from an offset on. */
    static List<ConsumerRecord<byte[], byte[]>> read(String topic, long from, int count) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, from);
            List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
            Checks.until(count + " records of " + topic, () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(records::add);
                return records.size() >= count;
            });
            return records;
        }
    }
}
