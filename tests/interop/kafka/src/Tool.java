import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.Exit;

/**
 * One run of one of Kafka's tools: its main class, called as its script calls it, but in this process, because a JVM for each takes
 * longer than what it does. Its exit ends the call, its shutdown hooks run afterwards, and what it prints is kept.
 */
final class Tool {
    final int status;
    final String out;
    final String err;
    private final String command;

    private Tool(String command, int status, String out, String err) {
        this.command = command;
        this.status = status;
        this.out = out;
        this.err = err;
    }

    /** Unwinds a tool's main method where it would have ended its process. */
    private static final class Exited extends Error {
        private static final long serialVersionUID = 1;

        Exited() {
            super("exited", null, false, false);
        }
    }

    /** A tool against the server under test; the arguments are separated by blanks. */
    static Tool run(String main, String arguments) throws Exception {
        return feed("", main, arguments);
    }

    /** The same, with an argument that has blanks or none that names a server. */
    static Tool plain(String main, String... arguments) throws Exception {
        return call("", main, arguments);
    }

    /** The same, reading this text from its standard input. */
    static Tool feed(String input, String main, String arguments) throws Exception {
        return call(input, main, ("--bootstrap-server " + Checks.BROKERS + " " + arguments).trim().split(" +"));
    }

    /** The same in a process of its own, for a tool that does its last work while its JVM ends. */
    static Tool process(String main, String arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of(ProcessHandle.current().info().command().orElse("java"),
                "-XX:TieredStopAtLevel=1",
                "-cp", System.getProperty("java.class.path"), "org.apache.kafka.tools." + main, "--bootstrap-server",
                Checks.BROKERS));
        command.addAll(List.of(arguments.split(" +")));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Tool(main + " " + arguments, process.waitFor(), out, "");
    }

    private static synchronized Tool call(String input, String main, String[] arguments) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream oldOut = System.out;
        PrintStream oldErr = System.err;
        InputStream oldIn = System.in;
        // The first exit counts: a tool may catch what unwinds it and exit again.
        List<Integer> exits = new ArrayList<>();
        List<Runnable> hooks = new ArrayList<>();
        Exit.Procedure exit = (status, message) -> {
            exits.add(status);
            throw new Exited();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        try {
            Class<?> tool = Class.forName(main.startsWith("kafka.") ? main : "org.apache.kafka.tools." + main);
            tool.getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException failure) {
            if (!(failure.getCause() instanceof Exited)) {
                exits.add(1);
                failure.getCause().printStackTrace(System.err);
            }
        } finally {
            hooks.forEach(Runnable::run);
            System.setOut(oldOut);
            System.setErr(oldErr);
            System.setIn(oldIn);
        }
        int status = exits.isEmpty() ? 0 : exits.get(0);
        String command = main + " " + String.join(" ", arguments);
        return new Tool(command, status, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    /** It ended well. */
    Tool ok() {
        if (status != 0) throw new AssertionError(this + ": status " + status);
        return this;
    }

    /** It ended with this error among what it printed. Some tools print an error and end with status 0. */
    Tool fails(String error) {
        if (!(out + err).contains(error)) throw new AssertionError(this + ": does not say: " + error);
        return this;
    }

    /** It printed this text. */
    Tool prints(String text) {
        if (!out.contains(text)) throw new AssertionError(this + ": does not print: " + text);
        return this;
    }

    /** It did not print this text. */
    Tool lacks(String text) {
        if (out.contains(text)) throw new AssertionError(this + ": prints: " + text);
        return this;
    }

    /** What it printed has a line like this. */
    Tool matches(String line) {
        if (!Pattern.compile("^" + line + "$", Pattern.MULTILINE).matcher(out).find()) {
            throw new AssertionError(this + ": no line like: " + line);
        }
        return this;
    }

    /** What it printed, line by line, without blanks at the ends. */
    List<String> lines() {
        return out.lines().map(String::strip).filter(line -> !line.isEmpty()).toList();
    }

    @Override
    public String toString() {
        String text = command + " printed «" + out + "» and «" + err + "»";
        return text.length() < 3000 ? text : text.substring(0, 3000) + "…";
    }
}
