import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ConnectException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A worker of Kafka Connect in distributed mode, as a process, and its REST API. */
final class Worker {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    final String url;
    private final Process process;

    /** Starts a worker of this group, with further settings. */
    Worker(String group, Map<String, String> settings) throws IOException {
        int port;
        try (ServerSocket socket = new ServerSocket(0)) {
            port = socket.getLocalPort();
        }
        url = "http://127.0.0.1:" + port;
        List<String> lines = new ArrayList<>(List.of("bootstrap.servers=" + Checks.BROKERS, "group.id=" + group,
                "config.storage.topic=" + group + "-configs", "offset.storage.topic=" + group + "-offsets",
                "status.storage.topic=" + group + "-status", "listeners=" + url, "plugin.discovery=service_load",
                // The defaults are three replicas, and minutes until the tasks of a dead worker go to others.
                "config.storage.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
                "scheduled.rebalance.max.delay.ms=500", "session.timeout.ms=6000", "heartbeat.interval.ms=500"));
        settings.forEach((name, value) -> lines.add(name + "=" + value));
        Path file = Files.write(Files.createTempFile("tidelog-connect", ".properties"), lines);
        file.toFile().deleteOnExit();
        process = launch("org.apache.kafka.connect.cli.ConnectDistributed", file.toString());
    }

    /** A main class as a process with the class path of this one. */
    static Process launch(String main, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElse("java"),
                "-XX:TieredStopAtLevel=1",
                "-Xmx400m", "-cp", System.getProperty("java.class.path"), main));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
    }

    /** The answer to a request, which is null if it has no body. */
    JsonNode ask(String method, String path, Object body) throws Exception {
        HttpResponse<String> answer = send(method, path, body);
        // A worker that is about to join anew asks its callers to come again.
        for (int tries = 0; answer.statusCode() / 100 != 2 && answer.body().contains("rebalance") && tries < 100; tries++) {
            Thread.sleep(100);
            answer = send(method, path, body);
        }
        if (answer.statusCode() / 100 != 2) throw new AssertionError(method + " " + path + ": " + answer.statusCode() + " "
                + answer.body());
        return answer.body().isEmpty() ? null : JSON.readTree(answer.body());
    }

    JsonNode get(String path) throws Exception {
        return ask("GET", path, null);
    }

    HttpResponse<String> send(String method, String path, Object body) throws Exception {
        HttpRequest.BodyPublisher content = body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(JSON.writeValueAsString(body));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + path)).method(method, content);
        return HTTP.send(request.header("content-type", "application/json").build(), BodyHandlers.ofString());
    }

    /** Waits until the worker answers as a member of its group. */
    Worker ready() throws Exception {
        Checks.until("the worker answers", () -> {
            if (!process.isAlive()) throw new AssertionError("the worker has ended; see the noise");
            try {
                return send("GET", "/connectors", null).statusCode() == 200;
            } catch (ConnectException early) {
                return false;
            }
        });
        return this;
    }

    /** The connector and this many tasks of it run. */
    boolean runs(String connector, int tasks) throws Exception {
        HttpResponse<String> answer = send("GET", "/connectors/" + connector + "/status", null);
        if (answer.statusCode() != 200) return false;
        JsonNode status = JSON.readTree(answer.body());
        List<String> states = status.findValuesAsText("state");
        return states.size() == tasks + 1 && states.stream().allMatch("RUNNING"::equals);
    }

    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Ends as an operator ends it. */
    void stop() throws InterruptedException {
        process.destroy();
        if (!process.waitFor(30, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError("the worker did not end within 30 s");
        }
    }
}
