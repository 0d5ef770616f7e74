import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.RebalanceInProgressException;

/** A group changes over from the classic to the consumer protocol and back, by rolling restarts of its members under load (KIP-848). */
final class MigrationChecks {
    private MigrationChecks() {}

    private static final int PARTITIONS = 4;

    static void add(Checks checks) {
        for (String assignor : List.of("Range", "CooperativeSticky")) {
            checks.add("live upgrade and downgrade, " + assignor, () -> roll(assignor, false));
        }
        checks.add("live upgrade and downgrade, static members", () -> roll("Range", true));
    }

    /** What was read and committed by whichever member. */
    private static final class Ledger {
        private final Map<Integer, Set<Long>> read = new ConcurrentHashMap<>();
        private final Map<Integer, Long> committed = new ConcurrentHashMap<>();
        private final List<String> wrong = new ArrayList<>();
        private long again;

        synchronized void read(ConsumerRecord<byte[], byte[]> record) {
            int partition = record.partition();
            if (record.offset() < committed.getOrDefault(partition, 0L)) {
                wrong.add(partition + "@" + record.offset() + " is read after it was committed");
            }
            if (!read.computeIfAbsent(partition, p -> new TreeSet<>()).add(record.offset())) again++;
        }

        synchronized void committed(Map<TopicPartition, OffsetAndMetadata> offsets) {
            offsets.forEach((at, offset) -> committed.merge(at.partition(), offset.offset(), Math::max));
        }

        synchronized long count() {
            return read.values().stream().mapToLong(Set::size).sum();
        }
    }

    /** One member in its own thread; reads, and commits what each poll brought. */
    private static final class Member implements Runnable {
        private final String topic;
        private final String group;
        private final Map<String, String> settings;
        private final Ledger ledger;
        private final Thread thread = new Thread(this);
        private volatile boolean stops;
        private volatile int assigned;
        private volatile Exception failure;

        Member(String topic, String group, Map<String, String> settings, Ledger ledger) {
            this.topic = topic;
            this.group = group;
            this.settings = settings;
            this.ledger = ledger;
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void run() {
            try (KafkaConsumer<byte[], byte[]> consumer = ConsumerGroupChecks.member(group, settings)) {
                consumer.subscribe(List.of(topic));
                while (!stops) {
                    ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(50));
                    records.forEach(ledger::read);
                    assigned = consumer.assignment().size();
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>(records.nextOffsets());
                    if (offsets.isEmpty()) continue;
                    try {
                        consumer.commitSync(offsets);
                        ledger.committed(offsets);
                    } catch (CommitFailedException | RebalanceInProgressException rebalance) {
                        // Whoever has the partitions next reads these once more.
                    }
                }
            } catch (Exception failed) {
                failure = failed;
            }
        }

        void stop() throws Exception {
            stops = true;
            thread.join(20_000);
            Checks.isTrue(!thread.isAlive(), "a member does not close");
            if (failure != null) throw failure;
        }
    }

    private static Map<String, String> settings(String protocol, String assignor, String instance) {
        Map<String, String> settings = new HashMap<>();
        settings.put("group.protocol", protocol);
        if (instance != null) settings.put("group.instance.id", instance);
        if (protocol.equals("classic")) {
            settings.put("heartbeat.interval.ms", "300");
            settings.put("session.timeout.ms", "10000");
            settings.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor + "Assignor");
        }
        return settings;
    }

    private static void roll(String assignor, boolean isStatic) throws Exception {
        String name = "roll-" + assignor + (isStatic ? "-static" : "");
        String topic = Client.topic(name, PARTITIONS, Map.of());
        String group = Checks.unique("g-" + name);
        Ledger ledger = new Ledger();
        Member[] members = new Member[2];
        long[] sent = {0};
        try (Admin admin = Client.admin(); KafkaProducer<byte[], byte[]> producer = Client.producer(Map.of())) {
            Checks.Action send = () -> {
                for (int n = 0; n < PARTITIONS; n++) producer.send(Client.record(topic, n, null, "" + sent[0]++));
            };
            for (String protocol : List.of("classic", "consumer", "classic")) {
                for (int at = 0; at < members.length; at++) {
                    if (members[at] != null) members[at].stop();
                    String instance = isStatic ? "member-" + at : null;
                    members[at] = new Member(topic, group, settings(protocol, assignor, instance), ledger);
                    // While members of both protocols are in the group everything is read.
                    settle(admin, group, members, send);
                }
                GroupType type = admin.describeConsumerGroups(List.of(group)).all().get().get(group).type();
                Checks.equal(type, protocol.equals("classic") ? GroupType.CLASSIC : GroupType.CONSUMER, "type");
            }
            producer.flush();
            Checks.until("everything is read", () -> ledger.count() >= sent[0]);
            for (Member member : members) member.stop();
        }
        Checks.equal(ledger.wrong, List.of(), "records that are read after they were committed");
        Checks.equal(ledger.count(), sent[0], "records that were read");
    }

    /** Sends on until the group is stable, each partition has its reader, and as many records more have been sent. */
    private static void settle(Admin admin, String group, Member[] members, Checks.Action send) throws Exception {
        int[] rounds = {0};
        Checks.until("the group is stable", () -> {
            send.run();
            ConsumerGroupDescription described;
            try {
                described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            } catch (ExecutionException failed) {
                // There is no group before its first member, and for a moment none of the kind that was asked for.
                if (failed.getCause() instanceof GroupIdNotFoundException) return false;
                throw failed;
            }
            int expected = 0;
            int assigned = 0;
            for (Member member : members) {
                if (member == null) continue;
                if (member.failure != null) throw member.failure;
                expected++;
                assigned += member.assigned;
            }
            boolean stable = described.groupState() == GroupState.STABLE && described.members().size() == expected;
            rounds[0] = stable && assigned == PARTITIONS ? rounds[0] + 1 : 0;
            return rounds[0] >= 10;
        });
    }
}
