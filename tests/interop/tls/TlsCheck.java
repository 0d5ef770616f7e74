import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.RenewDelegationTokenOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.errors.SslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.security.token.delegation.DelegationToken;
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
            long deadline = System.nanoTime() + Duration.ofSeconds(90).toNanos();
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

    /** A delegation token comes in as its owner, and no more once it has ended. */
    private static void delegationToken() throws Exception {
        try (Admin admin = Admin.create(password("SCRAM-SHA-512", "scram.ScramLoginModule"))) {
            KafkaPrincipal renewer = new KafkaPrincipal(KafkaPrincipal.USER_TYPE, "carol");
            DelegationToken token = admin.createDelegationToken(new CreateDelegationTokenOptions()
                    .renewers(List.of(renewer)).maxLifetimeMs(3_600_000)).delegationToken().get();
            Map<String, Object> byToken = password("SCRAM-SHA-256", "scram.ScramLoginModule");
            byToken.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\""
                    + token.tokenInfo().tokenId() + "\" password=\"" + token.hmacAsBase64String() + "\" tokenauth=\"true\";");
            roundTrip(byToken);
            List<DelegationToken> seen = admin.describeDelegationToken().delegationTokens().get();
            if (!seen.contains(token) || !seen.get(0).tokenInfo().renewers().contains(renewer)) {
                throw new AssertionError("described: " + seen);
            }
            long end = admin.renewDelegationToken(token.hmac(), new RenewDelegationTokenOptions().renewTimePeriodMs(60_000))
                    .expiryTimestamp().get();
            if (end > System.currentTimeMillis() + 60_000) throw new AssertionError("it ends at " + end);
            try (Admin carol = Admin.create(certificate("carol", "ca"))) {
                carol.expireDelegationToken(token.hmac()).expiryTimestamp().get();
            }
            try (var producer = new KafkaProducer<>(byToken, new StringSerializer(), new StringSerializer())) {
                producer.send(new ProducerRecord<>("java-tls-refused", "x")).get();
                throw new AssertionError("a token that has ended got in");
            } catch (ExecutionException failure) {
                if (!(failure.getCause() instanceof SaslAuthenticationException)) throw failure;
            }
        }
    }

    /** One connection that authenticates again and again (KIP-368): the server ends sessions after five seconds. */
    private static void reauthentication() throws Exception {
        Map<String, Object> settings = password("SCRAM-SHA-512", "scram.ScramLoginModule");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            double again = 0;
            for (int n = 0; n < 120 && again < 2; n++) {
                producer.send(new ProducerRecord<>("java-tls-reauth", "" + n)).get();
                Thread.sleep(100);
                again = producer.metrics().entrySet().stream()
                        .filter(metric -> metric.getKey().name().equals("successful-reauthentication-total"))
                        .mapToDouble(metric -> (Double) metric.getValue().metricValue()).max().orElse(0);
            }
            if (again < 2) throw new AssertionError(again + " times");
        }
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
        check("delegation tokens", TlsCheck::delegationToken);
        check("a session is renewed on its connection", TlsCheck::reauthentication);
        check("an authority that is not trusted is refused", () -> refused(certificate("carol", "other")));
        check("a certificate of another authority is refused", () -> refused(certificate("mallory", "ca")));
        System.exit(failed == 0 ? 0 : 1);
    }
}
