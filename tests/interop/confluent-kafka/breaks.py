"""confluent-kafka while its server is killed, and transactions whose connections break."""

import time

from checks import VICTIM, VICTIM_CUT, ask, broken, equal, topic
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BASE = {"bootstrap.servers": VICTIM, "reconnect.backoff.max.ms": 500}


def create(name):
    # Its answers end with it.
    admin = AdminClient(BASE)
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)


def poll(consumer, values, enough, seconds=120):
    """Reads until there is enough; errors are of connections, which the client mends itself."""
    deadline = time.monotonic() + seconds
    while not enough():
        equal(time.monotonic() < deadline, True, f"{len(values)} records in time")
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            values.append(int(message.value()))


def read(name, partition, count, **options):
    """All that is in a partition, which must be so many records."""
    consumer = Consumer({**BASE, "group.id": topic("reader"), **options})
    try:
        consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING)])
        values = []
        poll(consumer, values, lambda: len(values) >= count)
        return values, consumer.get_watermark_offsets(TopicPartition(name, partition), 30)
    finally:
        consumer.close()


def killed():
    name, group = topic("killed"), topic("g-killed")
    create(name)
    options = {**BASE, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    producer = Producer({**BASE, "enable.idempotence": True, "acks": "all", "linger.ms": 1, "batch.num.messages": 10})
    delivered = []

    def send(first, last):
        for n in range(first, last):
            producer.produce(name, str(n).encode(), partition=n % 2,
                             on_delivery=lambda error, message: delivered.append(error or int(message.value())))
            producer.poll(0)

    member, seen = Consumer(options), []
    member.subscribe([name])
    send(0, 100)
    poll(member, seen, lambda: len(seen) >= 40)
    stands = {p.partition: p.offset for p in member.commit(asynchronous=False)}
    send(100, 200)
    ask("kill")
    asker = Consumer(options)
    committed = {p.partition: p.offset for p in asker.committed([TopicPartition(name, n) for n in stands], 30)}
    asker.close()
    equal(committed, stands, "where the group stands after the kill")
    poll(member, seen, lambda: len(set(seen)) >= 200)
    send(200, 300)
    ask("kill")
    equal(producer.flush(60), 0, "records left")
    equal(sorted(delivered, key=str), sorted(range(300), key=str), "what was acknowledged")
    poll(member, seen, lambda: len(set(seen)) >= 300)
    member.commit(asynchronous=False)
    member.close()
    for partition in (0, 1):
        equal(read(name, partition, 150), (list(range(partition, 300, 2)), (0, 150)), "each record once, in order")
    producer.produce(name, b"300", partition=0)
    equal(producer.flush(30), 0, "records left")
    member, seen = Consumer(options), []
    member.subscribe([name])
    poll(member, seen, lambda: seen)
    member.close()
    equal(seen, [300], "what the group reads after its commit")


def aborted():
    """Connections break before the records are acknowledged, or take along the answer to the abort."""
    name = topic("aborted")
    create(name)
    producer = Producer({**BASE, "bootstrap.servers": VICTIM_CUT, "transactional.id": name, "linger.ms": 1})
    producer.init_transactions(30)
    committed = []
    for n, how in enumerate(["cut", "lose", "", "lose", "cut", ""]):
        values = range(20 * n, 20 * n + 20)
        producer.begin_transaction()
        for value in values:
            producer.produce(name, str(value).encode(), partition=value % 2)
            producer.poll(0)
        if how == "cut":
            broken("cut")
        else:
            producer.flush(30)
        if how == "lose":
            broken("lose")
        if how:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)
            committed.extend(values)
    for partition in (0, 1):
        values, _ = read(name, partition, 20, **{"isolation.level": "read_committed"})
        equal(values, committed[partition::2], "what is committed")
