import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs checks in the order of their definition and prints `ok` or `FAIL` for each. */
final class Checks {
    static final String BROKERS = System.getenv("TIDELOG_KAFKA");
    /** Longest a single check may take, and longest it waits for one thing: others may use the machine, and Kafka's own software starts slowly then. */
    private static final Duration PATIENCE = Duration.ofSeconds(180);
    private static final Duration ONE_THING = Duration.ofSeconds(100);
    private static final String RUN = Long.toHexString(System.currentTimeMillis());
    private static final String ONLY = Objects.requireNonNullElse(System.getenv("TIDELOG_CHECK"), "");

    /** Where the lines go, whatever a check does with the standard output. */
    private static final PrintStream OUT = System.out;

    /** A check may fail in any way; the next one still runs. */
    interface Action {
        void run() throws Exception;
    }

    private record Named(String name, Action action) {}

    private final String client;
    private final List<Named> checks = new ArrayList<>();

    Checks(String client) {
        this.client = client;
    }

    void add(String name, Action action) {
        checks.add(new Named(name, action));
    }

    /** Runs all; false if one failed or there was none. */
    boolean run() {
        int count = 0;
        int failed = 0;
        ExecutorService worker = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        for (Named check : checks) {
            if (!check.name.contains(ONLY)) continue;
            count++;
            long start = System.nanoTime();
            Future<?> running = worker.submit((Callable<Void>) () -> {
                check.action.run();
                return null;
            });
            String failure = failure(running);
            if (failure == null) {
                OUT.printf("ok    %s: %s (%.1f s)%n", client, check.name, (System.nanoTime() - start) / 1e9);
            } else {
                failed++;
                OUT.printf("FAIL  %s: %s: %s%n", client, check.name, failure.replace('\n', ' '));
            }
        }
        return failed == 0 && count > 0;
    }

    private static String failure(Future<?> running) {
        try {
            running.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
            return null;
        } catch (ExecutionException failed) {
            return line(failed.getCause()) + failed.getCause();
        } catch (TimeoutException late) {
            running.cancel(true);
            return "not done within " + PATIENCE.toSeconds() + " s";
        } catch (InterruptedException stopped) {
            return "interrupted";
        }
    }

    /** The last line of the checks themselves says more than the client's insides. */
    private static String line(Throwable failure) {
        for (StackTraceElement frame : failure.getStackTrace()) {
            if (frame.getClassName().matches("[A-Z]\\w+Checks.*")) {
                return frame.getFileName() + " line " + frame.getLineNumber() + ": ";
            }
        }
        return "";
    }

    /** A name that no other run uses. */
    static String unique(String name) {
        return name + "-" + RUN;
    }

    static void equal(Object got, Object expected) {
        equal(got, expected, "value");
    }

    static void equal(Object got, Object expected, String what) {
        if (!Objects.equals(got, expected)) throw new AssertionError(what + " is " + got + ", expected " + expected);
    }

    static void isTrue(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    /** The action fails with this exception, which may be the cause of another. */
    static void refused(Class<? extends Throwable> expected, Action action) throws Exception {
        try {
            action.run();
        } catch (Exception failure) {
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                if (expected.isInstance(cause)) return;
            }
            throw failure;
        }
        throw new AssertionError("accepted, expected " + expected.getSimpleName());
    }

    /** Polls until the condition holds; the condition does the waiting (a poll of the client, say). */
    static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + ONE_THING.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > deadline) throw new AssertionError(what + ": not within " + ONE_THING.toSeconds() + " s");
            Thread.sleep(20);
        }
    }
}
