import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;

/** A node of Apache Kafka itself, which is its own only controller, as a process. */
final class Node {
    /** From this the secrets of delegation tokens follow, here and there. */
    static final String TOKEN_KEY = "a-long-and-random-secret-of-Kafka";

    final Path data;
    /** Where whoever comes may do everything, and where clients say who they are. */
    final String open;
    final String sasl;
    private final Path settings;
    private Process process;

    /** Formats a directory in this folder. */
    Node(Path folder) throws Exception {
        data = folder.resolve("data");
        settings = folder.resolve("server.properties");
        int controller = port();
        open = "127.0.0.1:" + port();
        sasl = "127.0.0.1:" + port();
        List<String> lines = new ArrayList<>(List.of("process.roles=broker,controller", "node.id=1",
                "controller.quorum.voters=1@127.0.0.1:" + controller, "controller.listener.names=CONTROLLER",
                "listeners=PLAINTEXT://" + open + ",SASL_PLAINTEXT://" + sasl + ",CONTROLLER://127.0.0.1:" + controller,
                "advertised.listeners=PLAINTEXT://" + open + ",SASL_PLAINTEXT://" + sasl,
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name=PLAINTEXT", "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
                "delegation.token.secret.key=" + TOKEN_KEY, "log.dirs=" + data, "group.initial.rebalance.delay.ms=0",
                "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=5", "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=5",
                // Compaction while one waits, and a snapshot of the metadata with records after it.
                "log.cleaner.backoff.ms=200", "metadata.log.max.record.bytes.between.snapshots=4000"));
        for (String mechanism : List.of("scram-sha-256", "scram-sha-512")) {
            lines.add("listener.name.sasl_plaintext." + mechanism
                    + ".sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;");
        }
        Files.createDirectories(folder);
        Files.write(settings, lines);
        Tool.plain("kafka.tools.StorageTool", "format", "--cluster-id", "AAAAAAAAQACAAAAAAAAAAQ", "--config", settings.toString(),
                "--add-scram", "SCRAM-SHA-256=[name=admin,password=admin-secret]").ok();
    }

    private static int port() throws IOException {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    /** Starts it and waits until it answers. */
    Node start() throws Exception {
        process = Worker.launch("kafka.Kafka", settings.toString());
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", open))) {
            Checks.until("Kafka answers", () -> {
                if (!process.isAlive()) throw new AssertionError("Kafka has ended; see the noise");
                try {
                    return !admin.describeCluster().nodes().get().isEmpty();
                } catch (ExecutionException early) {
                    return false;
                }
            });
        }
        return this;
    }

    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Ends as an operator ends it. */
    void stop() throws InterruptedException {
        process.destroy();
        if (!process.waitFor(60, TimeUnit.SECONDS)) throw new AssertionError("Kafka did not end within 60 s");
    }
}
