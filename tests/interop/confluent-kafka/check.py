"""confluent-kafka (librdkafka) against a server at TIDELOG_KAFKA."""

import threading
import time

import breaks
from checks import ACKS, BROKERS, CODECS, CUT, VICTIM, Checks, equal, topic, wait_for
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

BASE = {"bootstrap.servers": BROKERS}


# One for all checks: its answers end with it.
ADMIN = AdminClient(BASE)


def create(name, partitions=1, config=None):
    ADMIN.create_topics([NewTopic(name, partitions, 1, config=config or {})])[name].result(30)


def produce(name, records, **options):
    """Sends dicts of Producer.produce's arguments; returns delivered messages in order of delivery."""
    delivered, errors = [], []

    def on_delivery(error, message):
        (errors if error else delivered).append(error or message)

    producer = Producer({**BASE, "linger.ms": 20, **{k.replace("_", "."): v for k, v in options.items()}})
    for record in records:
        producer.produce(name, on_delivery=on_delivery, **record)
    equal(producer.flush(30), 0, "records left")
    if errors:
        raise KafkaException(errors[0])
    return delivered


def consume(name, count, partition=0, offset=OFFSET_BEGINNING, **options):
    consumer = Consumer({**BASE, "group.id": topic("reader"), "enable.auto.commit": False,
                         **{k.replace("_", "."): v for k, v in options.items()}})
    try:
        consumer.assign([TopicPartition(name, partition, offset)])
        return take(consumer, count)
    finally:
        consumer.close()


def take(consumer, count, seconds=90):
    messages, deadline = [], time.monotonic() + seconds
    while len(messages) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(messages)} of {count} records within {seconds} s")
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        messages.append(message)
    return messages


def codec(codec, acks):
    name = topic(f"codec-{codec}-{acks}")
    create(name)
    values = [f"value {n} ".encode() * 50 for n in range(50)]
    produce(name, [{"key": str(n).encode(), "value": v} for n, v in enumerate(values)],
            compression_type=codec, acks=acks)
    messages = consume(name, 50)
    equal([m.value() for m in messages], values)
    equal([m.key() for m in messages], [str(n).encode() for n in range(50)], "keys")
    equal([m.offset() for m in messages], list(range(50)), "offsets")


def headers():
    name = topic("headers")
    create(name)
    sent = [("a", b"1"), ("b", b""), ("a", b"2"), ("c", None), ("a", b"1"), ("ü", bytes(range(256)))]
    produce(name, [{"value": b"x", "headers": sent}, {"value": b"y"}])
    with_headers, without = consume(name, 2)
    equal(with_headers.headers(), sent, "headers")
    equal(without.headers(), None, "headers")


def nulls():
    name = topic("nulls")
    create(name)
    pairs = [(None, None), (b"", b""), (None, b"v"), (b"k", None), (b"k", b"v")]
    produce(name, [{"key": k, "value": v, "partition": 0} for k, v in pairs])
    equal([(m.key(), m.value()) for m in consume(name, 5)], pairs)


def large():
    name = topic("large")
    create(name)
    value = bytes(i * 7919 % 251 for i in range(1_000_000))
    produce(name, [{"value": value}], message_max_bytes=5_000_000)
    equal(consume(name, 1)[0].value() == value, True, "the large record")


def too_large():
    name = topic("too-large")
    create(name)
    try:
        produce(name, [{"value": bytes(2_000_000)}], message_max_bytes=5_000_000)
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE, "error")
    else:
        raise AssertionError("accepted")
    produce(name, [{"value": b"small"}])
    equal(consume(name, 1)[0].value(), b"small")


def seek_by_time():
    name = topic("times")
    create(name)
    start = int(time.time() * 1000) - 100_000
    for n in range(10):
        produce(name, [{"value": str(n).encode(), "timestamp": start + n * 1000}])
    consumer = Consumer({**BASE, "group.id": topic("times")})
    try:
        def at(time_ms):
            return consumer.offsets_for_times([TopicPartition(name, 0, time_ms)], 30)[0].offset
        equal(at(start - 5000), 0, "before the first")
        equal(at(start + 3000), 3, "exactly the fourth")
        equal(at(start + 3001), 4, "just after the fourth")
        equal(at(start + 60_000), OFFSET_END, "after the last")
        consumer.assign([TopicPartition(name, 0, at(start + 6500))])
        messages = take(consumer, 3)
        equal([m.value() for m in messages], [b"7", b"8", b"9"])
        equal([m.timestamp()[1] for m in messages], [start + n * 1000 for n in (7, 8, 9)], "timestamps")
        equal(consumer.get_watermark_offsets(TopicPartition(name, 0), 30), (0, 10), "watermarks")
    finally:
        consumer.close()


def read_committed():
    name = topic("committed")
    create(name)
    produce(name, [{"value": b"a"}])
    equal(consume(name, 1, isolation_level="read_committed")[0].value(), b"a")


def transactions():
    name, group = topic("transactions"), topic("g-transactions")
    create(name)
    producer = Producer({**BASE, "transactional.id": name})
    producer.init_transactions(30)
    # Positions of a group move with the transaction, or not at all.
    reader = Consumer({**BASE, "group.id": group})
    for n in range(5):
        producer.begin_transaction()
        for i in range(10):
            producer.produce(name, str(10 * n + i).encode(), partition=0)
        position = [TopicPartition(name, 0, 10 * n)]
        producer.send_offsets_to_transaction(position, reader.consumer_group_metadata(), 30)
        producer.flush(30)
        producer.commit_transaction(30) if n % 2 == 0 else producer.abort_transaction(30)
        committed = 10 * n if n % 2 == 0 else 10 * n - 10
        equal(reader.committed([TopicPartition(name, 0)], 30)[0].offset, committed, "the group's position")
    reader.close()
    committed = [n for n in range(50) if n // 10 % 2 == 0]
    equal([int(m.value()) for m in consume(name, 30, isolation_level="read_committed")], committed, "committed")
    equal([int(m.value()) for m in consume(name, 50, isolation_level="read_uncommitted")], list(range(50)), "all")
    # A second producer of the same id ends the first one's.
    producer.begin_transaction()
    producer.produce(name, b"late", partition=0)
    Producer({**BASE, "transactional.id": name}).init_transactions(30)
    try:
        producer.commit_transaction(30)
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError._FENCED, "error of the first one")
    else:
        raise AssertionError("the first producer committed")


def pipeline():
    """Each ten twice: what is aborted moves no position, what is committed does."""
    source, target, group_id = topic("in"), topic("out"), topic("g-pipeline")
    create(source)
    create(target)
    produce(source, [{"value": str(n).encode()} for n in range(60)])
    producer = Producer({**BASE, "transactional.id": target})
    producer.init_transactions(30)
    reader = Consumer({**BASE, "group.id": group_id, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    try:
        reader.subscribe([source])
        for n in range(0, 120, 10):
            commit, records = n % 20 == 10, take(reader, 10)
            producer.begin_transaction()
            for one in records:
                producer.produce(target, one.value())
            here = reader.position(reader.assignment())
            producer.send_offsets_to_transaction(here, reader.consumer_group_metadata(), 30)
            producer.commit_transaction(30) if commit else producer.abort_transaction(30)
            before = records[0].offset()
            committed = reader.committed([TopicPartition(source, 0)], 30)[0].offset
            equal(max(committed, 0), before + 10 if commit else before, "the group's position")
            if not commit:
                reader.seek(TopicPartition(source, 0, before))
    finally:
        reader.close()
    read = consume(target, 60, isolation_level="read_committed")
    equal([int(m.value()) for m in read], list(range(60)), "transformed")


def reset():
    name = topic("reset")
    create(name)
    produce(name, [{"value": b"a"}, {"value": b"b"}])
    equal(consume(name, 1, offset=999, auto_offset_reset="earliest")[0].value(), b"a")
    consumer = Consumer({**BASE, "group.id": topic("reset"), "auto.offset.reset": "error"})
    try:
        consumer.assign([TopicPartition(name, 0, 999)])
        message = wait_for(lambda: consumer.poll(0.2), "an error")
        equal(message.error() is not None, True, "reading out of range fails")
        equal(message.error().code(), KafkaError._AUTO_OFFSET_RESET, "error")
    finally:
        consumer.close()


# Of the consumer protocol these are the server's.
CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}


class Member(threading.Thread):
    """A group member that polls until told to leave, and notes what it has and what it read."""

    def __init__(self, group, name, **options):
        super().__init__(daemon=True)
        self.mine, self.seen, self.errors = set(), [], []
        self.leaving = threading.Event()
        self.consumer = Consumer({**BASE, "group.id": group, "auto.offset.reset": "earliest",
                                  **(CLASSIC if options.get("group.protocol") != "consumer" else {}), **options})
        self.consumer.subscribe([name], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        self.cooperative = options.get("partition.assignment.strategy") == "cooperative-sticky" or "group.protocol" in options
        self.start()

    def assigned(self, consumer, partitions):
        added = {p.partition for p in partitions}
        self.mine = self.mine | added if self.cooperative else added

    def revoked(self, consumer, partitions):
        self.mine = self.mine - {p.partition for p in partitions}

    def run(self):
        while not self.leaving.is_set():
            message = self.consumer.poll(0.1)
            if message is not None:
                (self.errors if message.error() else self.seen).append(message)
        self.consumer.close()

    def leave(self):
        self.leaving.set()
        self.join(30)
        equal(self.is_alive(), False, "member still there")
        equal([str(e.error()) for e in self.errors], [], "errors of the member")


def group(strategy):
    shared_by(strategy, {"partition.assignment.strategy": strategy})


def shared_by(kind, options):
    name, group_id = topic(f"group-{kind}"), topic(f"g-{kind}")
    create(name, 4)
    first = Member(group_id, name, **options)
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions")
    second = Member(group_id, name, **options)
    wait_for(lambda: len(first.mine) == 2 and first.mine | second.mine == {0, 1, 2, 3}, "two partitions each")
    produce(name, [{"value": str(n).encode(), "partition": n % 4} for n in range(40)])
    wait_for(lambda: len(first.seen) + len(second.seen) >= 40, "all records")
    equal(sorted(int(m.value()) for m in first.seen + second.seen), list(range(40)), "records, each once")
    equal({m.partition() for m in first.seen} & {m.partition() for m in second.seen}, set(), "partitions of both")
    second.leave()
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions again")
    produce(name, [{"value": b"more", "partition": p} for p in range(4)])
    wait_for(lambda: len(first.seen) + len(second.seen) >= 44, "records after the second left")
    first.leave()


def death():
    name, group_id = topic("death"), topic("g-death")
    create(name, 4)
    first = Member(group_id, name)
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions")
    # A static member does not say that it goes: to the group it is dead once its session has expired.
    second = Member(group_id, name, **{"group.instance.id": "static"})
    wait_for(lambda: len(first.mine) == 2 and first.mine | second.mine == {0, 1, 2, 3}, "two partitions each")
    start = time.monotonic()
    second.leave()
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions again")
    equal(time.monotonic() - start > 3, True, "the second was missed, it did not leave")
    first.leave()


def commit_and_resume():
    name, group_id = topic("resume"), topic("g-resume")
    create(name)
    produce(name, [{"value": str(n).encode()} for n in range(30)])
    options = {**BASE, "group.id": group_id, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer(options)
    consumer.subscribe([name])
    take(consumer, 10)
    position = TopicPartition(name, 0, 10, metadata="ten read")
    consumer.commit(offsets=[position], asynchronous=False)
    committed = consumer.committed([TopicPartition(name, 0)], 30)[0]
    equal((committed.offset, committed.metadata), (10, "ten read"), "committed")
    consumer.close()
    consumer = Consumer(options)
    consumer.subscribe([name])
    try:
        equal([int(m.value()) for m in take(consumer, 20)], list(range(10, 30)), "records after the commit")
    finally:
        consumer.close()
    consumer = Consumer({**BASE, "group.id": topic("g-never")})
    try:
        none = consumer.committed([TopicPartition(name, 0)], 30)[0]
        equal(none.offset < 0, True, "a group that never committed has no offset")
    finally:
        consumer.close()


def idempotence(brokers=BROKERS):
    name = topic(f"idempotent-{brokers.rsplit(':')[-1]}")
    create(name, 2)
    delivered = produce(name, [{"value": str(n).encode(), "partition": n % 2} for n in range(2000)],
                        enable_idempotence=True, max_in_flight=5, batch_num_messages=20, linger_ms=1,
                        bootstrap_servers=brokers)
    equal(len(delivered), 2000, "delivered")
    for partition in (0, 1):
        equal([int(m.value()) for m in consume(name, 1000, partition)], list(range(partition, 2000, 2)))


def admin_topics():
    client, name = ADMIN, topic("admin")
    create(name, 3, {"retention.ms": "3600000"})
    listed = wait_for(lambda: client.list_topics(timeout=60).topics.get(name), "the topic is listed")
    equal(sorted(listed.partitions), [0, 1, 2], "partitions")
    equal(listed.partitions[0].replicas, listed.partitions[0].isrs, "in-sync replicas")
    described = client.describe_topics(TopicCollection([name]))[name].result(30)
    equal((described.name, len(described.partitions), described.is_internal), (name, 3, False), "description")
    cluster = client.describe_cluster().result(30)
    equal((len(cluster.nodes), bool(cluster.cluster_id), cluster.controller is not None), (1, True, True), "cluster")
    for bad, code in ((NewTopic(name, 1, 1), KafkaError.TOPIC_ALREADY_EXISTS),
                      (NewTopic("bad name", 1, 1), KafkaError.TOPIC_EXCEPTION),
                      (NewTopic(topic("rf"), 1, 9), KafkaError.INVALID_REPLICATION_FACTOR),
                      (NewTopic(topic("cfg"), 1, 1, config={"retention.ms": "x"}), KafkaError.INVALID_CONFIG)):
        try:
            client.create_topics([bad])[bad.topic].result(30)
        except KafkaException as error:
            equal(error.args[0].code(), code, f"error of {bad.topic}")
        else:
            raise AssertionError(f"{bad.topic} was created")
    client.create_topics([NewTopic(topic("dry"), 1, 1)], validate_only=True)[topic("dry")].result(30)
    equal(topic("dry") in client.list_topics(timeout=60).topics, False, "a dry run creates")


def admin_configs():
    client, name = ADMIN, topic("configs")
    create(name, 1, {"retention.ms": "3600000"})
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)

    def configs():
        return client.describe_configs([resource])[resource].result(30)

    before = configs()
    equal((before["retention.ms"].value, before["retention.ms"].is_default), ("3600000", False), "retention.ms")
    equal(before["segment.bytes"].is_default, True, "segment.bytes is default")
    change = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[
        ConfigEntry("segment.bytes", "1048576", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE)])
    client.incremental_alter_configs([change])[change].result(30)
    after = wait_for(lambda: (c := configs())["segment.bytes"].value == "1048576" and c, "the change is seen")
    equal(after["retention.ms"].value, "604800000", "retention.ms")
    bad = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[
        ConfigEntry("no.such.key", "1", incremental_operation=AlterConfigOpType.SET)])
    try:
        client.incremental_alter_configs([bad])[bad].result(30)
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.INVALID_CONFIG, "error of an unknown key")
    else:
        raise AssertionError("an unknown key was accepted")


def admin_partitions():
    client, name = ADMIN, topic("grow")
    create(name, 1)
    client.create_partitions([NewPartitions(name, 3)])[name].result(30)
    wait_for(lambda: len(client.list_topics(name, timeout=60).topics[name].partitions) == 3, "three partitions")
    produce(name, [{"value": b"x", "partition": 2}])
    equal(consume(name, 1, 2)[0].value(), b"x")
    try:
        client.create_partitions([NewPartitions(name, 2)])[name].result(30)
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.INVALID_PARTITIONS, "error")
    else:
        raise AssertionError("partitions were taken away")


def admin_offsets():
    client, name = ADMIN, topic("offsets")
    create(name, 1)
    now = int(time.time() * 1000)
    produce(name, [{"value": b"a", "timestamp": now - 1000}, {"value": b"b", "timestamp": now + 1000},
                   {"value": b"c", "timestamp": now}])
    partition = TopicPartition(name, 0)
    for spec, expected in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 3), (OffsetSpec.max_timestamp(), 1),
                           (OffsetSpec.for_timestamp(now), 1)):
        result = client.list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        equal(result[partition].result(30).offset, expected, str(spec))


def admin_delete():
    client, name = ADMIN, topic("delete")
    create(name, 2)
    produce(name, [{"value": b"old", "partition": 0}])
    client.delete_topics([name])[name].result(30)
    wait_for(lambda: name not in client.list_topics(timeout=60).topics, "the topic is gone")
    try:
        client.delete_topics([name])[name].result(30)
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")
    else:
        raise AssertionError("deleted twice")
    create(name, 1)
    produce(name, [{"value": b"new"}])
    equal(consume(name, 1)[0].value(), b"new")


def delete_under_load():
    """A topic that goes while records are on their way harms no other."""
    other = topic("bystander")
    create(other)
    for n in range(60):
        name = topic(f"going-{n}")
        create(name, 2)
        # A new partition's first flush takes longest: the deletion is aimed at it.
        producer = Producer({**BASE, "linger.ms": 0})
        for k in range(20):
            producer.produce(name, b"x" * 100, partition=k % 2, on_delivery=lambda error, message: None)
        producer.poll(0.001 * (n % 10))
        ADMIN.delete_topics([name])[name].result(30)
        producer.purge()
    produce(other, [{"value": b"still here"}], message_timeout_ms=10_000)
    equal(consume(other, 1)[0].value(), b"still here")


def admin_delete_records():
    name = topic("delete-records")
    create(name)
    produce(name, [{"value": str(n).encode()} for n in range(10)])

    def delete(offset):
        position = TopicPartition(name, 0, offset)
        return ADMIN.delete_records([position])[position].result(30)
    equal(delete(4).low_watermark, 4, "the first offset")
    equal([int(m.value()) for m in consume(name, 6)], list(range(4, 10)), "what is left")
    refused(KafkaError.OFFSET_OUT_OF_RANGE, lambda: delete(11))


def refused(code, action):
    try:
        action()
    except KafkaException as error:
        equal(error.args[0].code(), code, "error")
    else:
        raise AssertionError("accepted")


def admin_groups():
    name, group_id = topic("groups"), topic("g-groups")
    create(name)
    produce(name, [{"value": str(n).encode()} for n in range(10)])
    reader = Consumer({**BASE, "group.id": group_id, "auto.offset.reset": "earliest", "enable.auto.commit": False})

    def delete():
        ADMIN.delete_consumer_groups([group_id])[group_id].result(30)
    try:
        reader.subscribe([name])
        take(reader, 10)
        listed = ADMIN.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(30)
        equal(group_id in [one.group_id for one in listed.valid], True, "the group is listed")
        described = ADMIN.describe_consumer_groups([group_id])[group_id].result(30)
        equal((described.state, len(described.members), described.coordinator.id),
              (ConsumerGroupState.STABLE, 1, 1), "description")
        refused(KafkaError.NON_EMPTY_GROUP, delete)
    finally:
        reader.close()
    change = ConsumerGroupTopicPartitions(group_id, [TopicPartition(name, 0, 4, "four")])
    ADMIN.alter_consumer_group_offsets([change])[group_id].result(30)
    offsets = ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group_id)])[group_id].result(30)
    equal([(p.offset, p.metadata) for p in offsets.topic_partitions], [(4, "four")], "offsets")
    delete()
    refused(KafkaError.GROUP_ID_NOT_FOUND, delete)


def admin_elections():
    name = topic("elections")
    create(name)
    partition = TopicPartition(name, 0)
    errors = ADMIN.elect_leaders(ElectionType.PREFERRED, [partition]).result(30)
    equal(errors[partition].code(), KafkaError.ELECTION_NOT_NEEDED, "error")


def admin_rules():
    name = topic("rules")
    rules = [AclBinding(ResourceType.TOPIC, name, ResourcePatternType.PREFIXED, "User:alice", "10.0.0.1", operation,
                        AclPermissionType.ALLOW) for operation in (AclOperation.READ, AclOperation.WRITE)]
    for created in ADMIN.create_acls(rules).values():
        created.result(30)
    matching = AclBindingFilter(ResourceType.TOPIC, f"{name}-more", ResourcePatternType.MATCH, None, None,
                                AclOperation.ANY, AclPermissionType.ANY)
    equal(sorted(ADMIN.describe_acls(matching).result(30)), sorted(rules), "rules that match")
    equal(sorted(ADMIN.delete_acls([matching])[matching].result(30)), sorted(rules), "deleted rules")
    equal(ADMIN.describe_acls(matching).result(30), [], "rules that are left")


def auto_creation():
    name = topic("auto")
    produce(name, [{"value": b"x"}])
    equal(consume(name, 1)[0].value(), b"x")


checks = Checks("confluent-kafka")
for c in CODECS:
    for a in ACKS:
        checks.check(f"codec {c}, acks {'all' if a < 0 else a}", codec, c, a)
checks.check("headers, repeated keys and null values", headers)
checks.check("null and empty keys and values", nulls)
checks.check("large record", large)
checks.check("too large record is refused, the next one stored", too_large)
checks.check("seek by time", seek_by_time)
checks.check("read_committed", read_committed)
checks.check("offset out of range", reset)
for s in ("range", "roundrobin", "cooperative-sticky"):
    checks.check(f"group of two, {s}", group, s)
checks.check("consumer protocol: group of two", shared_by, "consumer", {"group.protocol": "consumer"})
checks.check("a member dies", death)
checks.check("commit and resume", commit_and_resume)
checks.check("transactions, committed and aborted", transactions)
checks.check("transactions: read, transform, write", pipeline)
checks.check("idempotence", idempotence)
if CUT:
    checks.check("idempotence when connections break", idempotence, CUT)
if VICTIM:
    checks.check("the server is killed while it is written to and read", breaks.killed)
    checks.check("transactions: aborted when connections break", breaks.aborted)
checks.check("admin: create, list, describe, errors", admin_topics)
checks.check("admin: describe and alter configs", admin_configs)
checks.check("admin: add partitions", admin_partitions)
checks.check("admin: list offsets", admin_offsets)
checks.check("admin: delete and create again", admin_delete)
checks.check("admin: delete while records are on their way", delete_under_load)
checks.check("admin: delete records", admin_delete_records)
checks.check("admin: groups and their offsets", admin_groups)
checks.check("admin: elections", admin_elections)
checks.check("admin: access rules", admin_rules)
checks.check("auto-creation", auto_creation)
checks.done()
