import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** A topic at TIDELOG_KAFKA whose first two partitions get records of every kind, and what is read of it and of its copy at TIDELOG_TARGET. */
final class Mirrored {
    static final String TARGET = System.getenv("TIDELOG_TARGET");
    static final Map<String, Object> AT_TARGET = Map.of("bootstrap.servers", TARGET);

    final String topic;
    int sent = 0;

    Mirrored(String topic) {
        this.topic = topic;
    }

    void send(int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int n = sent; n < sent + count; n++) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, n % 2, 1_700_000_000_000L + n,
                    n % 3 == 0 ? null : Client.bytes("k" + n),
                    n % 5 == 0 ? null : Client.bytes("v" + n));
            record.headers().add("n", Client.bytes("" + n)).add("n", null);
            records.add(record);
        }
        Client.send(Map.of(), records);
        sent += count;
    }

    private static String shown(ConsumerRecord<byte[], byte[]> record) {
        return record.partition() + " " + record.timestamp() + " " + Client.text(record.key()) + " "
                + Client.text(record.value()) + " "
                + List.of(record.headers().toArray());
    }

    /** All that has been sent, of partitions 0 and 1, in order within each. */
    List<String> read() throws Exception {
        return read(topic, Map.of(), sent);
    }

    /** The same of a copy, as soon as this many different records are there. */
    static List<String> read(String topic, Map<String, Object> settings, int count) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(settings)) {
            consumer.assign(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)));
            Map<Integer, List<String>> read = new HashMap<>(Map.of(0, new ArrayList<>(), 1, new ArrayList<>()));
            Set<String> different = new HashSet<>();
            Checks.until(count + " records of " + topic, () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    read.get(record.partition()).add(shown(record));
                    different.add(shown(record));
                }
                return different.size() >= count;
            });
            List<String> all = new ArrayList<>(read.get(0));
            all.addAll(read.get(1));
            return all;
        }
    }
}
