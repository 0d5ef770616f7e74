import static java.util.stream.Collectors.toList;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Groups with the classic protocol. */
final class GroupChecks {
    private GroupChecks() {}

    static void add(Checks checks) {
        for (String assignor : List.of("Range", "RoundRobin", "Sticky", "CooperativeSticky")) {
            checks.add("group of two, " + assignor, () -> two(assignor));
        }
        checks.add("a member dies", GroupChecks::death);
        checks.add("commit and resume", GroupChecks::resume);
    }

    private static KafkaConsumer<byte[], byte[]> member(String group, Map<String, String> settings) {
        Map<String, String> all = new HashMap<>(settings);
        all.putIfAbsent("group.protocol", "classic");
        all.putAll(Map.of("group.id", group, "heartbeat.interval.ms", "300", "session.timeout.ms", "10000"));
        return Client.consumer(all);
    }

    private static void two(String assignor) throws Exception {
        String topic = Client.topic("group-" + assignor, 4, Map.of());
        String group = Checks.unique("g-" + assignor);
        String strategy = "org.apache.kafka.clients.consumer." + assignor + "Assignor";
        Map<String, String> settings = Map.of("partition.assignment.strategy", strategy);
        List<String> seen = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> first = member(group, settings)) {
            first.subscribe(List.of(topic));
            Checks.until("the first has all", () -> poll(first, seen) && first.assignment().size() == 4);
            try (KafkaConsumer<byte[], byte[]> second = member(group, settings)) {
                second.subscribe(List.of(topic));
                Checks.until("two each", () -> {
                    poll(first, seen);
                    poll(second, seen);
                    Set<TopicPartition> both = new HashSet<>(first.assignment());
                    both.addAll(second.assignment());
                    return first.assignment().size() == 2 && second.assignment().size() == 2 && both.size() == 4;
                });
                List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
                for (int n = 0; n < 40; n++) records.add(Client.record(topic, n % 4, null, "" + n));
                Client.send(Map.of(), records);
                Checks.until("all records", () -> poll(first, seen) && poll(second, seen) && seen.size() >= 40);
                Checks.equal(new HashSet<>(seen).size(), 40, "different records");
            }
            Checks.until("the first has all again", () -> poll(first, seen) && first.assignment().size() == 4);
            Client.send(Map.of(), List.of(Client.record(topic, 3, null, "more")));
            Checks.until("a record after the second left", () -> poll(first, seen) && seen.contains("more"));
        }
    }

    private static void death() throws Exception {
        String topic = Client.topic("death", 4, Map.of());
        String group = Checks.unique("g-death");
        Map<String, String> settings = Map.of("session.timeout.ms", "6000");
        List<String> seen = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> first = member(group, settings)) {
            first.subscribe(List.of(topic));
            Checks.until("the first has all", () -> poll(first, seen) && first.assignment().size() == 4);
            KafkaConsumer<byte[], byte[]> second = member(group, settings);
            second.subscribe(List.of(topic));
            Checks.until("two each", () -> {
                return poll(first, seen) && poll(second, seen) && first.assignment().size() == 2 && second.assignment().size() == 2;
            });
            // It says nothing: to the group it is dead once its session has expired.
            long start = System.nanoTime();
            second.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP));
            Checks.until("the first has all again", () -> poll(first, seen) && first.assignment().size() == 4);
            Checks.isTrue(System.nanoTime() - start > 3_000_000_000L, "the second was missed, it did not leave");
        }
    }

    private static boolean poll(KafkaConsumer<byte[], byte[]> member, List<String> seen) {
        for (ConsumerRecord<byte[], byte[]> record : member.poll(Duration.ofMillis(100))) {
            seen.add(Client.text(record.value()));
        }
        return true;
    }

    private static void resume() throws Exception {
        String topic = Client.topic("resume", 1, Map.of());
        String group = Checks.unique("g-resume");
        TopicPartition partition = new TopicPartition(topic, 0);
        Client.send(Map.of(), Client.numbers(topic, 30));
        Map<String, String> settings = Map.of("enable.auto.commit", "false", "max.poll.records", "10");
        for (int round = 0; round < 3; round++) {
            List<String> seen = new ArrayList<>();
            try (KafkaConsumer<byte[], byte[]> member = member(group, settings)) {
                member.subscribe(List.of(topic));
                Checks.until("ten records", () -> poll(member, seen) && seen.size() >= 10);
                long next = round * 10 + 10;
                member.commitSync(Map.of(partition, new OffsetAndMetadata(next, "note " + round)));
                OffsetAndMetadata committed = member.committed(Set.of(partition)).get(partition);
                Checks.equal(committed.offset() + " " + committed.metadata(), next + " note " + round);
            }
            int from = round * 10;
            List<String> expected = IntStream.range(from, from + 10).mapToObj(n -> "" + n).collect(toList());
            Checks.equal(seen.subList(0, 10), expected);
        }
    }
}
