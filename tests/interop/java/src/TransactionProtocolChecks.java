import static java.util.stream.Collectors.toList;
import static java.util.stream.Collectors.toSet;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FinalizedVersionRange;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;

/** Transactions with the second version of their protocol (KIP-890), pipelines, many producers, and what administrators do. */
final class TransactionProtocolChecks {
    private TransactionProtocolChecks() {}

    static void add(Checks checks) {
        checks.add("transactions: the second version of their protocol", TransactionProtocolChecks::version);
        checks.add("transactions: each has an epoch of its own", TransactionProtocolChecks::epochs);
        checks.add("transactions: a producer goes on after a time-out", TransactionProtocolChecks::timeOut);
        checks.add("transactions: read, transform, write", TransactionProtocolChecks::pipeline);
        checks.add("transactions: several producers at once", TransactionProtocolChecks::several);
        checks.add("admin: list, describe and fence transactions", TransactionProtocolChecks::admin);
        checks.add("admin: abort a transaction", TransactionProtocolChecks::abort);
    }

    private static KafkaProducer<byte[], byte[]> begun(String id, Map<String, String> settings) {
        Map<String, String> all = new java.util.HashMap<>(settings);
        all.put("transactional.id", id);
        KafkaProducer<byte[], byte[]> producer = Client.producer(all);
        producer.initTransactions();
        return producer;
    }

    private static KafkaProducer<byte[], byte[]> begun(String id) {
        return begun(id, Map.of());
    }

    /** Everything of partition 0 that a reader of this isolation level sees up to the end that it is told. */
    private static List<String> values(String topic, String isolation) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(Map.of("isolation.level", isolation))) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            List<String> values = new ArrayList<>();
            Checks.until("the end of " + topic, () -> {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    values.add(Client.text(record.value()));
                }
                return consumer.position(partition) >= end;
            });
            return values;
        }
    }

    private static List<String> committed(String topic) throws Exception {
        return values(topic, "read_committed");
    }

    /** A commit is answered before its markers are written. */
    private static void becomes(String topic, List<String> expected) throws Exception {
        Checks.until("the committed values are " + expected, () -> committed(topic).equals(expected));
    }

    private static void version() throws Exception {
        try (Admin admin = Client.admin()) {
            FinalizedVersionRange found = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version");
            Checks.equal(found.maxVersionLevel(), (short) 2, "transaction.version");
        }
    }

    /** With the second version of the protocol an epoch is raised by every end (KIP-890). */
    private static void epochs() throws Exception {
        String topic = Client.topic("tx-epochs", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        List<Integer> epochs = new ArrayList<>();
        try (Admin admin = Client.admin(); KafkaProducer<byte[], byte[]> producer = begun(topic)) {
            for (int round = 0; round < 3; round++) {
                producer.beginTransaction();
                producer.send(Client.record(topic, 0, null, "x")).get();
                List<ProducerState> states = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
                Checks.equal(states.size(), 1, "producers");
                Checks.isTrue(states.get(0).currentTransactionStartOffset().isPresent(), "it is open");
                epochs.add(states.get(0).producerEpoch());
                if (round == 1) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
        int first = epochs.get(0);
        Checks.equal(epochs, List.of(first, first + 1, first + 2), "epochs");
    }

    /** What was open when its time had passed is aborted, and the same producer goes on: nobody else has its transactional id. */
    private static void timeOut() throws Exception {
        String topic = Client.topic("tx-late", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = Client.admin(); KafkaProducer<byte[], byte[]> producer = begun(topic, Map.of("transaction.timeout.ms", "1000"))) {
            producer.beginTransaction();
            producer.send(Client.record(topic, 0, null, "late")).get();
            Checks.until("it is aborted", () -> admin.describeProducers(List.of(partition)).partitionResult(partition).get()
                    .activeProducers().stream().noneMatch(state -> state.currentTransactionStartOffset().isPresent()));
            Checks.refused(InvalidProducerEpochException.class, () -> producer.send(Client.record(topic, 0, null, "later")).get());
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(Client.record(topic, 0, null, "next")).get();
            producer.commitTransaction();
            becomes(topic, List.of("next"));
        }
    }

    /** Every second batch is aborted, after which the reader goes back to the group's position; nothing is lost or doubled. */
    private static void pipeline() throws Exception {
        String in = Client.topic("tx-in", 1, Map.of());
        String out = Client.topic("tx-out", 1, Map.of());
        Client.send(Map.of(), Client.numbers(in, 60));
        TopicPartition partition = new TopicPartition(in, 0);
        Map<String, String> settings = Map.of("group.id", Checks.unique("g-tx"), "enable.auto.commit", "false",
                "isolation.level", "read_committed", "max.poll.records", "10", "heartbeat.interval.ms", "300");
        try (KafkaConsumer<byte[], byte[]> reader = Client.consumer(settings); KafkaProducer<byte[], byte[]> producer = begun(out)) {
            reader.subscribe(List.of(in));
            int[] rounds = {0};
            Checks.until("all is transformed", () -> {
                List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
                reader.poll(Duration.ofMillis(200)).forEach(records::add);
                if (records.isEmpty()) return false;
                long next = records.get(records.size() - 1).offset() + 1;
                producer.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    producer.send(Client.record(out, 0, null, "out " + Client.text(record.value())));
                }
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(next)), reader.groupMetadata());
                if (rounds[0]++ % 2 == 0) {
                    producer.commitTransaction();
                    return next == 60;
                }
                producer.abortTransaction();
                OffsetAndMetadata back = reader.committed(Set.of(partition)).get(partition);
                reader.seek(partition, back == null ? 0 : back.offset());
                return false;
            });
        }
        becomes(out, IntStream.range(0, 60).mapToObj(n -> "out " + n).collect(toList()));
    }

    /** Five producers in the same partition, transaction after transaction, every third one aborted. */
    private static void several() throws Exception {
        String topic = Client.topic("tx-several", 1, Map.of());
        ExecutorService threads = Executors.newFixedThreadPool(5);
        try {
            List<Future<Set<String>>> writers = new ArrayList<>();
            for (int writer = 0; writer < 5; writer++) writers.add(threads.submit(writer(topic, writer)));
            Set<String> expected = new HashSet<>();
            for (Future<Set<String>> one : writers) expected.addAll(one.get());
            List<List<String>> read = new ArrayList<>();
            Checks.until("all that was committed", () -> {
                read.add(0, committed(topic));
                return read.get(0).size() >= expected.size();
            });
            Checks.equal(read.get(0).size(), expected.size(), "records");
            Checks.equal(new HashSet<>(read.get(0)), expected);
        } finally {
            threads.shutdownNow();
        }
    }

    private static Callable<Set<String>> writer(String topic, int writer) {
        return () -> {
            Set<String> expected = new HashSet<>();
            try (KafkaProducer<byte[], byte[]> producer = begun(topic + "-" + writer)) {
                for (int round = 0; round < 12; round++) {
                    Set<String> values = new HashSet<>();
                    producer.beginTransaction();
                    for (int n = 0; n < 5; n++) {
                        String value = writer + "-" + round + "-" + n;
                        producer.send(Client.record(topic, 0, null, value));
                        values.add(value);
                    }
                    if (round % 3 == 2) {
                        producer.abortTransaction();
                    } else {
                        producer.commitTransaction();
                        expected.addAll(values);
                    }
                }
            }
            return expected;
        };
    }

    private static boolean ended(KafkaProducer<byte[], byte[]> producer) {
        try {
            producer.commitTransaction();
            return true;
        } catch (RuntimeException refused) {
            return false;
        }
    }

    private static void admin() throws Exception {
        String topic = Client.topic("tx-admin", 2, Map.of());
        try (Admin admin = Client.admin(); KafkaProducer<byte[], byte[]> producer = begun(topic)) {
            producer.beginTransaction();
            producer.send(Client.record(topic, 1, null, "x")).get();
            TransactionDescription open = admin.describeTransactions(List.of(topic)).description(topic).get();
            Checks.equal(open.state(), TransactionState.ONGOING);
            Checks.equal(open.topicPartitions(), Set.of(new TopicPartition(topic, 1)));
            Checks.equal(open.transactionTimeoutMs(), 60_000L);
            Checks.isTrue(open.transactionStartTimeMs().isPresent(), "it has begun");
            Set<String> listed = admin.listTransactions().all().get().stream().map(TransactionListing::transactionalId).collect(toSet());
            Checks.isTrue(listed.contains(topic), "it is listed");
            admin.fenceProducers(List.of(topic)).all().get();
            Checks.isTrue(!ended(producer), "it commits after it was fenced");
            // Fencing is the arrival of another producer, which has no transaction yet.
            Checks.until("it is aborted", () ->
                    admin.describeTransactions(List.of(topic)).description(topic).get().state() == TransactionState.EMPTY);
            producer.close(Duration.ZERO);
            String nobody = Checks.unique("nobody");
            Checks.refused(TransactionalIdNotFoundException.class,
                    () -> admin.describeTransactions(List.of(nobody)).description(nobody).get());
        }
    }

    /** As `kafka-transactions.sh abort` does it: by the marker alone. */
    private static void abort() throws Exception {
        String topic = Client.topic("tx-abort", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        KafkaProducer<byte[], byte[]> producer = begun(topic);
        producer.beginTransaction();
        producer.send(Client.record(topic, 0, null, "x")).get();
        Client.send(Map.of(), List.of(Client.record(topic, 0, null, "plain")));
        try (Admin admin = Client.admin()) {
            ProducerState state = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers().stream()
                    .filter(one -> one.currentTransactionStartOffset().isPresent()).findFirst().orElseThrow();
            AbortTransactionSpec spec = new AbortTransactionSpec(
                    partition, state.producerId(), (short) state.producerEpoch(), state.coordinatorEpoch().orElse(0));
            admin.abortTransaction(spec).all().get();
        }
        becomes(topic, List.of("plain"));
        producer.close(Duration.ZERO);
    }
}
