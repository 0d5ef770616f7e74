import java.io.File;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A server of a check's own, which is killed and started again with the same data at the same address. */
final class Server {
    /** Of the user `admin`, who is there before the server starts. */
    static final String PASSWORD = "correct-horse";

    final String address;
    private final Path data;
    private final List<String> options;
    private final File log;
    private Process process;

    Server() throws Exception {
        this("");
    }

    /** With a protocol, `SASL_PLAINTEXT://` say, and further options. */
    Server(String protocol, String... more) throws Exception {
        data = Files.createTempDirectory("tidelog-server");
        log = new File(data + ".log");
        try (ServerSocket socket = new ServerSocket(0)) {
            address = "127.0.0.1:" + socket.getLocalPort();
        }
        options = new ArrayList<>(List.of("--data-dir", data.toString(), "--kafka-listen", protocol + address));
        options.addAll(List.of(more));
        Process admin = command(List.of("user", "create", "admin", "--data-dir", data.toString(), "--create"));
        Checks.equal(admin.waitFor(), 0, "the status of `user create`");
        start();
        // Nothing is left behind when a check fails.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> process.destroyForcibly()));
    }

    /** Starts it and waits until it accepts. */
    void start() throws Exception {
        Path endpoints = data.resolve("endpoints.json");
        Files.deleteIfExists(endpoints);
        List<String> serve = new ArrayList<>(List.of("serve", "--http-listen", "127.0.0.1:0"));
        serve.addAll(options);
        process = command(serve);
        Checks.until("the server is ready", () -> {
            Checks.isTrue(process.isAlive(), "the server has ended: " + Files.readString(log.toPath()));
            return Files.exists(endpoints) && Files.size(endpoints) > 0;
        });
    }

    private Process command(List<String> arguments) throws IOException {
        List<String> words = new ArrayList<>(List.of(System.getenv("TIDELOG_BIN")));
        words.addAll(arguments);
        ProcessBuilder builder = new ProcessBuilder(words).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log));
        builder.environment().put("TIDELOG_NEW_PASSWORD", PASSWORD);
        return builder.start();
    }

    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Ends it as an operator does; it must have logged no error in its whole life. */
    void stop() throws Exception {
        process.destroy();
        Checks.isTrue(process.waitFor(30, TimeUnit.SECONDS), "the server ends within 30 s");
        Checks.equal(process.exitValue(), 0, "the server's status");
        for (String line : Files.readAllLines(log.toPath())) {
            Checks.isTrue(!line.contains(" ERROR ") && !line.contains("panicked"), line);
        }
        remove(data);
        Files.delete(log.toPath());
    }

    /** Removes a folder with all that is in it. */
    static void remove(Path folder) throws IOException {
        try (var files = Files.walk(folder)) {
            files.map(Path::toFile).sorted((a, b) -> b.compareTo(a)).forEach(File::delete);
        }
    }
}
