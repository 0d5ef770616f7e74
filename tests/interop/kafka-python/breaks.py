"""kafka-python while its server is killed, and transactions whose connections break."""

import time

from checks import VICTIM, VICTIM_CUT, ask, broken, equal, topic
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic


def create(name):
    admin = KafkaAdminClient(bootstrap_servers=VICTIM)
    admin.create_topics([NewTopic(name, 2, 1)])
    admin.close()


def member(group=None, **options):
    return KafkaConsumer(bootstrap_servers=VICTIM, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, **options)


def poll(reader, values, enough, seconds=120):
    deadline = time.monotonic() + seconds
    while not enough():
        equal(time.monotonic() < deadline, True, f"{len(values)} records in time")
        for batch in reader.poll(1_000, max_records=20).values():
            values.extend(int(record.value) for record in batch)


def read(name, partition, count, **options):
    """All that is in a partition, which must be so many records, and its end."""
    reader, values, position = member(**options), [], TopicPartition(name, partition)
    try:
        reader.assign([position])
        reader.seek_to_beginning(position)
        poll(reader, values, lambda: len(values) >= count)
        return values, reader.end_offsets([position])[position]
    finally:
        reader.close()


def killed():
    name, group = topic("killed"), topic("g-killed")
    create(name)
    producer = KafkaProducer(bootstrap_servers=VICTIM, enable_idempotence=True, acks="all", batch_size=300)
    sent = []

    def send(first, last):
        sent.extend(producer.send(name, str(n).encode(), partition=n % 2) for n in range(first, last))

    reader, seen = member(group), []
    reader.subscribe([name])
    send(0, 100)
    poll(reader, seen, lambda: len(seen) >= 40)
    reader.commit()
    positions = [TopicPartition(name, n) for n in (0, 1)]
    stands = [reader.committed(position) for position in positions]
    equal(sum(offset or 0 for offset in stands), len(seen), "what is committed")
    send(100, 200)
    ask("kill")
    asker = member(group)
    equal([asker.committed(position) for position in positions], stands, "where the group stands after the kill")
    asker.close()
    poll(reader, seen, lambda: len(set(seen)) >= 200)
    send(200, 300)
    ask("kill")
    producer.flush(60)
    equal(sorted((future.get(30).partition, future.get(30).offset) for future in sent),
          [(partition, offset) for partition in (0, 1) for offset in range(150)], "what was acknowledged")
    poll(reader, seen, lambda: len(set(seen)) >= 300)
    reader.commit()
    reader.close()
    for partition in (0, 1):
        equal(read(name, partition, 150), (list(range(partition, 300, 2)), 150), "each record once, in order")
    producer.send(name, b"300", partition=0).get(30)
    producer.close(10)
    reader, seen = member(group), []
    reader.subscribe([name])
    poll(reader, seen, lambda: seen)
    reader.close()
    equal(seen, [300], "what the group reads after its commit")


def aborted():
    """Connections break before the records are acknowledged, or take along the answer to the abort."""
    name = topic("aborted")
    create(name)
    producer = KafkaProducer(bootstrap_servers=VICTIM_CUT, transactional_id=name)
    producer.init_transactions()
    committed = []
    for n, how in enumerate(["cut", "lose", "", "lose", "cut", ""]):
        values = range(20 * n, 20 * n + 20)
        producer.begin_transaction()
        for value in values:
            producer.send(name, str(value).encode(), partition=value % 2)
        if how == "cut":
            broken("cut")
        else:
            producer.flush(30)
        if how == "lose":
            broken("lose")
        if how:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            committed.extend(values)
    producer.close(10)
    for partition in (0, 1):
        values, _ = read(name, partition, 20, isolation_level="read_committed")
        equal(values, committed[partition::2], "what is committed")
