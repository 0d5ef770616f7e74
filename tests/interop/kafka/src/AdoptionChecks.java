import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.token.delegation.DelegationToken;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka itself writes a data directory and is stopped, once in order and once by a kill: Tidelog takes all of it over. */
public final class AdoptionChecks {
    private AdoptionChecks() {}

    private static final List<String> TOPICS = List.of("orders", "table", "once", "plain");
    private static final String OPEN_ID = "left-open";

    /** One directory, and what was seen of it while Kafka had it. */
    private static final class Taken {
        final Path folder;
        final String ending;
        String brokers;
        String sasl;
        Node kafka;
        Process server;
        DelegationToken token;
        KafkaProducer<byte[], byte[]> left;
        final Map<String, Uuid> ids = new TreeMap<>();
        final Map<String, List<String>> records = new TreeMap<>();
        final Map<String, List<String>> committed = new TreeMap<>();
        Set<AclBinding> rules;
        Map<ClientQuotaEntity, Map<String, Double>> quotas;
        long lastProducer;

        Taken(Path folder, String ending) {
            this.folder = folder;
            this.ending = ending;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createTempDirectory("tidelog-adoption");
        Checks checks = new Checks("adoption");
        for (String ending : List.of("stopped", "killed")) {
            Taken taken = new Taken(folder.resolve(ending), ending);
            String by = ", Kafka " + ending;
            checks.add("Kafka starts and writes" + by, () -> write(taken));
            checks.add("Kafka compacts, deletes and ends" + by, () -> end(taken));
            checks.add("it is taken over, and what is not is told" + by, () -> takeOver(taken));
            checks.add("topics, ids and settings" + by, () -> topics(taken));
            checks.add("every record, committed or not" + by, () -> records(taken));
            checks.add("groups go on where they were" + by, () -> groups(taken));
            checks.add("a transaction that was open is ended by its next producer" + by, () -> transaction(taken));
            checks.add("users log in, access rules bind" + by, () -> users(taken));
            checks.add("quotas, settings of brokers and groups" + by, () -> quotas(taken));
            checks.add("the tools of Kafka see it so" + by, () -> tools(taken));
            checks.add("after a kill of Tidelog nothing is missing" + by, () -> again(taken));
        }
        boolean passed = checks.run();
        try (var files = Files.walk(folder)) {
            files.sorted(java.util.Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        }
        System.exit(passed ? 0 : 1);
    }

    private static Admin admin(String brokers, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", brokers);
        return Admin.create(settings);
    }

    private static Map<String, Object> login(String mechanism, String user, String password, boolean token) {
        return Map.of("security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", mechanism, "sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"" + user + "\" password=\"" + password
                        + "\"" + (token ? " tokenauth=\"true\";" : ";"));
    }

    private static KafkaProducer<byte[], byte[]> producer(String brokers, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", brokers);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String brokers, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("auto.offset.reset", "earliest", "enable.auto.commit", "false"));
        settings.putAll(more);
        settings.put("bootstrap.servers", brokers);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static void set(Admin admin, ConfigResource.Type type, String name, Map<String, String> settings) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        settings.forEach((key, value) -> changes.add(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(type, name), changes)).all().get();
    }

    private static Map<String, String> own(Admin admin, ConfigResource.Type type, String name, ConfigEntry.ConfigSource source)
            throws Exception {
        ConfigResource resource = new ConfigResource(type, name);
        Map<String, String> own = new TreeMap<>();
        admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                .filter(entry -> entry.source() == source).forEach(entry -> own.put(entry.name(), entry.value()));
        return own;
    }

    /** Every record of a topic, with its place. */
    private static List<String> read(String brokers, String topic, String isolation) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers, Map.of("isolation.level", isolation))) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(one -> new TopicPartition(topic, one.partition())).sorted((a, b) -> a.partition() - b.partition()).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            List<String> records = new ArrayList<>();
            Checks.until("the end of " + topic, () -> {
                for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(100))) {
                    records.add(one.partition() + "@" + one.offset() + " " + one.timestamp() + " " + Client.text(one.key()) + "="
                            + Client.text(one.value()));
                }
                return partitions.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
            });
            records.sort(null);
            return records;
        }
    }

    private static AclBinding rule(String principal, String topic, PatternType pattern, AclOperation operation, AclPermissionType type) {
        return new AclBinding(new ResourcePattern(ResourceType.TOPIC, topic, pattern),
                new AccessControlEntry("User:" + principal, "*", operation, type));
    }

    private static void write(Taken taken) throws Exception {
        Node kafka = new Node(taken.folder).start();
        taken.kafka = kafka;
        try (Admin admin = admin(kafka.open, Map.of())) {
            Map<String, String> compact = Map.of("cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01");
            Client.create(admin, new NewTopic("orders", 3, (short) 1)
                    .configs(Map.of("retention.ms", "86400000", "max.message.bytes", "2000000")));
            Client.create(admin, new NewTopic("table", 1, (short) 1).configs(compact));
            Client.create(admin, new NewTopic("once", 1, (short) 1).configs(compact));
            Client.create(admin, new NewTopic("plain", 2, (short) 1));
            Client.create(admin, new NewTopic("gone", 1, (short) 1).configs(Map.of("retention.ms", "1000")));
            admin.createPartitions(Map.of("plain", NewPartitions.increaseTo(4))).all().get();
            fill(kafka.open);
            metadata(admin);
        }
    }

    private static void end(Taken taken) throws Exception {
        Node kafka = taken.kafka;
        try (Admin admin = admin(kafka.open, Map.of())) {
            admin.deleteTopics(List.of("gone")).all().get();
            try (Admin alice = admin(kafka.sasl, login("SCRAM-SHA-512", "alice", "alice-secret", false))) {
                taken.token = alice.createDelegationToken().delegationToken().get();
            }
            // The segment that grows, a third of the records, is never compacted.
            Checks.until("compaction", () -> read(kafka.open, "table", "read_committed").size() < 300
                    && read(kafka.open, "once", "read_committed").size() < 300);
            set(admin, ConfigResource.Type.TOPIC, "once", Map.of("cleanup.policy", "delete", "retention.ms", "-1"));
            taken.left = producer(kafka.open, Map.of("transactional.id", OPEN_ID));
            taken.left.initTransactions();
            taken.left.beginTransaction();
            taken.left.send(new ProducerRecord<>("orders", 2, null, Client.bytes("open"))).get();
            for (String topic : TOPICS) {
                taken.ids.put(topic, admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId());
                taken.records.put(topic, read(kafka.open, topic, "read_uncommitted"));
                taken.committed.put(topic, read(kafka.open, topic, "read_committed"));
            }
            taken.rules = Set.copyOf(admin.describeAcls(AclBindingFilter.ANY).values().get());
            taken.quotas = admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get();
            taken.lastProducer = admin.describeTransactions(List.of(OPEN_ID)).all().get().get(OPEN_ID).producerId();
            Checks.equal(taken.rules.size(), 4, "rules");
            Checks.equal(taken.quotas.size(), 3, "quotas");
        }
        if (taken.ending.equals("killed")) kafka.kill();
        else kafka.stop();
    }

    private static void fill(String brokers) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers, Map.of("batch.size", 1000))) {
            for (int n = 0; n < 600; n++) {
                producer.send(Client.record("orders", n % 3, "k" + n, "order " + n));
                producer.send(Client.record("plain", n % 4, n % 2 == 0 ? null : "k" + n, "plain " + n));
                producer.send(Client.record("table", 0, "k" + n % 7, "table " + n));
                producer.send(Client.record("once", 0, "k" + n % 7, "once " + n));
                if (n % 200 == 199) {
                    // A segment ends with the first record after its time.
                    producer.flush();
                    Thread.sleep(150);
                }
            }
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers, Map.of("transactional.id", "ended"))) {
            producer.initTransactions();
            for (String outcome : List.of("committed", "aborted")) {
                producer.beginTransaction();
                producer.send(Client.record("orders", 0, null, outcome));
                producer.flush();
                if (outcome.equals("aborted")) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
        for (String protocol : List.of("classic", "consumer")) {
            try (KafkaConsumer<byte[], byte[]> consumer =
                    consumer(brokers, Map.of("group.id", "readers-" + protocol, "group.protocol", protocol))) {
                consumer.subscribe(List.of("orders"));
                Checks.until("records for the group", () -> !consumer.poll(Duration.ofMillis(200)).isEmpty());
                consumer.commitSync(Map.of(new TopicPartition("orders", 0), new OffsetAndMetadata(50, "a note"),
                        new TopicPartition("orders", 1), new OffsetAndMetadata(60)));
            }
        }
    }

    private static void metadata(Admin admin) throws Exception {
        set(admin, ConfigResource.Type.BROKER, "",
                Map.of("message.max.bytes", "1500000", "log.cleaner.threads", "2", "a.plugin.knows", "this"));
        set(admin, ConfigResource.Type.BROKER, "1", Map.of("log.segment.bytes", "2000000"));
        set(admin, ConfigResource.Type.GROUP, "readers-consumer",
                Map.of("consumer.session.timeout.ms", "50000", "share.session.timeout.ms", "50000"));
        set(admin, ConfigResource.Type.CLIENT_METRICS, "every-client", Map.of("interval.ms", "60000"));
        for (String user : List.of("alice", "bob", "carol")) {
            ScramMechanism mechanism = user.equals("alice") ? ScramMechanism.SCRAM_SHA_512 : ScramMechanism.SCRAM_SHA_256;
            admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, new ScramCredentialInfo(mechanism, 4096),
                    user + "-secret"))).all().get();
        }
        admin.alterUserScramCredentials(List.of(new UserScramCredentialDeletion("carol", ScramMechanism.SCRAM_SHA_256))).all().get();
        AclBinding early = rule("early", "orders", PatternType.LITERAL, AclOperation.ALL, AclPermissionType.ALLOW);
        admin.createAcls(List.of(early, rule("alice", "or", PatternType.PREFIXED, AclOperation.READ, AclPermissionType.ALLOW),
                rule("alice", "orders", PatternType.LITERAL, AclOperation.WRITE, AclPermissionType.ALLOW),
                rule("*", "orders", PatternType.LITERAL, AclOperation.DESCRIBE, AclPermissionType.ALLOW),
                rule("bob", "*", PatternType.LITERAL, AclOperation.ALL, AclPermissionType.DENY))).all().get();
        admin.deleteAcls(List.of(early.toFilter())).all().get();
        quota(admin, Map.of("user", "alice"), "producer_byte_rate", 1_048_576.0);
        quota(admin, Map.of("user", "alice"), "consumer_byte_rate", 1.0);
        quota(admin, Map.of("user", "alice"), "consumer_byte_rate", null);
        Map<String, String> everyClient = new HashMap<>();
        everyClient.put("client-id", null);
        quota(admin, everyClient, "request_percentage", 90.5);
        quota(admin, Map.of("ip", "10.0.0.1"), "connection_creation_rate", 5.0);
    }

    private static void quota(Admin admin, Map<String, String> entity, String name, Double value) throws Exception {
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(new ClientQuotaEntity(entity),
                List.of(new ClientQuotaAlteration.Op(name, value))))).all().get();
    }

    private static Path data(Taken taken) {
        return taken.folder.resolve("data");
    }

    private static String log(Taken taken) throws IOException {
        return Files.readString(taken.folder.resolve("log"));
    }

    /** Starts Tidelog on the directory. */
    private static void start(Taken taken) throws Exception {
        Path endpoints = data(taken).resolve("endpoints.json");
        Files.deleteIfExists(endpoints);
        taken.server = new ProcessBuilder(System.getenv("TIDELOG_BIN"), "serve", "--data-dir", data(taken).toString(), "--node-id", "1",
                "--kafka-listen", "PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0", "--http-listen", "127.0.0.1:0",
                "--kafka-sasl-mechanism", "SCRAM-SHA-256,SCRAM-SHA-512", "--authorizer", "acl", "--super-user", "User:ANONYMOUS",
                "--set", "delegation.token.secret.key=" + Node.TOKEN_KEY)
                .redirectError(ProcessBuilder.Redirect.appendTo(taken.folder.resolve("log").toFile()))
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        Runtime.getRuntime().addShutdownHook(new Thread(taken.server::destroyForcibly));
        Checks.until("Tidelog answers", () -> {
            if (!taken.server.isAlive()) throw new AssertionError("Tidelog has ended: " + log(taken));
            return Files.exists(endpoints);
        });
        JsonNode listeners = new ObjectMapper().readTree(endpoints.toFile()).get("listeners");
        taken.brokers = listeners.get("PLAINTEXT").asText();
        taken.sasl = listeners.get("SASL_PLAINTEXT").asText();
    }

    private static void takeOver(Taken taken) throws Exception {
        start(taken);
        String log = log(taken);
        for (String told : List.of("took over the metadata of Apache Kafka", "a.plugin.knows", "client_metrics=1",
                "retention goes on", "keep everything until their retention.ms is deleted: plain", "[broker]")) {
            Checks.isTrue(log.contains(told), "the log does not say: " + told + ": " + log);
        }
        Checks.equal(log.contains("each log is verified whole"), taken.ending.equals("killed"), "verified whole");
        Checks.isTrue(!log.contains("secret\"") && !log.contains("alice-secret"), "a secret is in the log");
    }

    private static void topics(Taken taken) throws Exception {
        try (Admin admin = admin(taken.brokers, Map.of())) {
            Checks.equal(admin.listTopics().names().get(), Set.copyOf(TOPICS), "topics");
            for (var topic : admin.describeTopics(TOPICS).allTopicNames().get().values()) {
                Checks.equal(topic.topicId(), taken.ids.get(topic.name()), "id of " + topic.name());
            }
            Checks.equal(admin.describeTopics(List.of("plain")).allTopicNames().get().get("plain").partitions().size(), 4);
            Map<String, Map<String, String>> expected = Map.of(
                    "orders", Map.of("retention.ms", "86400000", "max.message.bytes", "2000000", "remote.storage.enable", "false"),
                    "once", Map.of("cleanup.policy", "delete", "retention.ms", "-1", "segment.ms", "100", "min.cleanable.dirty.ratio",
                            "0.01", "remote.storage.enable", "false"),
                    "table", Map.of("cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01",
                            "remote.storage.enable", "false"),
                    "plain", Map.of("retention.ms", "-1", "remote.storage.enable", "false"));
            for (String topic : TOPICS) {
                Checks.equal(own(admin, ConfigResource.Type.TOPIC, topic, ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG),
                        new TreeMap<>(expected.get(topic)), topic);
            }
        }
    }

    private static void records(Taken taken) throws Exception {
        for (String topic : TOPICS) {
            Checks.equal(read(taken.brokers, topic, "read_uncommitted"), taken.records.get(topic), topic);
            Checks.equal(read(taken.brokers, topic, "read_committed"), taken.committed.get(topic), topic + ", committed");
        }
    }

    private static void groups(Taken taken) throws Exception {
        for (String protocol : List.of("classic", "consumer")) {
            String group = "readers-" + protocol;
            try (Admin admin = admin(taken.brokers, Map.of())) {
                Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                Checks.equal(committed.get(new TopicPartition("orders", 0)).offset(), 50L, group);
                Checks.equal(committed.get(new TopicPartition("orders", 0)).metadata(), "a note", group);
            }
            try (KafkaConsumer<byte[], byte[]> consumer =
                    consumer(taken.brokers, Map.of("group.id", group, "group.protocol", protocol, "isolation.level", "read_committed"))) {
                consumer.subscribe(List.of("orders"));
                Map<Integer, Long> first = new TreeMap<>();
                Checks.until("records for the group", () -> {
                    consumer.poll(Duration.ofMillis(200)).forEach(one -> first.merge(one.partition(), one.offset(), Math::min));
                    return first.size() == 3;
                });
                Checks.equal(first, new TreeMap<>(Map.of(0, 50L, 1, 60L, 2, 0L)), group);
            }
        }
    }

    private static void transaction(Taken taken) throws Exception {
        try (Admin admin = admin(taken.brokers, Map.of())) {
            Checks.equal(admin.describeTransactions(List.of(OPEN_ID)).all().get().get(OPEN_ID).state().toString(), "Ongoing", "state");
            taken.left.close(Duration.ZERO);
            try (KafkaProducer<byte[], byte[]> next = producer(taken.brokers, Map.of("transactional.id", OPEN_ID))) {
                next.initTransactions();
                next.beginTransaction();
                next.send(new ProducerRecord<>("orders", 2, null, Client.bytes("after"))).get();
                next.commitTransaction();
            }
            // The commit is answered when it is decided; its markers may still be on their way.
            List<String> committed = new ArrayList<>();
            Checks.until("what was committed is there", () -> {
                committed.clear();
                committed.addAll(read(taken.brokers, "orders", "read_committed"));
                return committed.stream().anyMatch(record -> record.endsWith("=after"));
            });
            Checks.isTrue(committed.stream().noneMatch(record -> record.endsWith("=open")), "what was never committed is there");
            try (KafkaProducer<byte[], byte[]> fresh = producer(taken.brokers, Map.of("transactional.id", "new-here"))) {
                fresh.initTransactions();
            }
            long id = admin.describeTransactions(List.of("new-here")).all().get().get("new-here").producerId();
            Checks.isTrue(id > taken.lastProducer, "producer id " + id + " may have been given by Kafka");
        }
    }

    private static void users(Taken taken) throws Exception {
        Map<String, Object> alice = login("SCRAM-SHA-512", "alice", "alice-secret", false);
        try (KafkaProducer<byte[], byte[]> producer = producer(taken.sasl, alice)) {
            producer.send(Client.record("orders", 1, null, "by alice")).get();
            Checks.refused(AuthorizationException.class, () -> producer.send(Client.record("plain", 1, null, "no")).get());
        }
        for (String who : List.of("bob", "admin")) {
            try (KafkaProducer<byte[], byte[]> producer = producer(taken.sasl, login("SCRAM-SHA-256", who, who + "-secret", false))) {
                Checks.refused(AuthorizationException.class, () -> producer.send(Client.record("orders", 1, null, "no")).get());
            }
        }
        for (String[] wrong : new String[][] {{"SCRAM-SHA-512", "alice", "bob-secret"}, {"SCRAM-SHA-256", "carol", "carol-secret"}}) {
            try (Admin admin = admin(taken.sasl, login(wrong[0], wrong[1], wrong[2], false))) {
                Checks.refused(SaslAuthenticationException.class, () -> admin.describeCluster().clusterId().get());
            }
        }
        String id = taken.token.tokenInfo().tokenId();
        try (KafkaProducer<byte[], byte[]> producer =
                producer(taken.sasl, login("SCRAM-SHA-256", id, taken.token.hmacAsBase64String(), true))) {
            producer.send(Client.record("orders", 1, null, "by alice's token")).get();
        }
        try (Admin admin = admin(taken.brokers, Map.of())) {
            Checks.equal(Set.copyOf(admin.describeAcls(AclBindingFilter.ANY).values().get()), taken.rules, "rules");
            Checks.equal(admin.describeUserScramCredentials().all().get().keySet(), Set.of("admin", "alice", "bob"), "users");
        }
    }

    private static void quotas(Taken taken) throws Exception {
        try (Admin admin = admin(taken.brokers, Map.of())) {
            Checks.equal(admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get(), taken.quotas, "quotas");
            Checks.equal(own(admin, ConfigResource.Type.BROKER, "1", ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
                    Map.of("message.max.bytes", "1500000", "min.insync.replicas", "1", "log.cleaner.threads", "2"), "for all brokers");
            Checks.equal(own(admin, ConfigResource.Type.BROKER, "1", ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG),
                    Map.of("log.segment.bytes", "2000000"), "of this broker");
            Checks.equal(own(admin, ConfigResource.Type.GROUP, "readers-consumer", ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG),
                    Map.of("consumer.session.timeout.ms", "50000", "share.session.timeout.ms", "50000"), "of the group");
            Checks.equal(own(admin, ConfigResource.Type.CLIENT_METRICS, "every-client",
                    ConfigEntry.ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG), Map.of("interval.ms", "60000"), "of clients' metrics");
        }
    }

    private static void tools(Taken taken) throws Exception {
        String[] at = {"--bootstrap-server", taken.brokers};
        Tool.plain("TopicCommand", at[0], at[1], "--describe", "--topic", "orders").ok().prints("retention.ms=86400000");
        Tool.plain("kafka.admin.ConfigCommand", at[0], at[1], "--describe", "--entity-type", "users").ok().prints("SCRAM-SHA-512")
                .prints("producer_byte_rate=1048576");
        Tool.plain("AclCommand", at[0], at[1], "--list").ok().prints("principal=User:bob, host=*, operation=ALL, permissionType=DENY");
        Tool.plain("consumer.group.ConsumerGroupCommand", at[0], at[1], "--describe", "--group", "readers-classic").ok()
                .matches("readers-classic\\s+orders\\s+0\\s+50\\s+.*");
        Tool.plain("TransactionsCommand", at[0], at[1], "list").ok().matches("ended\\s+.*CompleteAbort\\s*");
        Tool.plain("DelegationTokenCommand", at[0], taken.sasl, "--describe", "--owner-principal", "User:alice",
                "--command-config", settings(taken)).ok().prints(taken.token.tokenInfo().tokenId());
    }

    /** For the tool of tokens: only who has logged in is told of them. */
    private static String settings(Taken taken) throws IOException {
        List<String> lines = new ArrayList<>();
        login("SCRAM-SHA-512", "alice", "alice-secret", false).forEach((name, value) -> lines.add(name + "=" + value));
        return Files.write(taken.folder.resolve("alice.properties"), lines).toString();
    }

    /** Also of the topic with gaps that is not compacted any more. */
    private static void again(Taken taken) throws Exception {
        taken.server.destroyForcibly().waitFor();
        start(taken);
        for (String topic : List.of("once", "plain")) {
            Checks.equal(read(taken.brokers, topic, "read_uncommitted"), taken.records.get(topic), topic);
        }
        Checks.isTrue(read(taken.brokers, "table", "read_committed").stream().anyMatch(record -> record.endsWith("=table 599")), "table");
        users(taken);
        taken.server.destroy();
        Checks.isTrue(taken.server.waitFor(30, TimeUnit.SECONDS) && taken.server.exitValue() == 0, "Tidelog did not stop in order");
        Files.writeString(Path.of(System.getenv("TIDELOG_DATA") + ".log"), log(taken), StandardOpenOption.CREATE,
                StandardOpenOption.APPEND);
    }
}
