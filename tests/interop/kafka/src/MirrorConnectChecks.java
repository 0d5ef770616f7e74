import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.mirror.Heartbeat;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

/** MirrorMaker 2 as three connectors of a Connect worker at TIDELOG_TARGET, whose sources write exactly once. */
final class MirrorConnectChecks {
    private MirrorConnectChecks() {}

    private static final Mirrored INVOICES = new Mirrored(Checks.unique("invoices"));
    private static final String COPY = "x." + INVOICES.topic;
    private static final String GROUP = Checks.unique("accountants");
    private static final String WORKERS = Checks.unique("mirror-workers");
    private static final Map<String, Object> COMMITTED = Map.of("bootstrap.servers", Mirrored.TARGET, "isolation.level",
            "read_committed");

    private static Worker worker;

    static void add(Checks checks) {
        checks.add("in Connect: the connectors by REST copy topics and records", MirrorConnectChecks::records);
        checks.add("in Connect: a group goes on at the copy", MirrorConnectChecks::offsets);
        checks.add("in Connect: heartbeats name the cluster", MirrorConnectChecks::heartbeats);
        checks.add("in Connect: killed and started again: every record comes once", MirrorConnectChecks::kill);
    }

    static void stop() throws Exception {
        if (worker != null) worker.kill();
    }

    private static void start() throws Exception {
        worker = new Worker(WORKERS, Map.of("bootstrap.servers", Mirrored.TARGET, "exactly.once.source.support", "enabled",
                "key.converter", "org.apache.kafka.connect.converters.ByteArrayConverter",
                "value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter",
                "header.converter", "org.apache.kafka.connect.converters.ByteArrayConverter",
                "offset.flush.interval.ms", "500", "offset.storage.partitions", "1")).ready();
    }

    private static void connect(String kind, Map<String, String> more) throws Exception {
        Map<String, String> config = new HashMap<>(more);
        config.putAll(Map.of("connector.class", "org.apache.kafka.connect.mirror.Mirror" + kind + "Connector",
                "source.cluster.alias", "x", "target.cluster.alias", "y", "source.cluster.bootstrap.servers", Checks.BROKERS,
                "target.cluster.bootstrap.servers", Mirrored.TARGET, "topics", "invoices-.*", "groups", "accountants-.*",
                // What a killed worker leaves open is in the way until it is aborted.
                "producer.override.transaction.timeout.ms", "3000"));
        worker.ask("POST", "/connectors", Map.of("name", kind, "config", config));
    }

    private static void records() throws Exception {
        try (Admin source = Client.admin()) {
            Client.create(source, new NewTopic(INVOICES.topic, 2, (short) 1).configs(Map.of("retention.ms", "-1", "max.message.bytes", "123456")));
        }
        INVOICES.send(100);
        start();
        connect("Source", Map.of("replication.factor", "1", "offset-syncs.topic.replication.factor", "1", "offset.lag.max", "0",
                "exactly.once.support", "required", "source.consumer.isolation.level", "read_committed",
                "refresh.topics.interval.seconds", "1", "sync.topic.configs.interval.seconds", "1"));
        connect("Checkpoint", Map.of("checkpoints.topic.replication.factor", "1", "sync.group.offsets.enabled", "true",
                "emit.checkpoints.interval.seconds", "1", "sync.group.offsets.interval.seconds", "1",
                "refresh.groups.interval.seconds", "1"));
        connect("Heartbeat", Map.of("heartbeats.topic.replication.factor", "1", "emit.heartbeats.interval.seconds", "1"));
        Checks.until("they run", () -> worker.runs("Source", 1) && worker.runs("Heartbeat", 1));
        try (Admin target = Admin.create(Mirrored.AT_TARGET)) {
            Checks.until("the copy exists", () -> target.listTopics().names().get().contains(COPY));
        }
        Checks.equal(Mirrored.read(COPY, COMMITTED, 100), INVOICES.read(), "records");
    }

    private static void offsets() throws Exception {
        TopicPartition partition = new TopicPartition(INVOICES.topic, 0);
        TopicPartition copy = new TopicPartition(COPY, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("group.id", GROUP))) {
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(50)));
        }
        try (Admin target = Admin.create(Mirrored.AT_TARGET)) {
            Checks.until("the group's offset", () -> {
                OffsetAndMetadata there = target.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get().get(copy);
                return there != null && there.offset() >= 50;
            });
        }
        // In the copy markers of transactions have offsets too; who goes on there reads on where the group ended all the same.
        INVOICES.send(20);
        Map<String, Object> settings = new HashMap<>(COMMITTED);
        settings.put("group.id", GROUP);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(settings)) {
            consumer.subscribe(List.of(COPY));
            List<Long> more = new ArrayList<>();
            Checks.until("what came later", () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (record.partition() == 0) more.add(record.timestamp() - 1_700_000_000_000L);
                }
                return more.size() >= 10;
            });
            Checks.equal(more, List.of(100L, 102L, 104L, 106L, 108L, 110L, 112L, 114L, 116L, 118L), "records");
        }
    }

    private static void heartbeats() throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(COMMITTED)) {
            consumer.assign(List.of(new TopicPartition("heartbeats", 0)));
            Checks.until("a heartbeat", () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    Heartbeat heartbeat = Heartbeat.deserializeRecord(record);
                    if (heartbeat.sourceClusterAlias().equals("x") && heartbeat.targetClusterAlias().equals("y")) return true;
                }
                return false;
            });
        }
        Checks.isTrue(RemoteClusterUtils.checkpointTopics(Mirrored.AT_TARGET).contains("x.checkpoints.internal"),
                "the topic of checkpoints");
    }

    private static void kill() throws Exception {
        INVOICES.send(3000);
        Mirrored.read(COPY, COMMITTED, INVOICES.sent - 2500);
        worker.kill();
        INVOICES.send(1000);
        start();
        Checks.equal(Mirrored.read(COPY, COMMITTED, INVOICES.sent), INVOICES.read(), "records");
        for (String connector : List.of("Source", "Checkpoint", "Heartbeat")) worker.ask("DELETE", "/connectors/" + connector, null);
        worker.stop();
    }
}
