"""aiokafka while its server is killed, and transactions whose connections break."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from checks import VICTIM, VICTIM_CUT, ask, broken, equal, topic


async def create(name):
    admin = AIOKafkaAdminClient(bootstrap_servers=VICTIM)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1)])
    await admin.close()


async def member(*topics, group=None, **options):
    reader = AIOKafkaConsumer(*topics, bootstrap_servers=VICTIM, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                              **options)
    await reader.start()
    return reader


async def poll(reader, values, enough, seconds=120):
    deadline = time.monotonic() + seconds
    while not enough():
        equal(time.monotonic() < deadline, True, f"{len(values)} records in time")
        for batch in (await reader.getmany(timeout_ms=100, max_records=20)).values():
            values.extend(int(record.value) for record in batch)


async def read(name, partition, count, **options):
    """All that is in a partition, which must be so many records, and its end."""
    reader, values, position = await member(**options), [], TopicPartition(name, partition)
    try:
        reader.assign([position])
        await reader.seek_to_beginning(position)
        await poll(reader, values, lambda: len(values) >= count)
        return values, (await reader.end_offsets([position]))[position]
    finally:
        await reader.stop()


async def killed():
    name, group = topic("killed"), topic("g-killed")
    await create(name)
    producer = AIOKafkaProducer(bootstrap_servers=VICTIM, enable_idempotence=True, acks="all", max_batch_size=300)
    await producer.start()
    sent = []

    async def send(first, last):
        for n in range(first, last):
            sent.append(await producer.send(name, str(n).encode(), partition=n % 2))

    reader, seen = await member(name, group=group), []
    await send(0, 100)
    await poll(reader, seen, lambda: len(seen) >= 40)
    await reader.commit()
    positions = [TopicPartition(name, n) for n in (0, 1)]
    stands = [await reader.committed(position) for position in positions]
    equal(sum(offset or 0 for offset in stands), len(seen), "what is committed")
    more = asyncio.create_task(send(100, 200))
    await asyncio.to_thread(ask, "kill")
    asker = await member(group=group)
    equal([await asker.committed(position) for position in positions], stands, "where the group stands after the kill")
    await asker.stop()
    await more
    await poll(reader, seen, lambda: len(set(seen)) >= 200)
    more = asyncio.create_task(send(200, 300))
    await asyncio.to_thread(ask, "kill")
    await more
    acknowledged = [await asyncio.wait_for(one, 60) for one in sent]
    equal(sorted((one.partition, one.offset) for one in acknowledged),
          [(partition, offset) for partition in (0, 1) for offset in range(150)], "what was acknowledged")
    await poll(reader, seen, lambda: len(set(seen)) >= 300)
    await reader.commit()
    await reader.stop()
    for partition in (0, 1):
        equal(await read(name, partition, 150), (list(range(partition, 300, 2)), 150), "each record once, in order")
    await producer.send_and_wait(name, b"300", partition=0)
    await producer.stop()
    reader, seen = await member(name, group=group), []
    await poll(reader, seen, lambda: seen)
    await reader.stop()
    equal(seen, [300], "what the group reads after its commit")


async def aborted():
    """Connections break before the records are acknowledged, or take along the answer to the abort."""
    name = topic("aborted")
    await create(name)
    producer = AIOKafkaProducer(bootstrap_servers=VICTIM_CUT, transactional_id=name)
    await producer.start()
    committed = []
    for n, how in enumerate(["cut", "lose", "", "lose", "cut", ""]):
        values = range(20 * n, 20 * n + 20)
        await producer.begin_transaction()
        for value in values:
            await producer.send(name, str(value).encode(), partition=value % 2)
        if how == "cut":
            await asyncio.to_thread(broken, "cut")
        else:
            await producer.flush()
        if how == "lose":
            await asyncio.to_thread(broken, "lose")
        if how:
            await producer.abort_transaction()
        else:
            await producer.commit_transaction()
            committed.extend(values)
    await producer.stop()
    for partition in (0, 1):
        values, _ = await read(name, partition, 20, isolation_level="read_committed")
        equal(values, committed[partition::2], "what is committed")
