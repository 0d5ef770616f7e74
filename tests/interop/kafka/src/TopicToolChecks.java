import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Tools for topics and their partitions. */
final class TopicToolChecks {
    private TopicToolChecks() {}

    private static final String TOPICS = "TopicCommand";
    private static final String OFFSETS = "GetOffsetShell";
    private static final String REASSIGN = "reassign.ReassignPartitionsCommand";

    static void add(Checks checks) {
        checks.add("topics: create, list, describe, alter, delete", TopicToolChecks::topics);
        checks.add("topics: what is refused", TopicToolChecks::refusals);
        checks.add("configs: of topics", TopicToolChecks::configs);
        checks.add("get-offsets", TopicToolChecks::offsets);
        checks.add("delete-records", TopicToolChecks::deleteRecords);
        checks.add("log-dirs", TopicToolChecks::logDirs);
        checks.add("leader-election", TopicToolChecks::elections);
        checks.add("reassign-partitions", TopicToolChecks::reassign);
    }

    private static void topics() throws Exception {
        String name = Checks.unique("tool");
        String create = " --partitions 3 --config cleanup.policy=compact --config retention.ms=60000";
        Tool.run(TOPICS, "--create --topic " + name + create).ok().prints("Created topic " + name + ".");
        Tool.run(TOPICS, "--create --if-not-exists --topic " + name).ok();
        Tool.run(TOPICS, "--list").ok().matches(name);
        String first = "Topic: " + name + "\tTopicId: \\S{22}\tPartitionCount: %d\tReplicationFactor: 1\tConfigs: ";
        Tool.run(TOPICS, "--describe --topic " + name).ok()
                .matches(first.formatted(3) + "cleanup.policy=compact,retention.ms=60000")
                .matches("\tTopic: " + name + "\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: ");
        Tool.run(TOPICS, "--describe --topics-with-overrides").ok().prints("Topic: " + name + "\t");
        for (String none : List.of("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions")) {
            Checks.equal(Tool.run(TOPICS, "--describe " + none).ok().lines(), List.of(), none);
        }
        Tool.run(TOPICS, "--alter --partitions 5 --topic " + name).ok();
        Tool.run(TOPICS, "--describe --topic " + name).ok().matches(first.formatted(5) + ".*").prints("Partition: 4\tLeader: 1");
        Tool.run(TOPICS, "--delete --topic " + name).ok();
        Tool.run(TOPICS, "--list").ok().lacks(name);
        Tool.run(TOPICS, "--create --replica-assignment 1,1 --topic " + name).ok();
        Tool.run(TOPICS, "--describe --topic " + name).ok().matches(first.formatted(2) + ".*");
    }

    private static void refusals() throws Exception {
        String name = Client.topic("tool-refused", 5, Map.of());
        refused("--create --topic " + name, "Topic '" + name + "' already exists.");
        refused("--alter --partitions 2 --topic " + name, "currently has 5 partition(s); 2 would not be an increase.");
        refused("--create --replication-factor 3 --topic x", "only 1 broker(s) are registered.");
        refused("--create --config nonsense=1 --topic x", "Unknown topic config name: nonsense");
        refused("--create --topic no/slash", "'.', '_' and '-'");
        refused("--delete --topic nobody", "Topic 'nobody' does not exist as expected");
        refused("--describe --topic nobody", "Topic 'nobody' does not exist as expected");
    }

    private static void refused(String arguments, String error) throws Exception {
        Checks.equal(Tool.run(TOPICS, arguments).fails(error).status, 1, "the status of " + arguments);
    }

    private static void configs() throws Exception {
        String name = Client.topic("tool-config", 1, Map.of("remote.storage.enable", "false"));
        String of = " --entity-type topics --entity-name " + name;
        String config = "kafka.admin.ConfigCommand";
        Tool.run(config, "--alter --add-config retention.ms=5000,cleanup.policy=[compact,delete]" + of).ok()
                .prints("Completed updating config for topic " + name + ".");
        Tool.run(config, "--describe" + of).ok().prints("Dynamic configs for topic " + name + " are:")
                .prints("retention.ms=5000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5000}")
                .prints("cleanup.policy=compact,delete sensitive=false");
        Tool.run(config, "--alter --delete-config retention.ms,cleanup.policy" + of).ok();
        Tool.run(config, "--describe" + of).ok().lacks("retention.ms").lacks("cleanup.policy");
        Tool.run(config, "--describe --all" + of).ok()
                .prints("cleanup.policy=delete sensitive=false synonyms={DEFAULT_CONFIG:log.cleanup.policy=delete}");
        Checks.equal(Tool.run(config, "--alter --add-config nonsense=5" + of)
                .fails("Unknown topic config name: nonsense").status, 1);
        Checks.equal(Tool.run(config, "--alter --add-config retention.ms=x" + of).fails("Invalid value x").status, 1);
    }

    private static void offsets() throws Exception {
        String name = Client.topic("tool-offsets", 2, Map.of());
        Client.send(Map.of(), Client.numbers(name, 10));
        String of = " --topic-partitions " + name;
        Checks.equal(Tool.run(OFFSETS, "--topic " + name).ok().lines(), List.of(name + ":0:10", name + ":1:0"));
        Checks.equal(Tool.run(OFFSETS, "--time earliest" + of).ok().lines(), List.of(name + ":0:0", name + ":1:0"));
        Checks.equal(Tool.run(OFFSETS, "--time earliest-local" + of + ":0").ok().lines(), List.of(name + ":0:0"));
        Checks.equal(Tool.run(OFFSETS, "--time 1000" + of).ok().lines(), List.of(name + ":0:0"));
        Tool.run(OFFSETS, "--time max-timestamp" + of).ok().matches(name + ":0:[0-9]");
        Checks.equal(Tool.run(OFFSETS, "--time latest-tiered" + of).ok().lines(), List.of());
    }

    private static void deleteRecords() throws Exception {
        String name = Client.topic("tool-delete", 2, Map.of());
        Client.send(Map.of(), Client.numbers(name, 10));
        String partition = "{'topic':'" + name + "','partition':%d,'offset':%d}";
        String file = json("{'version':1,'partitions':[" + partition.formatted(0, 4) + "," + partition.formatted(1, -1) + "]}");
        Tool.run("DeleteRecordsCommand", "--offset-json-file " + file).ok()
                .matches("partition: " + name + "-0\tlow_watermark: 4").matches("partition: " + name + "-1\tlow_watermark: 0");
        Checks.equal(Tool.run(OFFSETS, "--time -2 --topic " + name).ok().lines(), List.of(name + ":0:4", name + ":1:0"));
        file = json("{'version':1,'partitions':[" + partition.formatted(0, 11) + "]}");
        Tool.run("DeleteRecordsCommand", "--offset-json-file " + file).fails("OffsetOutOfRangeException");
    }

    private static void logDirs() throws Exception {
        String name = Client.topic("tool-dirs", 2, Map.of());
        Client.send(Map.of(), Client.numbers(name, 10));
        Tool.run("LogDirsCommand", "--describe --broker-list 1 --topic-list " + name).ok()
                .prints("Received log directory information from brokers 1")
                .matches(".*\\{\"partition\":\"" + name + "-0\",\"size\":[1-9]\\d*,\"offsetLag\":0,\"isFuture\":false\\}.*")
                .prints("\"error\":null");
        Tool.run("LogDirsCommand", "--describe --broker-list 9")
                .fails("ERROR: The given brokers do not exist from --broker-list: 9");
    }

    private static void elections() throws Exception {
        String name = Client.topic("tool-elect", 1, Map.of());
        String of = " --topic " + name + " --partition ";
        Tool.run("LeaderElectionCommand", "--election-type preferred --all-topic-partitions").ok();
        for (String type : List.of("preferred", "unclean")) {
            Tool.run("LeaderElectionCommand", "--election-type " + type + of + "0").ok()
                    .prints("Valid replica already elected for partitions " + name + "-0");
        }
        Tool unknown = Tool.run("LeaderElectionCommand", "--election-type preferred" + of + "7");
        Checks.equal(unknown.fails("UnknownTopicOrPartitionException").status, 1);
    }

    private static void reassign() throws Exception {
        String name = Client.topic("tool-move", 2, Map.of());
        String topics = json("{'version':1,'topics':[{'topic':'" + name + "'}]}");
        Tool plan = Tool.run(REASSIGN, "--generate --broker-list 1 --topics-to-move-json-file " + topics).ok();
        String proposed = plan.lines().get(plan.lines().size() - 1);
        String stay = " --reassignment-json-file " + json(proposed);
        Tool.run(REASSIGN, "--execute" + stay).ok()
                .prints("Successfully started partition reassignments for " + name + "-0," + name + "-1");
        Tool.run(REASSIGN, "--verify" + stay).ok()
                .prints("Reassignment of partition " + name + "-0 is completed.")
                .prints("Clearing broker-level throttles on broker 1");
        Tool.run(REASSIGN, "--execute --throttle 1000000 --replica-alter-log-dirs-throttle 1000000" + stay).ok()
                .prints("The inter-broker throttle limit was set to 1000000 B/s");
        Tool.run(REASSIGN, "--verify" + stay).ok().prints("Reassignment of partition " + name + "-1 is completed.");
        Tool.run(REASSIGN, "--cancel" + stay).ok().prints("None of the specified partition reassignments are active.");
        Tool.run(REASSIGN, "--list").ok().prints("No partition reassignments found.");
        String away = " --reassignment-json-file " + json(proposed.replace("\"replicas\":[1]", "\"replicas\":[2]"));
        Checks.equal(Tool.run(REASSIGN, "--execute" + away).fails("Unknown broker id 2").status, 1);
    }

    /** The name of a new file with this content, in which single quotes stand for double ones. */
    private static String json(String content) throws Exception {
        Path file = Files.createTempFile("tidelog-tools", ".json");
        file.toFile().deleteOnExit();
        return Files.writeString(file, content.replace('\'', '"')).toString();
    }
}
