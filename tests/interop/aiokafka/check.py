"""aiokafka against a server at TIDELOG_KAFKA."""

import asyncio
import time
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import InvalidPartitionsError, MessageSizeTooLargeError, OffsetOutOfRangeError
import breaks
from checks import ACKS, BROKERS, CODECS, CUT, VICTIM, Checks, equal, topic

# Error codes of the protocol that the admin client hands on as numbers.
UNKNOWN_TOPIC, INVALID_TOPIC, TOPIC_EXISTS, INVALID_RF, INVALID_CONFIG = 3, 17, 36, 38, 40


@asynccontextmanager
async def admin():
    client = AIOKafkaAdminClient(bootstrap_servers=BROKERS)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def consumer(*topics, **options):
    reader = AIOKafkaConsumer(*topics, bootstrap_servers=BROKERS, enable_auto_commit=False, **options)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


async def create(name, partitions=1, config=None, replicas=1):
    """The error code of the answer."""
    async with admin() as client:
        new = NewTopic(name, partitions, replicas, topic_configs=config or {})
        return (await client.create_topics([new])).topic_errors[0][1]


async def produce(name, records, **options):
    """Sends dicts of AIOKafkaProducer.send's arguments; returns their metadata in order."""
    producer = AIOKafkaProducer(**{"bootstrap_servers": BROKERS, **options})
    await producer.start()
    try:
        futures = [await producer.send(name, **record) for record in records]
        return [await future for future in futures]
    finally:
        await producer.stop()


async def consume(name, count, partition=0, offset=None, **options):
    async with consumer(**options) as reader:
        position = TopicPartition(name, partition)
        reader.assign([position])
        if offset is None:
            await reader.seek_to_beginning(position)
        else:
            reader.seek(position, offset)
        return await take(reader, count)


async def take(reader, count, seconds=90):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(records)} of {count} records within {seconds} s")
        for batch in (await reader.getmany(timeout_ms=200, max_records=count - len(records))).values():
            records.extend(batch)
    return records


async def until(condition, what, seconds=90):
    deadline = time.monotonic() + seconds
    while not (result := await condition() if asyncio.iscoroutinefunction(condition) else condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        await asyncio.sleep(0.02)
    return result


async def codec(codec, acks):
    name = topic(f"codec-{codec}-{acks}")
    equal(await create(name), 0, "error")
    values = [f"value {n} ".encode() * 50 for n in range(50)]
    await produce(name, [{"key": str(n).encode(), "value": v} for n, v in enumerate(values)], linger_ms=50,
                  compression_type=None if codec == "none" else codec, acks=acks)
    records = await consume(name, 50)
    equal([r.value for r in records], values)
    equal([r.key for r in records], [str(n).encode() for n in range(50)], "keys")
    equal([r.offset for r in records], list(range(50)), "offsets")


async def headers():
    name = topic("headers")
    await create(name)
    sent = [("a", b"1"), ("b", b""), ("a", b"2"), ("a", b"1"), ("ü", bytes(range(256)))]
    await produce(name, [{"value": b"x", "headers": sent}, {"value": b"y"}])
    with_headers, without = await consume(name, 2)
    equal(list(with_headers.headers), sent, "headers")
    equal(list(without.headers), [], "headers")


async def nulls():
    name = topic("nulls")
    await create(name)
    # This client sends no record with neither key nor value.
    pairs = [(b"", b""), (None, b"v"), (b"k", None), (b"k", b"v")]
    await produce(name, [{"key": k, "value": v, "partition": 0} for k, v in pairs])
    equal([(r.key, r.value) for r in await consume(name, 4)], pairs)


async def large():
    name = topic("large")
    await create(name)
    value = bytes(i * 7919 % 251 for i in range(1_000_000))
    await produce(name, [{"value": value}], max_request_size=5_000_000)
    equal((await consume(name, 1))[0].value == value, True, "the large record")


async def too_large():
    name = topic("too-large")
    await create(name)
    try:
        await produce(name, [{"value": bytes(2_000_000)}], max_request_size=5_000_000)
    except MessageSizeTooLargeError:
        pass
    else:
        raise AssertionError("accepted")
    await produce(name, [{"value": b"small"}])
    equal((await consume(name, 1))[0].value, b"small")


async def seek_by_time():
    name = topic("times")
    await create(name)
    start = int(time.time() * 1000) - 100_000
    await produce(name, [{"value": str(n).encode(), "timestamp_ms": start + n * 1000} for n in range(10)])
    position = TopicPartition(name, 0)
    async with consumer() as reader:
        async def at(time_ms):
            found = (await reader.offsets_for_times({position: time_ms}))[position]
            return found and (found.offset, found.timestamp)
        equal(await at(start - 5000), (0, start), "before the first")
        equal(await at(start + 3000), (3, start + 3000), "exactly the fourth")
        equal(await at(start + 60_000), None, "after the last")
        reader.assign([position])
        reader.seek(position, (await at(start + 6500))[0])
        records = await take(reader, 3)
        equal([r.value for r in records], [b"7", b"8", b"9"])
        equal([r.timestamp for r in records], [start + n * 1000 for n in (7, 8, 9)], "timestamps")
        equal((await reader.beginning_offsets([position]))[position], 0, "beginning")
        equal((await reader.end_offsets([position]))[position], 10, "end")


async def read_committed():
    name = topic("committed")
    await create(name)
    await produce(name, [{"value": b"a"}])
    equal((await consume(name, 1, isolation_level="read_committed"))[0].value, b"a")


async def transactions():
    name = topic("transactions")
    await create(name)
    producer = AIOKafkaProducer(bootstrap_servers=BROKERS, transactional_id=name)
    await producer.start()
    for n in range(5):
        await producer.begin_transaction()
        for i in range(10):
            await producer.send(name, str(10 * n + i).encode(), partition=0)
        await producer.flush()
        await (producer.commit_transaction() if n % 2 == 0 else producer.abort_transaction())
    await producer.stop()
    committed = [n for n in range(50) if n // 10 % 2 == 0]
    equal([int(r.value) for r in await consume(name, 30, isolation_level="read_committed")], committed, "committed")
    equal([int(r.value) for r in await consume(name, 50)], list(range(50)), "all")


async def pipeline():
    """Each ten twice: what is aborted moves no position, what is committed does."""
    source, target, group_id = topic("in"), topic("out"), topic("g-pipeline")
    await create(source)
    await create(target)
    await produce(source, [{"value": str(n).encode()} for n in range(60)])
    position = TopicPartition(source, 0)
    producer = AIOKafkaProducer(bootstrap_servers=BROKERS, transactional_id=target)
    await producer.start()
    async with consumer(source, group_id=group_id, auto_offset_reset="earliest", isolation_level="read_committed") as reader:
        for n in range(0, 120, 10):
            commit, records = n % 20 == 10, await take(reader, 10)
            await producer.begin_transaction()
            for one in records:
                await producer.send(target, one.value)
            await producer.send_offsets_to_transaction({position: records[-1].offset + 1}, group_id)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
            before = records[0].offset
            expected = before + 10 if commit else before

            async def decided():
                # aiokafka asks for the last position that is decided, and the markers come after the answer to the end.
                return (await reader.committed(position) or 0) == expected
            await until(decided, f"the group stands at {expected}")
            if not commit:
                reader.seek(position, before)
    await producer.stop()
    read = await consume(target, 60, isolation_level="read_committed")
    equal([int(r.value) for r in read], list(range(60)), "transformed")


async def reset():
    name = topic("reset")
    await create(name)
    await produce(name, [{"value": b"a"}, {"value": b"b"}])
    equal((await consume(name, 1, offset=999, auto_offset_reset="earliest"))[0].value, b"a")
    try:
        await consume(name, 1, offset=999, auto_offset_reset="none")
    except OffsetOutOfRangeError:
        pass
    else:
        raise AssertionError("read out of range")


class Member(ConsumerRebalanceListener):
    """A group member that reads until told to leave, and notes what it has and what it read."""

    async def join(self, group, name, assignor, **options):
        self.mine, self.seen = set(), []
        self.reader = AIOKafkaConsumer(bootstrap_servers=BROKERS, group_id=group, auto_offset_reset="earliest",
                                       partition_assignment_strategy=[assignor], heartbeat_interval_ms=300,
                                       session_timeout_ms=6000, **options)
        self.reader.subscribe([name], listener=self)
        # Answers only when this member has its first assignment, which needs the others to keep polling.
        await self.reader.start()
        self.task = asyncio.create_task(self.read())
        return self

    async def on_partitions_revoked(self, revoked):
        self.mine = set()

    async def on_partitions_assigned(self, assigned):
        self.mine = {p.partition for p in assigned}

    async def read(self):
        while True:
            for batch in (await self.reader.getmany(timeout_ms=100)).values():
                self.seen.extend(batch)

    async def leave(self):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        await self.reader.stop()


async def group(assignor):
    name, group_id = topic(f"group-{assignor.name}"), topic(f"g-{assignor.name}")
    await create(name, 4)
    first = await Member().join(group_id, name, assignor)
    await until(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions")
    second = await Member().join(group_id, name, assignor)
    await until(lambda: len(first.mine) == 2 and first.mine | second.mine == {0, 1, 2, 3}, "two partitions each")
    await produce(name, [{"value": str(n).encode(), "partition": n % 4} for n in range(40)])
    await until(lambda: len(first.seen) + len(second.seen) >= 40, "all records")
    equal(sorted(int(r.value) for r in first.seen + second.seen), list(range(40)), "records, each once")
    equal({r.partition for r in first.seen} & {r.partition for r in second.seen}, set(), "partitions of both")
    await second.leave()
    await until(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions again")
    await produce(name, [{"value": b"more", "partition": p} for p in range(4)])
    await until(lambda: len(first.seen) + len(second.seen) >= 44, "records after the second left")
    await first.leave()


async def death():
    name, group_id = topic("death"), topic("g-death")
    await create(name, 4)
    first = await Member().join(group_id, name, RangePartitionAssignor)
    await until(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions")
    # A static member does not say that it goes: to the group it is dead once its session has expired.
    second = await Member().join(group_id, name, RangePartitionAssignor, group_instance_id="static")
    await until(lambda: len(first.mine) == 2 and first.mine | second.mine == {0, 1, 2, 3}, "two partitions each")
    start = time.monotonic()
    await second.leave()
    await until(lambda: first.mine == {0, 1, 2, 3}, "the first member has all partitions again")
    equal(time.monotonic() - start > 3, True, "the second was missed, it did not leave")
    await first.leave()


async def commit_and_resume():
    name, group_id = topic("resume"), topic("g-resume")
    position = TopicPartition(name, 0)
    await create(name)
    await produce(name, [{"value": str(n).encode()} for n in range(30)])
    async with consumer(name, group_id=group_id, auto_offset_reset="earliest") as reader:
        await take(reader, 10)
        await reader.commit({position: OffsetAndMetadata(10, "ten read")})
        equal(await reader.committed(position), 10, "committed")
    async with consumer(name, group_id=group_id, auto_offset_reset="earliest") as reader:
        equal([int(r.value) for r in await take(reader, 20)], list(range(10, 30)), "records after the commit")
    async with admin() as client:
        offsets = await client.list_consumer_group_offsets(group_id)
        equal(offsets[position], OffsetAndMetadata(10, "ten read"), "committed, by the admin client")
    async with consumer(group_id=topic("g-never")) as reader:
        equal(await reader.committed(position), None, "a group that never committed")


async def idempotence(brokers=BROKERS):
    name = topic(f"idempotent-{brokers.rsplit(':')[-1]}")
    await create(name, 2)
    sent = await produce(name, [{"value": str(n).encode(), "partition": n % 2} for n in range(2000)],
                         enable_idempotence=True, max_batch_size=300, bootstrap_servers=brokers)
    equal(sorted(m.offset for m in sent if m.partition == 0), list(range(1000)), "offsets")
    for partition in (0, 1):
        equal([int(r.value) for r in await consume(name, 1000, partition)], list(range(partition, 2000, 2)))


async def admin_topics():
    name = topic("admin")
    equal(await create(name, 3, {"retention.ms": "3600000"}), 0, "error")
    async with admin() as client:
        async def listed():
            return name in await client.list_topics()
        await until(listed, "the topic is listed")
        description = (await client.describe_topics([name]))[0]
        equal((description["topic"], len(description["partitions"]), description["is_internal"]), (name, 3, False),
              "description")
        cluster = await client.describe_cluster()
        equal((len(cluster["brokers"]), bool(cluster["cluster_id"])), (1, True), "cluster")
    equal(await create(name), TOPIC_EXISTS, "error of a topic that exists")
    equal(await create("bad name"), INVALID_TOPIC, "error of a bad name")
    equal(await create(topic("rf"), 1, replicas=9), INVALID_RF, "error of too many replicas")
    equal(await create(topic("cfg"), 1, {"retention.ms": "x"}), INVALID_CONFIG, "error of a bad setting")


async def admin_configs():
    name = topic("configs")
    await create(name, 1, {"retention.ms": "3600000"})
    async with admin() as client:
        async def settings():
            answer = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            values = {entry[0]: entry[1] for entry in answer[0].resources[0][4]}
            return values["retention.ms"], values["segment.bytes"]

        async def alter(**configs):
            change = ConfigResource(ConfigResourceType.TOPIC, name, {k.replace("_", "."): v for k, v in configs.items()})
            return (await client.alter_configs([change]))[0].resources[0][0]
        equal(await settings(), ("3600000", "1073741824"), "settings")
        # aiokafka knows only the old way, which replaces all settings.
        equal(await alter(segment_bytes="1048576"), 0, "error")
        equal(await settings(), ("604800000", "1048576"), "settings")
        equal(await alter(nonsense="1"), INVALID_CONFIG, "error of an unknown setting")


async def admin_partitions():
    name = topic("grow")
    await create(name, 1)
    async with admin() as client:
        answer = await client.create_partitions({name: NewPartitions(3)})
        equal(answer.topic_errors[0][1], 0, "error")

        async def three():
            return len((await client.describe_topics([name]))[0]["partitions"]) == 3
        await until(three, "three partitions")
        await produce(name, [{"value": b"x", "partition": 2}])
        equal((await consume(name, 1, 2))[0].value, b"x")
        try:
            await client.create_partitions({name: NewPartitions(2)})
        except InvalidPartitionsError:
            pass
        else:
            raise AssertionError("partitions were taken away")


async def admin_delete():
    name = topic("delete")
    await create(name, 2)
    await produce(name, [{"value": b"old", "partition": 0}])
    async with admin() as client:
        equal((await client.delete_topics([name])).topic_error_codes[0][1], 0, "error")

        async def gone():
            return name not in await client.list_topics()
        await until(gone, "the topic is gone")
        equal((await client.delete_topics([name])).topic_error_codes[0][1], UNKNOWN_TOPIC, "error")
    equal(await create(name), 0, "error")
    await produce(name, [{"value": b"new"}])
    equal((await consume(name, 1))[0].value, b"new")


async def admin_delete_records():
    name = topic("delete-records")
    await create(name)
    await produce(name, [{"value": str(n).encode()} for n in range(10)])
    position = TopicPartition(name, 0)
    async with admin() as client:
        equal(await client.delete_records({position: RecordsToDelete(4)}), {position: 4}, "the first offsets")
    equal([int(r.value) for r in await consume(name, 6)], list(range(4, 10)), "what is left")


async def admin_groups():
    name, group_id = topic("groups"), topic("g-groups")
    await create(name)
    await produce(name, [{"value": b"x"}])
    async with consumer(name, group_id=group_id, auto_offset_reset="earliest") as reader, admin() as client:
        await take(reader, 1)
        equal((group_id, "consumer") in await client.list_consumer_groups(), True, "the group is listed")
        error, described, state, kind, protocol, members, *_ = (await client.describe_consumer_groups([group_id]))[0].groups[0]
        equal((error, described, state, kind, protocol, len(members)),
              (0, group_id, "Stable", "consumer", "roundrobin", 1), "description")
        await reader.commit({TopicPartition(name, 0): OffsetAndMetadata(1, "one read")})
        offsets = await client.list_consumer_group_offsets(group_id)
        equal(offsets, {TopicPartition(name, 0): OffsetAndMetadata(1, "one read")}, "offsets")


async def auto_creation():
    name = topic("auto")
    await produce(name, [{"value": b"x"}])
    equal((await consume(name, 1))[0].value, b"x")


checks = Checks("aiokafka")


def check(name, function, *args):
    checks.check(name, lambda: asyncio.run(function(*args)))


for c in CODECS:
    for a in ACKS:
        check(f"codec {c}, acks {'all' if a < 0 else a}", codec, c, a)
check("headers, repeated keys", headers)
check("null and empty keys and values", nulls)
check("large record", large)
check("too large record is refused, the next one stored", too_large)
check("seek by time", seek_by_time)
check("read_committed", read_committed)
check("offset out of range", reset)
for s in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor):
    check(f"group of two, {s.name}", group, s)
check("a member dies", death)
check("commit and resume", commit_and_resume)
check("transactions, committed and aborted", transactions)
check("transactions: read, transform, write", pipeline)
check("idempotence", idempotence)
if CUT:
    check("idempotence when connections break", idempotence, CUT)
if VICTIM:
    check("the server is killed while it is written to and read", breaks.killed)
    check("transactions: aborted when connections break", breaks.aborted)
check("admin: create, list, describe, errors", admin_topics)
check("admin: describe and alter configs", admin_configs)
check("admin: add partitions", admin_partitions)
check("admin: delete and create again", admin_delete)
check("admin: delete records", admin_delete_records)
check("admin: groups and their offsets", admin_groups)
check("auto-creation", auto_creation)
checks.done()
