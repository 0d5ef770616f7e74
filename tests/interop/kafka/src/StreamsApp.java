import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * The application that is killed: counts of words, counts of words in windows of time, and clicks joined with a table of users.
 * Arguments: address of the server, application id (also the prefix of its topics), processing guarantee, folder of its state.
 */
public final class StreamsApp {
    private StreamsApp() {}

    /** Length of a window of time. */
    static final Duration WINDOW = Duration.ofSeconds(5);

    public static void main(String[] arguments) throws Exception {
        String id = arguments[1];
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("application.id", id);
        properties.put("processing.guarantee", arguments[2]);
        properties.put("state.dir", arguments[3]);
        properties.put("num.stream.threads", 2);
        properties.put("default.key.serde", Serdes.StringSerde.class);
        properties.put("default.value.serde", Serdes.StringSerde.class);
        // Every update is sent on, so that a lost or repeated one is seen.
        properties.put("statestore.cache.max.bytes", 0);
        properties.put("commit.interval.ms", 100);
        properties.put("repartition.purge.interval.ms", 500);
        // What a killed one has left open is aborted soon, also when its name is lost with its state.
        properties.put("producer.transaction.timeout.ms", 5000);
        // The member that was killed is missed soon.
        properties.put("session.timeout.ms", 6000);
        properties.put("heartbeat.interval.ms", 500);
        properties.put("auto.offset.reset", "earliest");
        KafkaStreams streams = new KafkaStreams(topology(id), properties);
        CountDownLatch end = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            end.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
        end.await();
        System.exit(1);
    }

    static Topology topology(String id) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> words = builder.<String, String>stream(id + "-lines")
                .flatMapValues(line -> List.of(line.split(" ")))
                .selectKey((key, word) -> word);
        words.groupByKey(Grouped.as("words")).count(Materialized.as("counts")).toStream()
                .to(id + "-counted", Produced.with(Serdes.String(), Serdes.Long()));
        words.groupByKey(Grouped.as("windowed")).windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, Duration.ofHours(1)))
                .count(Materialized.as("windows")).toStream((window, count) -> window.key() + "@" + window.window().start())
                .to(id + "-windowed", Produced.with(Serdes.String(), Serdes.Long()));
        builder.<String, String>stream(id + "-clicks")
                .join(builder.<String, String>table(id + "-users"), (page, country) -> country + " " + page)
                .to(id + "-joined");
        return builder.build();
    }
}
