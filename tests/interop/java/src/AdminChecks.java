import static java.util.stream.Collectors.toSet;

import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.LogDirNotFoundException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.resource.ResourceType;

/** Kafka's admin client. */
final class AdminChecks {
    private AdminChecks() {}

    interface Use {
        void with(Admin admin) throws Exception;
    }

    static void add(Checks checks) {
        add(checks, "create, list, describe, errors", AdminChecks::topics);
        add(checks, "describe page by page", AdminChecks::pages);
        add(checks, "describe and alter configs", AdminChecks::configs);
        add(checks, "add partitions", AdminChecks::partitions);
        add(checks, "list offsets", AdminChecks::offsets);
        add(checks, "delete records", AdminChecks::deleteRecords);
        add(checks, "describe producers", AdminChecks::producers);
        add(checks, "describe and alter log directories", AdminChecks::logDirs);
        add(checks, "delete and create again", AdminChecks::delete);
        add(checks, "describe the cluster", AdminChecks::cluster);
        add(checks, "elections and reassignments", AdminChecks::elections);
        add(checks, "access rules", AdminChecks::rules);
    }

    private static void add(Checks checks, String name, Use use) {
        checks.add("admin: " + name, () -> {
            try (Admin admin = Client.admin()) {
                use.with(admin);
            }
        });
    }

    private static void topics(Admin admin) throws Exception {
        String name = Checks.unique("admin");
        NewTopic topic = new NewTopic(name, Optional.of(3), Optional.empty());
        Client.create(admin, topic);
        Checks.isTrue(admin.listTopics().names().get().contains(name), "it is listed");
        TopicDescription described = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        Checks.equal(described.partitions().size(), 3, "partitions");
        Checks.equal(described.isInternal(), false);
        TopicCollection ids = TopicCollection.ofTopicIds(List.of(described.topicId()));
        Checks.equal(admin.describeTopics(ids).allTopicIds().get().get(described.topicId()).name(), name);
        Checks.refused(TopicExistsException.class, () -> admin.createTopics(List.of(topic)).all().get());
        NewTopic bad = new NewTopic("no/slash", 1, (short) 1);
        Checks.refused(InvalidTopicException.class, () -> admin.createTopics(List.of(bad)).all().get());
        Checks.refused(UnknownTopicOrPartitionException.class,
                () -> admin.describeTopics(List.of(Checks.unique("nobody"))).allTopicNames().get());
    }

    private static void pages(Admin admin) throws Exception {
        Collection<String> names = List.of(
                Client.topic("page-b", 7, Map.of()), Client.topic("page-a", 5, Map.of()), Client.topic("page-c", 1, Map.of()));
        DescribeTopicsOptions options = new DescribeTopicsOptions().partitionSizeLimitPerResponse(2).includeAuthorizedOperations(true);
        Map<String, TopicDescription> described = admin.describeTopics(names, options).allTopicNames().get();
        Checks.equal(described.keySet(), Set.copyOf(names));
        int partitions = 0;
        for (TopicDescription topic : described.values()) {
            for (int n = 0; n < topic.partitions().size(); n++) {
                Checks.equal(topic.partitions().get(n).partition(), n, "partition");
                Checks.equal(topic.partitions().get(n).isr().size(), 1, "replicas in sync");
            }
            partitions += topic.partitions().size();
            Checks.isTrue(topic.authorizedOperations().size() >= 8, "operations: " + topic.authorizedOperations());
        }
        Checks.equal(partitions, 13, "partitions");
    }

    private static void configs(Admin admin) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, Client.topic("configs", 1, Map.of()));
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry("retention.ms", "1234567"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(set))).all().get();
        Config config = admin.describeConfigs(List.of(topic)).all().get().get(topic);
        Checks.equal(config.get("retention.ms").value(), "1234567");
        Checks.equal(config.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        Checks.equal(config.get("cleanup.policy").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        AlterConfigOp unset = new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(unset))).all().get();
        Checks.equal(admin.describeConfigs(List.of(topic)).all().get().get(topic).get("retention.ms").value(), "604800000");
    }

    private static void partitions(Admin admin) throws Exception {
        String topic = Client.topic("grows", 1, Map.of());
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        Checks.equal(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 4, "partitions");
        Checks.refused(InvalidPartitionsException.class,
                () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
    }

    private static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        ListOffsetsResultInfo found = admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
        return found.offset();
    }

    private static void offsets(Admin admin) throws Exception {
        String topic = Client.topic("offsets", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        Client.send(Map.of(), Client.numbers(topic, 10));
        Checks.equal(offset(admin, partition, OffsetSpec.earliest()), 0L);
        Checks.equal(offset(admin, partition, OffsetSpec.latest()), 10L);
        Checks.equal(offset(admin, partition, OffsetSpec.earliestLocal()), 0L);
        long youngest = offset(admin, partition, OffsetSpec.maxTimestamp());
        Checks.isTrue(youngest >= 0 && youngest < 10, "the youngest is " + youngest);
        Checks.equal(offset(admin, partition, OffsetSpec.forTimestamp(0)), 0L);
        Checks.equal(offset(admin, partition, OffsetSpec.latestTiered()), -1L);
    }

    private static void deleteRecords(Admin admin) throws Exception {
        String topic = Client.topic("delete-records", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        Client.send(Map.of(), Client.numbers(topic, 10));
        Checks.equal(deleteBefore(admin, partition, 4), 4L);
        Checks.equal(offset(admin, partition, OffsetSpec.earliest()), 4L);
        Checks.equal(Client.text(Client.read(topic, 4, 6).get(0).value()), "4");
        Checks.refused(OffsetOutOfRangeException.class, () -> deleteBefore(admin, partition, 11));
        Checks.equal(deleteBefore(admin, partition, -1), 10L);
        String compacted = Client.topic("compacted", 1, Map.of("cleanup.policy", "compact"));
        Checks.refused(PolicyViolationException.class, () -> deleteBefore(admin, new TopicPartition(compacted, 0), 0));
    }

    private static long deleteBefore(Admin admin, TopicPartition partition, long offset) throws Exception {
        Map<TopicPartition, RecordsToDelete> request = Map.of(partition, RecordsToDelete.beforeOffset(offset));
        return admin.deleteRecords(request).lowWatermarks().get(partition).get().lowWatermark();
    }

    private static void producers(Admin admin) throws Exception {
        String topic = Client.topic("producers", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        Client.send(Map.of("enable.idempotence", "true"), Client.numbers(topic, 7));
        List<ProducerState> active = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        Checks.equal(active.size(), 1, "producers");
        Checks.equal(active.get(0).lastSequence(), 6, "last sequence");
        Checks.isTrue(active.get(0).currentTransactionStartOffset().isEmpty(), "no transaction is open");
    }

    private static void logDirs(Admin admin) throws Exception {
        String topic = Client.topic("log-dirs", 2, Map.of());
        Client.send(Map.of(), Client.numbers(topic, 10));
        int broker = admin.describeCluster().nodes().get().iterator().next().id();
        Map<String, LogDirDescription> directories = admin.describeLogDirs(List.of(broker)).allDescriptions().get().get(broker);
        Checks.equal(directories.size(), 1, "directories");
        String path = directories.keySet().iterator().next();
        LogDirDescription directory = directories.get(path);
        Checks.equal(directory.error(), null);
        Checks.isTrue(directory.replicaInfos().get(new TopicPartition(topic, 0)).size() > 0, "bytes of partition 0");
        Checks.equal(directory.replicaInfos().get(new TopicPartition(topic, 1)).size(), 0L, "bytes of partition 1");
        Checks.isTrue(directory.totalBytes().getAsLong() > directory.usableBytes().getAsLong(), "bytes of the volume");
        TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, broker);
        admin.alterReplicaLogDirs(Map.of(replica, path)).all().get();
        Checks.refused(LogDirNotFoundException.class, () -> admin.alterReplicaLogDirs(Map.of(replica, "/elsewhere")).all().get());
    }

    private static void delete(Admin admin) throws Exception {
        String topic = Client.topic("again", 1, Map.of());
        Client.send(Map.of(), Client.numbers(topic, 3));
        admin.deleteTopics(List.of(topic)).all().get();
        Checks.isTrue(!admin.listTopics().names().get().contains(topic), "it is gone");
        Checks.refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
        Client.create(admin, new NewTopic(topic, 1, (short) 1));
        Checks.equal(offset(admin, new TopicPartition(topic, 0), OffsetSpec.latest()), 0L);
    }

    private static void cluster(Admin admin) throws Exception {
        Set<Integer> nodes = admin.describeCluster().nodes().get().stream().map(node -> node.id()).collect(toSet());
        Checks.isTrue(nodes.contains(admin.describeCluster().controller().get().id()), "the controller is a broker");
        Checks.isTrue(!admin.describeCluster().clusterId().get().isEmpty(), "the cluster has an id");
    }

    private static void rules(Admin admin) throws Exception {
        String topic = Checks.unique("rules");
        ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.PREFIXED);
        Set<AclBinding> rules = new HashSet<>();
        for (AclOperation operation : List.of(AclOperation.READ, AclOperation.WRITE)) {
            rules.add(new AclBinding(pattern, new AccessControlEntry("User:alice", "10.0.0.1", operation, AclPermissionType.ALLOW)));
        }
        admin.createAcls(rules).all().get();
        AclBindingFilter matching = new AclBindingFilter(
                new ResourcePatternFilter(ResourceType.TOPIC, topic + "-more", PatternType.MATCH), AccessControlEntryFilter.ANY);
        Checks.equal(Set.copyOf(admin.describeAcls(matching).values().get()), rules);
        Checks.equal(Set.copyOf(admin.deleteAcls(List.of(matching)).all().get()), rules);
        Checks.equal(admin.describeAcls(matching).values().get().size(), 0, "rules that are left");
    }

    private static void elections(Admin admin) throws Exception {
        TopicPartition partition = new TopicPartition(Client.topic("elections", 1, Map.of()), 0);
        Checks.refused(ElectionNotNeededException.class, () -> {
            Optional<Throwable> error = admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get().get(partition);
            throw new ExecutionException(error.orElseThrow());
        });
        NewPartitionReassignment away = new NewPartitionReassignment(List.of(99));
        Checks.refused(InvalidReplicaAssignmentException.class,
                () -> admin.alterPartitionReassignments(Map.of(partition, Optional.of(away))).all().get());
        Checks.equal(admin.listPartitionReassignments(Set.of(partition)).reassignments().get(), Map.of());
    }
}
