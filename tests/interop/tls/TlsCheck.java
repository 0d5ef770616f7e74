import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.SslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Kafka's own Java client over TLS with PEM stores; the environment is that of check.py. */
public final class TlsCheck {
    private static final String PEM = System.getenv("TIDELOG_PEM");
    private static final String RUN = Long.toHexString(System.currentTimeMillis());
    private static int failed;

    private TlsCheck() {}

    interface Action {
        void run() throws Exception;
    }

    /** Hands the token of the environment to OAUTHBEARER. */
    public static final class Tokens implements AuthenticateCallbackHandler {
        @Override
        public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}

        @Override
        public void close() {}

        @Override
        public void handle(Callback[] callbacks) {
            for (Callback callback : callbacks) {
                if (callback instanceof OAuthBearerTokenCallback wanted) wanted.token(new Token());
            }
        }
    }

    private static final class Token implements OAuthBearerToken {
        @Override
        public String value() {
            return System.getenv("TIDELOG_ADMIN_TOKEN");
        }

        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public long lifetimeMs() {
            return System.currentTimeMillis() + 3_000_000;
        }

        @Override
        public String principalName() {
            return "admin";
        }

        @Override
        public Long startTimeMs() {
            return null;
        }
    }

    private static Map<String, Object> trusting(String protocol, String listener, String ca) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", System.getenv(listener));
        settings.put("security.protocol", protocol);
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.truststore.location", Path.of(PEM, ca + ".pem").toString());
        settings.put("max.block.ms", "15000");
        return settings;
    }

    private static Map<String, Object> certificate(String name, String ca) {
        Map<String, Object> settings = trusting("SSL", "TIDELOG_SSL", ca);
        settings.put("ssl.keystore.type", "PEM");
        settings.put("ssl.keystore.location", Path.of(PEM, name + "-store.pem").toString());
        return settings;
    }

    private static Map<String, Object> password(String mechanism, String module) {
        Map<String, Object> settings = trusting("SASL_SSL", "TIDELOG_SASL_SSL", "ca");
        settings.put("sasl.mechanism", mechanism);
        settings.put("sasl.jaas.config", "org.apache.kafka.common.security." + module + " required username=\"admin\" password=\""
                + System.getenv("TIDELOG_ADMIN_PASSWORD") + "\";");
        return settings;
    }

    private static Map<String, Object> token() {
        Map<String, Object> settings = trusting("SASL_SSL", "TIDELOG_SASL_SSL", "ca");
        settings.put("sasl.mechanism", "OAUTHBEARER");
        settings.put("sasl.jaas.config",
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;");
        settings.put("sasl.login.callback.handler.class", Tokens.class.getName());
        return settings;
    }

    private static void roundTrip(Map<String, Object> settings) throws Exception {
        String topic = "java-tls-" + RUN + "-" + Integer.toHexString(settings.hashCode());
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int n = 0; n < 500; n++) producer.send(new ProducerRecord<>(topic, "" + n)).get();
        }
        Map<String, Object> reading = new HashMap<>(settings);
        reading.putAll(Map.of("group.id", topic, "auto.offset.reset", "earliest"));
        List<String> values = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            while (values.size() < 500 && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(500)).forEach(record -> values.add(record.value()));
            }
        }
        if (values.size() != 500 || !values.get(499).equals("499")) throw new AssertionError(values.size() + " records");
    }

    private static void refused(Map<String, Object> settings) {
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>("java-tls-refused", "x")).get();
        } catch (Exception failure) {
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                if (cause instanceof SslAuthenticationException) return;
            }
            throw new AssertionError("another failure: " + failure);
        }
        throw new AssertionError("it got in");
    }

    private static void check(String name, Action action) {
        long start = System.nanoTime();
        try {
            action.run();
            System.out.printf("ok    java-tls: %s (%.1f s)%n", name, (System.nanoTime() - start) / 1e9);
        } catch (Exception | AssertionError failure) {
            failed++;
            System.out.printf("FAIL  java-tls: %s: %s%n", name, failure.toString().replace('\n', ' '));
        }
    }

    public static void main(String[] arguments) {
        check("PEM stores, a certificate", () -> roundTrip(certificate("carol", "ca")));
        check("PLAIN", () -> roundTrip(password("PLAIN", "plain.PlainLoginModule")));
        check("SCRAM-SHA-512", () -> roundTrip(password("SCRAM-SHA-512", "scram.ScramLoginModule")));
        check("OAUTHBEARER", () -> roundTrip(token()));
        check("an authority that is not trusted is refused", () -> refused(certificate("carol", "other")));
        check("a certificate of another authority is refused", () -> refused(certificate("mallory", "ca")));
        System.exit(failed == 0 ? 0 : 1);
    }
}
