import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.kafka.common.protocol.ApiKeys;

/** Tools for brokers, users, quotas and access rules. */
final class ClusterToolChecks {
    private ClusterToolChecks() {}

    private static final String CONFIGS = "kafka.admin.ConfigCommand";
    private static final String ACLS = "AclCommand";

    static void add(Checks checks) {
        checks.add("broker-api-versions", ClusterToolChecks::apiVersions);
        checks.add("features", ClusterToolChecks::features);
        checks.add("cluster", ClusterToolChecks::cluster);
        checks.add("metadata-quorum", ClusterToolChecks::quorum);
        checks.add("configs: of brokers", ClusterToolChecks::brokerConfigs);
        checks.add("configs: SCRAM users", ClusterToolChecks::users);
        checks.add("configs: quotas", ClusterToolChecks::quotas);
        checks.add("acls", ClusterToolChecks::acls);
        checks.add("configs: of groups and loggers", ClusterToolChecks::otherConfigs);
        checks.add("delegation-tokens", ClusterToolChecks::tokens);
        checks.add("client-metrics", ClusterToolChecks::clientMetrics);
        checks.add("share and streams groups: what the server has not is said", ClusterToolChecks::unsupported);
    }

    private static void apiVersions() throws Exception {
        Tool versions = Tool.run("BrokerApiVersionsCommand", "").ok()
                .prints(Checks.BROKERS + " (id: 1 rack: null isFenced: false) -> (");
        for (ApiKeys key : List.of(ApiKeys.PRODUCE, ApiKeys.FETCH, ApiKeys.METADATA, ApiKeys.JOIN_GROUP,
                ApiKeys.CONSUMER_GROUP_HEARTBEAT)) {
            versions.matches("\t\\w+\\(" + key.id + "\\): .* \\[usable: " + key.latestVersion() + "\\],");
        }
    }

    private static void features() throws Exception {
        Tool.run("FeatureCommand", "describe").ok();
        Tool refused = Tool.run("FeatureCommand", "upgrade --feature group.version=99").fails("99");
        Checks.equal(refused.status, 1);
        Tool.run("FeatureCommand", "version-mapping").ok().prints("transaction.version=2").prints("group.version=1");
        Tool.run("FeatureCommand", "feature-dependencies --feature group.version=1").ok().prints("has no dependencies");
        Tool.run("FeatureCommand", "downgrade --feature transaction.version=0").fails("keeps the highest version that it supports");
        Tool.run("FeatureCommand", "downgrade --dry-run --feature group.version=0").ok();
    }

    private static void cluster() throws Exception {
        Tool.plain("ClusterTool", "cluster-id", "--bootstrap-server", Checks.BROKERS).ok().matches("Cluster ID: \\S{22}");
        Tool.plain("ClusterTool", "list-endpoints", "--bootstrap-server", Checks.BROKERS).ok()
                .matches("1\\s+127.0.0.1\\s+\\d+\\s+null\\s+unfenced\\s+broker\\s*");
    }

    private static void quorum() throws Exception {
        Tool.run("MetadataQuorumCommand", "describe --status").ok()
                .matches("LeaderId:\\s+1").matches("LeaderEpoch:\\s+\\d+").matches("MaxFollowerLag:\\s+0")
                .matches("CurrentObservers:\\s+\\[\\]");
        Tool.run("MetadataQuorumCommand", "describe --replication").ok()
                .matches("1\\s+\\S{22}\\s+\\d+\\s+0\\s+\\d+\\s+\\d+\\s+Leader\\s*");
    }

    private static void brokerConfigs() throws Exception {
        String one = " --entity-type brokers --entity-name 1";
        String all = " --entity-type brokers --entity-default";
        Tool.run(CONFIGS, "--alter --add-config message.max.bytes=2000000" + one).ok()
                .prints("Completed updating config for broker 1.");
        Tool.run(CONFIGS, "--alter --add-config log.retention.ms=100000" + all).ok()
                .prints("Completed updating default config for brokers in the cluster.");
        Tool.run(CONFIGS, "--describe --entity-type brokers").ok()
                .prints("message.max.bytes=2000000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:message.max.bytes=2000000, "
                        + "DEFAULT_CONFIG:message.max.bytes=1048588}")
                .prints("log.retention.ms=100000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=100000}");
        // Without effect here; tools that set it go on.
        Tool.run(CONFIGS, "--alter --add-config num.io.threads=9,log.cleaner.threads=2" + one).ok();
        Tool.run(CONFIGS, "--describe" + one).ok().prints("num.io.threads=9 ").prints("log.cleaner.threads=2 ");
        Tool.run(CONFIGS, "--alter --delete-config num.io.threads,log.cleaner.threads" + one).ok();
        // Of one listener; as in Kafka threads are at most doubled at once, and what a listener cannot have is refused.
        String threads = "listener.name.plaintext.num.network.threads";
        Tool.run(CONFIGS, "--alter --add-config " + threads + "=7" + one).fails("should not be greater than double the current value 3");
        Tool.run(CONFIGS, "--alter --add-config " + threads + "=6" + one).ok();
        Tool.run(CONFIGS, "--describe" + one).ok().prints(threads + "=6 ");
        Tool.run(CONFIGS, "--alter --delete-config " + threads + one).ok();
        String keystore = "listener.name.plaintext.ssl.keystore.location=/etc/tidelog/none.pem";
        Tool.run(CONFIGS, "--alter --add-config " + keystore + one).fails("There is no encrypted listener");
        Tool.run(CONFIGS, "--alter --add-config " + keystore + all).fails("broker id must be specified");
        Tool.run(CONFIGS, "--alter --delete-config message.max.bytes" + one).ok();
        Tool.run(CONFIGS, "--alter --delete-config log.retention.ms" + all).ok();
        Tool.run(CONFIGS, "--describe" + one).ok().lacks("message.max.bytes");
        Tool.run(CONFIGS, "--describe --all" + one).ok().prints("message.max.bytes=1048588 ").prints("num.partitions=1 ");
        Checks.equal(Tool.run(CONFIGS, "--alter --add-config num.partitions=3" + one).fails("InvalidRequestException").status, 1);
    }

    private static void users() throws Exception {
        String of = " --entity-type users --entity-name tool-alice";
        Tool.run(CONFIGS, "--alter --add-config SCRAM-SHA-256=[iterations=8192,password=secret],SCRAM-SHA-512=[password=secret]"
                + of).ok();
        Tool.run(CONFIGS, "--describe" + of).ok()
                .prints("SCRAM credential configs for user-principal 'tool-alice' are SCRAM-SHA-256=iterations=8192, SCRAM-SHA-512=iterations=4096");
        Tool.run(CONFIGS, "--alter --delete-config SCRAM-SHA-256,SCRAM-SHA-512" + of).ok();
        Tool.run(CONFIGS, "--describe" + of).ok().lacks("SCRAM-SHA");
        Tool.run(CONFIGS, "--alter --add-config SCRAM-SHA-256=[iterations=20000,password=secret]" + of)
                .fails("UnacceptableCredentialException");
    }

    private static void quotas() throws Exception {
        String user = " --entity-type users --entity-name tool-bob";
        Tool.run(CONFIGS, "--alter --add-config producer_byte_rate=1000000,consumer_byte_rate=2000000" + user).ok();
        Tool.run(CONFIGS, "--alter --add-config request_percentage=200" + user + " --entity-type clients --entity-name x").ok();
        Tool.run(CONFIGS, "--alter --add-config controller_mutation_rate=1000 --entity-type clients --entity-default").ok();
        Tool.run(CONFIGS, "--alter --add-config connection_creation_rate=100 --entity-type ips --entity-name 10.0.0.1").ok();
        Tool.run(CONFIGS, "--describe" + user).ok()
                .prints("Quota configs for user-principal 'tool-bob' are consumer_byte_rate=2000000.0, producer_byte_rate=1000000.0");
        Tool.run(CONFIGS, "--describe --entity-type users --entity-type clients").ok()
                .prints("Quota configs for user-principal 'tool-bob', client-id 'x' are request_percentage=200.0");
        Tool.run(CONFIGS, "--describe --entity-type clients --entity-default").ok()
                .prints("Quota configs for the default client-id are controller_mutation_rate=1000.0");
        Tool.run(CONFIGS, "--describe --entity-type ips").ok()
                .prints("Quota configs for ip '10.0.0.1' are connection_creation_rate=100.0");
        Tool.run(CONFIGS, "--alter --delete-config producer_byte_rate,consumer_byte_rate" + user).ok();
        Tool.run(CONFIGS, "--alter --delete-config controller_mutation_rate --entity-type clients --entity-default").ok();
        Tool.run(CONFIGS, "--describe" + user).ok().lacks("byte_rate");
        Tool.run(CONFIGS, "--alter --add-config nonsense=1" + user).fails("nonsense");
    }

    private static void acls() throws Exception {
        String topic = Checks.unique("tool-acl");
        String on = " --topic " + topic;
        Tool.run(ACLS, "--add --allow-principal User:alice --operation Read --operation Write --allow-host 10.0.0.1" + on).ok()
                .prints("Adding ACLs for resource `ResourcePattern(resourceType=TOPIC, name=" + topic + ", patternType=LITERAL)`");
        Tool.run(ACLS, "--add --allow-principal User:alice --producer --resource-pattern-type prefixed" + on).ok();
        Tool.run(ACLS, "--add --allow-principal User:bob --consumer --group g" + on).ok();
        Tool.run(ACLS, "--add --deny-principal User:eve --operation All --cluster").ok();
        Tool.run(ACLS, "--add --allow-principal User:carol --operation Describe --transactional-id x --delegation-token y").ok();
        Tool.run(ACLS, "--list" + on).ok()
                .prints("(principal=User:alice, host=10.0.0.1, operation=READ, permissionType=ALLOW)")
                .prints("(principal=User:bob, host=*, operation=DESCRIBE, permissionType=ALLOW)").lacks("User:eve")
                .lacks("PREFIXED");
        Tool.run(ACLS, "--list --resource-pattern-type match --topic " + topic + "-more").ok()
                .prints("name=" + topic + ", patternType=PREFIXED").prints("operation=CREATE").lacks("User:bob");
        Tool.run(ACLS, "--list --principal User:bob").ok().prints("resourceType=GROUP, name=g").lacks("User:alice");
        Tool.run(ACLS, "--list --cluster").ok().prints("(principal=User:eve, host=*, operation=ALL, permissionType=DENY)");
        Tool.run(ACLS, "--list --transactional-id x").ok().prints("principal=User:carol");
        Tool.run(ACLS, "--remove --force --allow-principal User:bob --consumer --group g" + on).ok();
        Tool.run(ACLS, "--list --principal User:bob").ok().lacks("resourceType");
        Tool.run(ACLS, "--remove --force --resource-pattern-type any" + on).ok();
        Tool.run(ACLS, "--remove --force --cluster").ok();
        Tool.run(ACLS, "--list --resource-pattern-type any" + on).ok().lacks("principal");
    }

    private static void otherConfigs() throws Exception {
        String group = " --entity-type groups --entity-name tool-group";
        Tool.run(CONFIGS, "--alter --add-config consumer.session.timeout.ms=50000" + group).ok()
                .prints("Completed updating config for group tool-group.");
        Tool.run(CONFIGS, "--describe" + group).ok().prints("consumer.session.timeout.ms=50000");
        Tool.run(CONFIGS, "--alter --delete-config consumer.session.timeout.ms" + group).ok();
        String loggers = " --entity-type broker-loggers --entity-name 1";
        Tool.run(CONFIGS, "--alter --add-config tidelog_log=DEBUG" + loggers).ok();
        Tool.run(CONFIGS, "--describe" + loggers).ok().prints("tidelog_log=DEBUG");
        Tool.run(CONFIGS, "--alter --delete-config tidelog_log" + loggers).ok();
        Checks.equal(Tool.run(CONFIGS, "--alter --add-config nonsense=DEBUG" + loggers).fails("Invalid broker logger(s): nonsense").status, 1);
    }

    /** The tool works only for who has logged in: it gets a server of its own. */
    private static void tokens() throws Exception {
        Server server = new Server("SASL_PLAINTEXT://", "--authorizer", "acl", "--super-user", "User:admin", "--kafka-sasl-mechanism",
                "SCRAM-SHA-256", "-s", "delegation.token.secret.key=tell-nobody-and-least-of-all-alice");
        Path login = Files.writeString(Files.createTempFile("tidelog-tools", ".properties"), """
                security.protocol=SASL_PLAINTEXT
                sasl.mechanism=SCRAM-SHA-256
                sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="%s";
                """.formatted(Server.PASSWORD));
        login.toFile().deleteOnExit();
        String[] with = {"--bootstrap-server", server.address, "--command-config", login.toString()};
        Tool made = token(with, "--create --max-life-time-period -1 --renewer-principal User:bob").ok()
                .prints("Calling create token operation").prints("User:bob");
        // The table's second column.
        String hmac = made.lines().get(made.lines().size() - 1).split("\\s+")[1];
        token(with, "--describe --owner-principal User:admin").ok().prints("User:admin").prints(hmac);
        token(with, "--renew --renew-time-period 3600000 --hmac " + hmac).ok().prints("Completed renew operation");
        token(with, "--expire --expiry-time-period -1 --hmac " + hmac).ok().prints("Completed expire operation");
        token(with, "--describe").ok().lacks(hmac);
        Checks.equal(token(with, "--renew --renew-time-period -1 --hmac " + hmac).fails("DelegationTokenNotFoundException").status, 1);
        server.stop();
    }

    private static Tool token(String[] with, String arguments) throws Exception {
        return Tool.plain("DelegationTokenCommand", Stream.concat(Stream.of(with), Stream.of(arguments.split(" "))).toArray(String[]::new));
    }

    private static void clientMetrics() throws Exception {
        String name = Checks.unique("tool-metrics");
        Tool.run("ClientMetricsCommand", "--alter --name " + name + " --metrics org.apache. --interval 1000 --match client_id=a.*").ok();
        Tool.run("ClientMetricsCommand", "--list").ok().prints(name);
        Tool.run("ClientMetricsCommand", "--describe --name " + name).ok().prints("interval.ms=1000").prints("metrics=org.apache.")
                .prints("match=client_id=a.*");
        Checks.equal(Tool.run("ClientMetricsCommand", "--alter --name " + name + " --interval 1").fails("between 100 and 3600000").status, 1);
        Tool.run("ClientMetricsCommand", "--delete --name " + name).ok();
        Tool.run("ClientMetricsCommand", "--list").ok().lacks(name);
    }

    private static void unsupported() throws Exception {
        Checks.equal(Tool.run("consumer.group.ShareGroupCommand", "--list").ok().lines(), List.of());
        Tool.run("consumer.group.ShareGroupCommand", "--describe --group x").fails("The node does not support SHARE_GROUP_DESCRIBE");
        Checks.equal(Tool.run("streams.StreamsGroupCommand", "--list").ok().lines(), List.of());
        Checks.equal(Tool.run("streams.StreamsGroupCommand", "--describe --group x")
                .fails("The node does not support STREAMS_GROUP_DESCRIBE").status, 1);
        String voter = "remove-controller --controller-id 1 --controller-directory-id AAAAAAAAAAAAAAAAAAAAAA";
        Checks.equal(Tool.run("MetadataQuorumCommand", voter).fails("The node does not support REMOVE_RAFT_VOTER").status, 1);
    }
}
