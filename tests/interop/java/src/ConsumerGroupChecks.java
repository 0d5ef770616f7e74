import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;

/** Groups with the consumer protocol (KIP-848), and what administrators see of both kinds. */
final class ConsumerGroupChecks {
    private ConsumerGroupChecks() {}

    static void add(Checks checks) {
        for (String assignor : List.of("uniform", "range")) {
            checks.add("consumer protocol: share, leave and resume, " + assignor, () -> share(assignor));
        }
        checks.add("consumer protocol: a static member is back, nothing moves", ConsumerGroupChecks::back);
        checks.add("consumer protocol: a pattern that the server resolves", ConsumerGroupChecks::pattern);
        checks.add("groups with settings of their own", ConsumerGroupChecks::settings);
        checks.add("groups of both kinds: list, describe, alter, delete", ConsumerGroupChecks::administer);
    }

    static KafkaConsumer<byte[], byte[]> member(String group, Map<String, String> settings) {
        Map<String, String> all = new HashMap<>(settings);
        all.putIfAbsent("group.protocol", "consumer");
        all.putAll(Map.of("group.id", group, "enable.auto.commit", "false", "metadata.max.age.ms", "1000"));
        return Client.consumer(all);
    }

    private static boolean poll(KafkaConsumer<byte[], byte[]> member, List<String> seen) {
        member.poll(Duration.ofMillis(100)).forEach(record -> seen.add(Client.text(record.value())));
        return true;
    }

    private static void send(String topic, int from, int to) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int n = from; n < to; n++) records.add(Client.record(topic, n % 4, null, "" + n));
        Client.send(Map.of(), records);
    }

    private static void share(String assignor) throws Exception {
        String topic = Client.topic("next-" + assignor, 4, Map.of());
        String group = Checks.unique("g-next-" + assignor);
        Map<String, String> settings = Map.of("group.remote.assignor", assignor);
        List<String> seen = new ArrayList<>();
        send(topic, 0, 40);
        try (KafkaConsumer<byte[], byte[]> second = member(group, settings)) {
            try (KafkaConsumer<byte[], byte[]> first = member(group, settings)) {
                first.subscribe(List.of(topic));
                Checks.until("the first reads everything", () -> poll(first, seen) && seen.size() >= 40);
                first.commitSync();
                second.subscribe(List.of(topic));
                Checks.until("two each", () -> poll(first, seen) && poll(second, seen)
                    && first.assignment().size() == 2 && second.assignment().size() == 2);
                send(topic, 40, 80);
                Checks.until("both read", () -> poll(first, seen) && poll(second, seen) && seen.size() >= 80);
                first.commitSync();
                second.commitSync();
            }
            Checks.until("the second has all", () -> poll(second, seen) && second.assignment().size() == 4);
            send(topic, 80, 88);
            Checks.until("the second reads the rest", () -> poll(second, seen) && seen.size() >= 88);
            second.commitSync();
        }
        try (KafkaConsumer<byte[], byte[]> third = member(group, settings)) {
            third.subscribe(List.of(topic));
            Checks.until("the third has all", () -> poll(third, seen) && third.assignment().size() == 4);
            send(topic, 88, 90);
            Checks.until("it reads what is new", () -> poll(third, seen) && seen.size() >= 90);
        }
        Checks.equal(seen.size(), 90, "records");
        Checks.equal(new HashSet<>(seen).size(), 90, "different records");
    }

    private static void back() throws Exception {
        String topic = Client.topic("next-static", 4, Map.of());
        String group = Checks.unique("g-next-static");
        Map<String, String> one = Map.of("group.instance.id", "one");
        List<String> seen = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> second = member(group, Map.of("group.instance.id", "two"))) {
            second.subscribe(List.of(topic));
            Set<TopicPartition> had;
            try (KafkaConsumer<byte[], byte[]> first = member(group, one)) {
                first.subscribe(List.of(topic));
                Checks.until("two each", () -> poll(first, seen) && poll(second, seen)
                    && first.assignment().size() == 2 && second.assignment().size() == 2);
                had = first.assignment();
            }
            Set<TopicPartition> others = second.assignment();
            try (KafkaConsumer<byte[], byte[]> again = member(group, one)) {
                again.subscribe(List.of(topic));
                Checks.until("it is back", () -> poll(again, seen) && poll(second, seen) && !again.assignment().isEmpty());
                Checks.equal(again.assignment(), had, "its partitions");
                Checks.equal(second.assignment(), others, "the other's partitions");
            }
        }
    }

    private static void pattern() throws Exception {
        String prefix = Checks.unique("next-pattern") + "-";
        List<String> seen = new ArrayList<>();
        try (Admin admin = Client.admin();
                KafkaConsumer<byte[], byte[]> member = member(Checks.unique("g-next-pattern"), Map.of())) {
            Client.create(admin, new NewTopic(prefix + "a", 1, (short) 1));
            member.subscribe(new SubscriptionPattern(prefix + ".*"));
            Checks.until("the topic that is there", () -> poll(member, seen) && member.assignment().size() == 1);
            Client.create(admin, new NewTopic(prefix + "b", 2, (short) 1));
            Checks.until("a new topic", () -> poll(member, seen) && member.assignment().size() == 3);
        }
    }

    private static void settings() throws Exception {
        String group = Checks.unique("g-settings");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        String name = "consumer.session.timeout.ms";
        try (Admin admin = Client.admin()) {
            Checks.Action tooLong = () -> alter(admin, resource, name, "60001");
            Checks.refused(InvalidConfigurationException.class, tooLong);
            alter(admin, resource, name, "50000");
            Config described = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            Checks.equal(described.get(name).value(), "50000", "its own");
            Checks.equal(described.get(name).source(), ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG, "source");
            Checks.equal(described.get("consumer.heartbeat.interval.ms").value(), "5000", "the broker's");
            Set<ConfigResource.Type> groups = Set.of(ConfigResource.Type.GROUP);
            Checks.isTrue(admin.listConfigResources(groups, new ListConfigResourcesOptions()).all().get().contains(resource),
                "the group is listed");
        }
    }

    private static void alter(Admin admin, ConfigResource resource, String name, String value) throws Exception {
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
    }

    private static void administer() throws Exception {
        String topic = Client.topic("next-admin", 4, Map.of());
        String next = Checks.unique("g-next-admin");
        String classic = Checks.unique("g-classic-admin");
        List<String> both = List.of(next, classic);
        TopicPartition zero = new TopicPartition(topic, 0);
        List<String> seen = new ArrayList<>();
        try (Admin admin = Client.admin()) {
            try (KafkaConsumer<byte[], byte[]> first = member(next, Map.of());
                    KafkaConsumer<byte[], byte[]> second = member(classic, Map.of("group.protocol", "classic"))) {
                first.subscribe(List.of(topic));
                second.subscribe(List.of(topic));
                Checks.until("both have all", () -> poll(first, seen) && poll(second, seen)
                    && first.assignment().size() == 4 && second.assignment().size() == 4);
                Map<String, GroupType> types = new HashMap<>();
                for (GroupListing one : admin.listGroups().all().get()) {
                    types.put(one.groupId(), one.type().orElse(null));
                }
                Checks.equal(types.get(next), GroupType.CONSUMER, "type");
                Checks.equal(types.get(classic), GroupType.CLASSIC, "type");
                for (ConsumerGroupDescription one : admin.describeConsumerGroups(both).all().get().values()) {
                    Checks.equal(one.groupState(), GroupState.STABLE, "state");
                    Checks.equal(one.members().size(), 1, "members");
                    Checks.equal(one.members().iterator().next().assignment().topicPartitions().size(), 4, "partitions");
                }
                Checks.refused(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(next)).all().get());
                Checks.refused(GroupSubscribedToTopicException.class,
                    () -> admin.deleteConsumerGroupOffsets(next, Set.of(zero)).all().get());
            }
            Checks.until("both are empty", () -> admin.describeConsumerGroups(both).all().get().values().stream()
                .allMatch(one -> one.groupState() == GroupState.EMPTY));
            for (String group : both) {
                admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(0))).all().get();
                Map<TopicPartition, OffsetAndMetadata> stored =
                    admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                Checks.equal(stored.get(zero).offset(), 0L, "altered");
                admin.deleteConsumerGroupOffsets(group, Set.of(zero)).all().get();
                stored = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                Checks.equal(stored.get(zero), null, "deleted");
            }
            admin.deleteConsumerGroups(both).all().get();
            Checks.refused(GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(next)).all().get());
        }
    }
}
