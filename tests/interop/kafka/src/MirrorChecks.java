import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

/** MirrorMaker 2 in its dedicated mode, and then in Connect, from the server at TIDELOG_KAFKA to the one at TIDELOG_TARGET. */
public final class MirrorChecks {
    private MirrorChecks() {}

    private static final Map<String, Object> AT_TARGET = Mirrored.AT_TARGET;
    private static final String TOPIC = Checks.unique("orders");
    private static final Mirrored ORDERS = new Mirrored(TOPIC);
    private static final String COPY = "a." + TOPIC;
    private static final String GROUP = Checks.unique("readers");

    private static Path settings;
    private static Process process;

    public static void main(String[] arguments) throws Exception {
        settings = Files.write(Files.createTempFile("tidelog-mirror", ".properties"), List.of(
                "clusters=a,b", "a.bootstrap.servers=" + Checks.BROKERS, "b.bootstrap.servers=" + Mirrored.TARGET,
                "a->b.enabled=true", "b->a.enabled=false", "a->b.topics=orders-.*", "sync.group.offsets.enabled=true",
                "offset.lag.max=0",
                // One node holds one replica.
                "replication.factor=1", "checkpoints.topic.replication.factor=1", "heartbeats.topic.replication.factor=1",
                "offset-syncs.topic.replication.factor=1", "config.storage.replication.factor=1",
                "offset.storage.replication.factor=1",
                "status.storage.replication.factor=1",
                // What is otherwise looked at every few minutes.
                "refresh.topics.interval.seconds=1", "refresh.groups.interval.seconds=1", "sync.topic.configs.interval.seconds=1",
                "emit.checkpoints.interval.seconds=1", "sync.group.offsets.interval.seconds=1",
                "emit.heartbeats.interval.seconds=1",
                "offset.flush.interval.ms=500", "session.timeout.ms=6000", "heartbeat.interval.ms=500",
                "scheduled.rebalance.max.delay.ms=500"));
        Checks checks = new Checks("mirror");
        checks.add("topics with their records and settings", MirrorChecks::topics);
        checks.add("settings and partitions follow", MirrorChecks::changes);
        checks.add("a group's offsets are translated", MirrorChecks::offsets);
        checks.add("heartbeats name the clusters that a copy comes from", MirrorChecks::heartbeats);
        checks.add("killed and started again: no record is missing", MirrorChecks::kill);
        MirrorConnectChecks.add(checks);
        boolean passed = checks.run();
        if (process != null) {
            process.destroy();
            if (!process.waitFor(30, TimeUnit.SECONDS)) process.destroyForcibly();
        }
        MirrorConnectChecks.stop();
        Files.delete(settings);
        System.exit(passed ? 0 : 1);
    }

    private static void start() throws Exception {
        process = Worker.launch("org.apache.kafka.connect.mirror.MirrorMaker", settings.toString());
    }

    private static void topics() throws Exception {
        try (Admin source = Client.admin(); Admin target = Admin.create(AT_TARGET)) {
            Client.create(source, new NewTopic(TOPIC, 2, (short) 1)
                    .configs(Map.of("retention.ms", "-1", "max.message.bytes", "123456")));
            ORDERS.send(100);
            start();
            Checks.until("the copy exists", () -> target.listTopics().names().get().contains(COPY));
            Checks.equal(Mirrored.read(COPY, AT_TARGET, 100), ORDERS.read(), "records");
            Checks.equal(partitions(target), 2, "partitions");
            Checks.until("the settings", () -> setting(target, "retention.ms").equals("-1") && setting(target,
                    "max.message.bytes").equals("123456"));
        }
    }

    private static int partitions(Admin target) throws Exception {
        return target.describeTopics(List.of(COPY)).allTopicNames().get().get(COPY).partitions().size();
    }

    private static String setting(Admin target, String name) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, COPY);
        return target.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
    }

    private static void changes() throws Exception {
        try (Admin source = Client.admin(); Admin target = Admin.create(AT_TARGET)) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
            AlterConfigOp longer = new AlterConfigOp(new ConfigEntry("max.message.bytes", "234567"), AlterConfigOp.OpType.SET);
            source.incrementalAlterConfigs(Map.of(resource, List.of(longer))).all().get();
            source.createPartitions(Map.of(TOPIC, NewPartitions.increaseTo(4))).all().get();
            Checks.until("the setting", () -> setting(target, "max.message.bytes").equals("234567"));
            Checks.until("the partitions", () -> partitions(target) == 4);
        }
    }

    private static void offsets() throws Exception {
        TopicPartition partition = new TopicPartition(TOPIC, 0);
        TopicPartition copy = new TopicPartition(COPY, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("group.id", GROUP))) {
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(50)));
        }
        // The copy has the same offsets, as no record was copied twice yet, and the group stands at the end.
        Checks.until("the checkpoint", () -> {
            OffsetAndMetadata there = RemoteClusterUtils.translateOffsets(AT_TARGET, "a", GROUP, Duration.ofSeconds(5)).get(copy);
            return there != null && there.offset() == 50;
        });
        try (Admin target = Admin.create(AT_TARGET)) {
            Checks.until("the group's offset", () -> {
                OffsetAndMetadata there = target.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get().get(copy);
                return there != null && there.offset() == 50;
            });
        }
        // Who moves to the target goes on where the group ended.
        ORDERS.send(20);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("bootstrap.servers", Mirrored.TARGET, "group.id", GROUP))) {
            consumer.subscribe(List.of(COPY));
            List<String> more = new ArrayList<>();
            Checks.until("what came later", () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (record.partition() == 0) more.add(record.offset() + " " + record.timestamp());
                }
                return more.size() >= 10;
            });
            Checks.equal(more.get(0), "50 1700000000100");
            Checks.equal(more.size(), 10, "records");
        }
    }

    private static void heartbeats() throws Exception {
        Checks.until("the cluster upstream", () -> RemoteClusterUtils.upstreamClusters(AT_TARGET).contains("a"));
        Checks.equal(RemoteClusterUtils.replicationHops(AT_TARGET, "a"), 1, "hops");
        Checks.isTrue(RemoteClusterUtils.checkpointTopics(AT_TARGET).contains("a.checkpoints.internal"),
                "the topic of checkpoints");
        try (Admin target = Admin.create(AT_TARGET)) {
            for (String topic : List.of("mm2-configs.a.internal", "mm2-offsets.a.internal", "mm2-status.a.internal")) {
                ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
                Checks.equal(target.describeConfigs(List.of(resource)).all().get().get(resource)
                        .get("cleanup.policy").value(), "compact", topic);
            }
        }
    }

    private static void kill() throws Exception {
        for (int round = 0; round < 2; round++) {
            ORDERS.send(1000);
            Mirrored.read(COPY, AT_TARGET, ORDERS.sent - 500);
            process.destroyForcibly().waitFor();
            start();
            ORDERS.send(1000);
            Checks.equal(new HashSet<>(Mirrored.read(COPY, AT_TARGET, ORDERS.sent)), new HashSet<>(ORDERS.read()), "different records");
        }
    }
}
