"""kafka-python against a server at TIDELOG_KAFKA."""

import threading
import time

import breaks
from checks import ACKS, BROKERS, CODECS, CUT, VICTIM, Checks, equal, topic, wait_for
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    TransactionState,
)
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import (
    ElectionNotNeededError,
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    NoError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.protocol.admin.topics import ElectionType

ADMIN = KafkaAdminClient(bootstrap_servers=BROKERS)


def create(name, partitions=1, config=None):
    ADMIN.create_topics([NewTopic(name, partitions, 1, topic_configs=config or {})])


def produce(name, records, **options):
    """Sends dicts of KafkaProducer.send's arguments; returns their metadata in order."""
    producer = KafkaProducer(**{"bootstrap_servers": BROKERS, **options})
    try:
        futures = [producer.send(name, **record) for record in records]
        producer.flush(60)
        return [future.get(30) for future in futures]
    finally:
        producer.close(10)


def consumer(**options):
    return KafkaConsumer(bootstrap_servers=BROKERS, enable_auto_commit=False, **options)


def consume(name, count, partition=0, offset=None, **options):
    reader = consumer(**options)
    try:
        position = TopicPartition(name, partition)
        reader.assign([position])
        reader.seek_to_beginning(position) if offset is None else reader.seek(position, offset)
        return take(reader, count)
    finally:
        reader.close()


def take(reader, count, seconds=90):
    # A poll that ends between the answer to SyncGroup and what the client makes of it leaves a member without its partitions, for good
    # (kafka-python 3.0.12): ours are longer than a slow disk takes.
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(records)} of {count} records within {seconds} s")
        for batch in reader.poll(5_000, max_records=count - len(records)).values():
            records.extend(batch)
    return records


def refused(error, action):
    try:
        action()
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def codec(codec, acks):
    name = topic(f"codec-{codec}-{acks}")
    create(name)
    values = [f"value {n} ".encode() * 50 for n in range(50)]
    produce(name, [{"key": str(n).encode(), "value": v} for n, v in enumerate(values)], linger_ms=50,
            compression_type=None if codec == "none" else codec, acks="all" if acks < 0 else acks,
            enable_idempotence=False)
    records = consume(name, 50)
    equal([r.value for r in records], values)
    equal([r.key for r in records], [str(n).encode() for n in range(50)], "keys")
    equal([r.offset for r in records], list(range(50)), "offsets")


def headers():
    name = topic("headers")
    create(name)
    sent = [("a", b"1"), ("b", b""), ("a", b"2"), ("a", b"1"), ("ü", bytes(range(256)))]
    produce(name, [{"value": b"x", "headers": sent}, {"value": b"y"}])
    with_headers, without = consume(name, 2)
    equal(list(with_headers.headers), sent, "headers")
    equal(list(without.headers), [], "headers")


def nulls():
    name = topic("nulls")
    create(name)
    # This client sends no record with neither key nor value.
    pairs = [(b"", b""), (None, b"v"), (b"k", None), (b"k", b"v")]
    produce(name, [{"key": k, "value": v, "partition": 0} for k, v in pairs])
    equal([(r.key, r.value) for r in consume(name, 4)], pairs)


def large():
    name = topic("large")
    create(name)
    value = bytes(i * 7919 % 251 for i in range(1_000_000))
    produce(name, [{"value": value}], max_request_size=5_000_000)
    equal(consume(name, 1)[0].value == value, True, "the large record")


def too_large():
    name = topic("too-large")
    create(name)
    refused(MessageSizeTooLargeError, lambda: produce(name, [{"value": bytes(2_000_000)}], max_request_size=5_000_000))
    produce(name, [{"value": b"small"}])
    equal(consume(name, 1)[0].value, b"small")


def seek_by_time():
    name = topic("times")
    create(name)
    start = int(time.time() * 1000) - 100_000
    produce(name, [{"value": str(n).encode(), "timestamp_ms": start + n * 1000} for n in range(10)])
    reader, position = consumer(), TopicPartition(name, 0)
    try:
        def at(time_ms):
            found = reader.offsets_for_times({position: time_ms})[position]
            return found and (found.offset, found.timestamp)
        equal(at(start - 5000), (0, start), "before the first")
        equal(at(start + 3000), (3, start + 3000), "exactly the fourth")
        equal(at(start + 60_000), None, "after the last")
        reader.assign([position])
        reader.seek(position, at(start + 6500)[0])
        records = take(reader, 3)
        equal([r.value for r in records], [b"7", b"8", b"9"])
        equal([r.timestamp for r in records], [start + n * 1000 for n in (7, 8, 9)], "timestamps")
        equal(reader.beginning_offsets([position])[position], 0, "beginning")
        equal(reader.end_offsets([position])[position], 10, "end")
    finally:
        reader.close()


def read_committed():
    name = topic("committed")
    create(name)
    produce(name, [{"value": b"a"}])
    equal(consume(name, 1, isolation_level="read_committed")[0].value, b"a")


def transactions():
    name = topic("transactions")
    create(name)
    producer = KafkaProducer(bootstrap_servers=BROKERS, transactional_id=name)
    producer.init_transactions()
    for n in range(5):
        producer.begin_transaction()
        for i in range(10):
            producer.send(name, str(10 * n + i).encode(), partition=0)
        producer.flush(30)
        producer.commit_transaction() if n % 2 == 0 else producer.abort_transaction()
    producer.close(10)
    committed = [n for n in range(50) if n // 10 % 2 == 0]
    equal([int(r.value) for r in consume(name, 30, isolation_level="read_committed")], committed, "committed")
    equal([int(r.value) for r in consume(name, 50)], list(range(50)), "all")


def pipeline():
    """Each ten twice: what is aborted moves no position, what is committed does."""
    source, target, group_id = topic("in"), topic("out"), topic("g-pipeline")
    create(source)
    create(target)
    produce(source, [{"value": str(n).encode()} for n in range(60)])
    position = TopicPartition(source, 0)
    producer = KafkaProducer(bootstrap_servers=BROKERS, transactional_id=target)
    producer.init_transactions()
    reader = consumer(group_id=group_id, auto_offset_reset="earliest", isolation_level="read_committed")
    try:
        reader.subscribe([source])
        for n in range(0, 120, 10):
            commit, records = n % 20 == 10, take(reader, 10)
            producer.begin_transaction()
            for one in records:
                producer.send(target, one.value)
            producer.flush(30)
            next_one = OffsetAndMetadata(records[-1].offset + 1, "", -1)
            producer.send_offsets_to_transaction({position: next_one}, reader.group_metadata())
            producer.commit_transaction() if commit else producer.abort_transaction()
            before = records[0].offset
            expected = before + 10 if commit else before
            # The markers come after the answer to the end.
            wait_for(lambda: (reader.committed(position) or 0) == expected, f"the group stands at {expected}")
            if not commit:
                reader.seek(position, before)
    finally:
        reader.close()
        producer.close(10)
    equal([int(r.value) for r in consume(target, 60, isolation_level="read_committed")], list(range(60)), "transformed")


def reset():
    name = topic("reset")
    create(name)
    produce(name, [{"value": b"a"}, {"value": b"b"}])
    equal(consume(name, 1, offset=999, auto_offset_reset="earliest")[0].value, b"a")
    refused(OffsetOutOfRangeError,
            lambda: consume(name, 1, offset=999, auto_offset_reset="none"))


class Member(threading.Thread):
    """A group member that polls until told to leave, and notes what it has and what it read."""

    def __init__(self, group, name, assignor, **options):
        super().__init__(daemon=True)
        self.group, self.name_of_topic, self.assignor, self.options = group, name, assignor, options
        self.mine, self.seen, self.error = set(), [], None
        self.leaving = threading.Event()
        self.start()

    def run(self):
        reader = KafkaConsumer(bootstrap_servers=BROKERS, group_id=self.group, auto_offset_reset="earliest",
                               partition_assignment_strategy=[self.assignor], session_timeout_ms=10000,
                               heartbeat_interval_ms=300, **self.options)
        try:
            reader.subscribe([self.name_of_topic])
            while not self.leaving.is_set():
                for batch in reader.poll(1_000).values():
                    self.seen.extend(batch)
                self.mine = {p.partition for p in reader.assignment()}
        except Exception as error:  # noqa: BLE001: the check's own thread reports it
            self.error = error
        finally:
            reader.close()

    def leave(self):
        self.leaving.set()
        self.join(30)
        equal(self.is_alive(), False, "member still there")
        equal(self.error, None, "error of the member")


def group(assignor):
    name, group_id = topic(f"group-{assignor.name}"), topic(f"g-{assignor.name}")
    create(name, 4)
    first = Member(group_id, name, assignor)
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions")
    second = Member(group_id, name, assignor)
    wait_for(lambda: len(first.mine) == 2 and len(second.mine) == 2 and first.mine | second.mine == {0, 1, 2, 3},
             "two partitions each")
    produce(name, [{"value": str(n).encode(), "partition": n % 4} for n in range(40)])
    wait_for(lambda: len(first.seen) + len(second.seen) >= 40, "all records")
    equal(sorted(int(r.value) for r in first.seen + second.seen), list(range(40)), "records, each once")
    equal({r.partition for r in first.seen} & {r.partition for r in second.seen}, set(), "partitions of both")
    second.leave()
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions again")
    produce(name, [{"value": b"more", "partition": p} for p in range(4)])
    wait_for(lambda: len(first.seen) + len(second.seen) >= 44, "records after the second left")
    first.leave()


def death():
    name, group_id = topic("death"), topic("g-death")
    create(name, 4)
    first = Member(group_id, name, RangePartitionAssignor)
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions")
    # A static member does not say that it goes: to the group it is dead once its session has expired.
    second = Member(group_id, name, RangePartitionAssignor, group_instance_id="static")
    wait_for(lambda: len(first.mine) == 2 and first.mine | second.mine == {0, 1, 2, 3}, "two partitions each")
    start = time.monotonic()
    second.leave()
    wait_for(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions again")
    equal(time.monotonic() - start > 3, True, "the second was missed, it did not leave")
    first.leave()


def commit_and_resume():
    name, group_id = topic("resume"), topic("g-resume")
    position = TopicPartition(name, 0)
    create(name)
    produce(name, [{"value": str(n).encode()} for n in range(30)])
    reader = consumer(group_id=group_id, auto_offset_reset="earliest")
    reader.subscribe([name])
    take(reader, 10)
    reader.commit({position: OffsetAndMetadata(10, "ten read", -1)})
    committed = reader.committed(position, metadata=True)
    equal((committed.offset, committed.metadata), (10, "ten read"), "committed")
    reader.close()
    reader = consumer(group_id=group_id, auto_offset_reset="earliest")
    reader.subscribe([name])
    try:
        equal([int(r.value) for r in take(reader, 20)], list(range(10, 30)), "records after the commit")
    finally:
        reader.close()
    reader = consumer(group_id=topic("g-never"))
    try:
        equal(reader.committed(position), None, "a group that never committed")
    finally:
        reader.close()


def idempotence(brokers=BROKERS):
    name = topic(f"idempotent-{brokers.rsplit(':')[-1]}")
    create(name, 2)
    sent = produce(name, [{"value": str(n).encode(), "partition": n % 2} for n in range(2000)],
                   enable_idempotence=True, batch_size=300, bootstrap_servers=brokers)
    equal(sorted(m.offset for m in sent if m.partition == 0), list(range(1000)), "offsets")
    for partition in (0, 1):
        equal([int(r.value) for r in consume(name, 1000, partition)], list(range(partition, 2000, 2)))


def described(name):
    return next(t for t in ADMIN.describe_topics([name]) if t.get("name", t.get("topic")) == name)


def admin_topics():
    name = topic("admin")
    create(name, 3, {"retention.ms": "3600000"})
    wait_for(lambda: name in ADMIN.list_topics(), "the topic is listed")
    description = described(name)
    equal((len(description["partitions"]), description["is_internal"]), (3, False), "description")
    cluster = ADMIN.describe_cluster()
    equal((len(cluster["brokers"]), bool(cluster["cluster_id"])), (1, True), "cluster")
    refused(TopicAlreadyExistsError, lambda: create(name))
    refused(InvalidTopicError, lambda: create("bad name"))
    refused(InvalidReplicationFactorError, lambda: ADMIN.create_topics([NewTopic(topic("rf"), 1, 9)]))
    refused(InvalidConfigurationError, lambda: create(topic("cfg"), 1, {"retention.ms": "x"}))
    ADMIN.create_topics([NewTopic(topic("dry"), 1, 1)], validate_only=True)
    equal(topic("dry") in ADMIN.list_topics(), False, "a dry run creates")


def admin_configs():
    name = topic("configs")
    create(name, 1, {"retention.ms": "3600000"})

    def configs():
        answer = ADMIN.describe_configs([ConfigResource("topic", name)], config_filter="all")
        return answer["topic"][name] if "topic" in answer else next(iter(next(iter(answer.values())).values()))

    equal(value_of(configs()["retention.ms"]), "3600000", "retention.ms")
    ADMIN.alter_configs([ConfigResource("topic", name, configs={"segment.bytes": "1048576"})])
    wait_for(lambda: value_of(configs()["segment.bytes"]) == "1048576", "the change is seen")
    equal(value_of(configs()["retention.ms"]), "3600000", "retention.ms")
    ADMIN.reset_configs([ConfigResource("topic", name, configs=["retention.ms"])])
    wait_for(lambda: value_of(configs()["retention.ms"]) == "604800000", "the default is back")


def value_of(config):
    return config["value"] if isinstance(config, dict) else getattr(config, "value", config)


def admin_partitions():
    name = topic("grow")
    create(name, 1)
    ADMIN.create_partitions({name: NewPartitions(3)})
    wait_for(lambda: len(described(name)["partitions"]) == 3, "three partitions")
    produce(name, [{"value": b"x", "partition": 2}])
    equal(consume(name, 1, 2)[0].value, b"x")
    refused(InvalidPartitionsError, lambda: ADMIN.create_partitions({name: NewPartitions(2)}))


def admin_offsets():
    name = topic("offsets")
    create(name, 1)
    now = int(time.time() * 1000)
    produce(name, [{"value": v, "timestamp_ms": t} for v, t in ((b"a", now - 1000), (b"b", now + 1000), (b"c", now))])
    position = TopicPartition(name, 0)
    for spec, expected in ((OffsetSpec.EARLIEST, 0), (OffsetSpec.LATEST, 3), (OffsetSpec.MAX_TIMESTAMP, 1)):
        equal(ADMIN.list_partition_offsets({position: spec})[position].offset, expected, str(spec))


def admin_delete():
    name = topic("delete")
    create(name, 2)
    produce(name, [{"value": b"old", "partition": 0}])
    ADMIN.delete_topics([name])
    wait_for(lambda: name not in ADMIN.list_topics(), "the topic is gone")
    refused(UnknownTopicOrPartitionError, lambda: ADMIN.delete_topics([name]))
    create(name, 1)
    produce(name, [{"value": b"new"}])
    equal(consume(name, 1)[0].value, b"new")


def admin_delete_records():
    name = topic("delete-records")
    create(name)
    produce(name, [{"value": str(n).encode()} for n in range(10)])
    position = TopicPartition(name, 0)
    equal(ADMIN.delete_records({position: 4})[position]["low_watermark"], 4, "the first offset")
    equal([int(r.value) for r in consume(name, 6)], list(range(4, 10)), "what is left")
    refused(OffsetOutOfRangeError, lambda: ADMIN.delete_records({position: 11}))


def admin_groups():
    name, group_id = topic("groups"), topic("g-groups")
    position = TopicPartition(name, 0)
    create(name)
    produce(name, [{"value": str(n).encode()} for n in range(10)])
    reader = consumer(group_id=group_id, auto_offset_reset="earliest")
    try:
        reader.subscribe([name])
        take(reader, 10)
        listed = [one["group_id"] for one in ADMIN.list_groups(states_filter=["Stable"])]
        equal(group_id in listed, True, "the group is listed")
        described = ADMIN.describe_groups([group_id])[group_id]
        equal((described["group_state"], len(described["members"])), ("Stable", 1), "description")
        equal(ADMIN.delete_groups([group_id]), {group_id: "NonEmptyGroupError"}, "error of a group with members")
    finally:
        reader.close()
    equal(ADMIN.alter_group_offsets(group_id, {position: OffsetAndMetadata(4, "four", -1)})[position], NoError, "error")
    offset = ADMIN.list_group_offsets(group_id)[group_id][position]
    equal((offset.offset, offset.metadata), (4, "four"), "offset")
    ADMIN.reset_group_offsets(group_id, {position: OffsetSpec.EARLIEST})
    equal(ADMIN.list_group_offsets(group_id)[group_id][position].offset, 0, "offset")
    equal(ADMIN.delete_group_offsets(group_id, [position])[position], NoError, "error")
    equal(ADMIN.list_group_offsets(group_id)[group_id], {}, "offsets")
    equal(ADMIN.delete_groups([group_id]), {group_id: "OK"}, "error")
    equal(ADMIN.delete_groups([group_id]), {group_id: "GroupIdNotFoundError"}, "error of a group that is gone")


def admin_transactions():
    name = topic("transaction-admin")
    position = TopicPartition(name, 0)
    create(name)
    producer = KafkaProducer(bootstrap_servers=BROKERS, transactional_id=name)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(name, b"x", partition=0).get(30)
    listed = [one for found in ADMIN.list_transactions(transactional_id_pattern=f"{name}.*").values() for one in found]
    equal([(one.transactional_id, one.state) for one in listed], [(name, TransactionState.ONGOING)], "listed")
    described = ADMIN.describe_transactions([name])[name]
    equal((described.state, described.topic_partitions), (TransactionState.ONGOING, {position}), "description")
    states = ADMIN.describe_producers([position])[position]
    states = getattr(states, "active_producers", states)
    equal([one.producer_id for one in states], [described.producer_id], "producers")
    producer.abort_transaction()
    producer.close(10)


def admin_elections():
    name = topic("elections")
    create(name)
    answer = ADMIN.elect_leaders(ElectionType.PREFERRED, {name: [0]})
    answer = answer if isinstance(answer, dict) else answer.to_dict()
    errors = [p["error_code"] for t in answer["replica_election_results"] for p in t["partition_result"]]
    equal(errors, [ElectionNotNeededError.errno], "errors of the election")
    equal(ADMIN.list_partition_reassignments({name: [0]}), {}, "reassignments")


def admin_rules():
    name = topic("rules")
    pattern = ResourcePattern(ResourceType.TOPIC, name, ACLResourcePatternType.PREFIXED)
    rules = [ACL("User:alice", "10.0.0.1", operation, ACLPermissionType.ALLOW, pattern)
             for operation in (ACLOperation.READ, ACLOperation.WRITE)]
    equal(ADMIN.create_acls(rules), {"succeeded": rules, "failed": []}, "created")
    longer = ResourcePatternFilter(ResourceType.TOPIC, f"{name}-more", ACLResourcePatternType.MATCH)
    matching = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, longer)

    def found():
        answer = ADMIN.describe_acls(matching)
        return set(answer[0] if isinstance(answer, tuple) else answer)
    equal(found(), set(rules), "rules that match")
    equal(set(ADMIN.delete_acls([matching])[0][1]), set(rules), "deleted rules")
    equal(found(), set(), "rules that are left")


def auto_creation():
    name = topic("auto")
    produce(name, [{"value": b"x"}])
    equal(consume(name, 1)[0].value, b"x")


checks = Checks("kafka-python")
for c in CODECS:
    for a in ACKS:
        checks.check(f"codec {c}, acks {'all' if a < 0 else a}", codec, c, a)
checks.check("headers, repeated keys", headers)
checks.check("null and empty keys and values", nulls)
checks.check("large record", large)
checks.check("too large record is refused, the next one stored", too_large)
checks.check("seek by time", seek_by_time)
checks.check("read_committed", read_committed)
checks.check("offset out of range", reset)
for s in (RangePartitionAssignor, RoundRobinPartitionAssignor, CooperativeStickyAssignor):
    checks.check(f"group of two, {s.name}", group, s)
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
checks.check("admin: delete records", admin_delete_records)
checks.check("admin: groups and their offsets", admin_groups)
checks.check("admin: list and describe transactions", admin_transactions)
checks.check("admin: elections and reassignments", admin_elections)
checks.check("admin: access rules", admin_rules)
checks.check("auto-creation", auto_creation)
checks.done()
