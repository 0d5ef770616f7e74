"""Stock clients over TLS: kcat, confluent-kafka, kafka-python and aiokafka, with certificates and with passwords and tokens.

TIDELOG_SSL and TIDELOG_SASL_SSL are the listeners, TIDELOG_PEM the folder that `certificates` has filled and whose `server.pem` and
`server.key` are the server's, TIDELOG_ADMIN_PASSWORD the password of the super user `admin`, TIDELOG_ADMIN_TOKEN a token of his.
"""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import time

import aiokafka
from checks import Checks, equal, topic, wait_for
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType,
)
from kafka import KafkaConsumer, KafkaProducer

SSL = os.environ["TIDELOG_SSL"]
SASL_SSL = os.environ["TIDELOG_SASL_SSL"]
PEM = os.environ["TIDELOG_PEM"]
PASSWORD = os.environ["TIDELOG_ADMIN_PASSWORD"]
TOKEN = os.environ["TIDELOG_ADMIN_TOKEN"]
TOPIC = topic("sealed")
# Longer than any handshake may take, s.
HANDSHAKE = 15


def pem(name):
    return os.path.join(PEM, name)


def with_certificate(name, ca="ca", **more):
    """Settings of librdkafka; without a name no certificate is shown."""
    shown = {"ssl.certificate.location": pem(f"{name}.pem"), "ssl.key.location": pem(f"{name}.key")} if name else {}
    return {
        "bootstrap.servers": SSL, "security.protocol": "SSL", "ssl.ca.location": pem(f"{ca}.pem"), **shown,
        **{key.replace("_", "."): value for key, value in more.items()},
    }


def with_password(mechanism, **more):
    settings = {
        "bootstrap.servers": SASL_SSL, "security.protocol": "SASL_SSL", "ssl.ca.location": pem("ca.pem"),
        "sasl.mechanism": mechanism, **{key.replace("_", "."): value for key, value in more.items()},
    }
    if mechanism == "OAUTHBEARER":
        return {**settings, "oauth_cb": lambda _config: (TOKEN, time.time() + 3000)}
    return {**settings, "sasl.username": "admin", "sasl.password": PASSWORD}


ADMIN = AdminClient(with_password("SCRAM-SHA-512"))


def produce(settings, value=b"x"):
    """The error of one record, or None."""
    errors = []
    producer = Producer(settings)
    producer.poll(0)
    producer.produce(TOPIC, value, on_delivery=lambda error, _message: errors.append(error))
    equal(producer.flush(90), 0, "records left")
    return errors[0] and errors[0].code()


def rules():
    ADMIN.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
    everything = [
        AclBinding(kind, "*", ResourcePatternType.LITERAL, "User:alice", "*", AclOperation.ALL, AclPermissionType.ALLOW)
        for kind in (ResourceType.TOPIC, ResourceType.GROUP)
    ]
    for done in ADMIN.create_acls(everything).values():
        done.result(30)
    equal(produce(with_certificate("alice")), None, "alice")
    # `bob` is somebody, and no rule allows him anything.
    equal(produce(with_certificate("bob")), KafkaError.TOPIC_AUTHORIZATION_FAILED, "bob")


def confluent():
    large = os.urandom(900_000)
    for settings in [with_certificate("alice"), with_password("PLAIN"), with_password("OAUTHBEARER")]:
        equal(produce(settings, large), None, settings["security.protocol"])
    consumer = Consumer(with_certificate("alice", group_id=topic("g"), auto_offset_reset="earliest"))
    consumer.subscribe([TOPIC])
    values = []

    def found():
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            values.append(message.value())
        return values.count(large) == 3

    wait_for(found, "three large records")
    consumer.close()


def refused(settings):
    client = AdminClient(settings)
    try:
        client.list_topics(timeout=3)
    except KafkaException:
        client.poll(0)
        return
    raise AssertionError(f"{settings} got in")


def strangers():
    refused(with_certificate(None))
    refused(with_certificate("mallory"))
    refused(with_certificate("expired"))
    refused(with_certificate("alice", ca="other"))
    refused({"bootstrap.servers": SSL})
    refused({**with_certificate("alice"), "bootstrap.servers": os.environ["TIDELOG_KAFKA"]})


def kcat():
    by_certificate = [
        "kcat", "-b", SSL, "-X", "security.protocol=ssl", "-X", f"ssl.ca.location={pem('ca.pem')}",
        "-X", f"ssl.certificate.location={pem('alice.pem')}", "-X", f"ssl.key.location={pem('alice.key')}",
    ]
    # Not by SCRAM: before 2.6 librdkafka sends its nonce twice, which Kafka refuses since CVE-2024-56128, and so do we.
    by_password = [
        "kcat", "-b", SASL_SSL, "-X", "security.protocol=sasl_ssl", "-X", f"ssl.ca.location={pem('ca.pem')}",
        "-X", "sasl.mechanism=PLAIN", "-X", "sasl.username=admin", "-X", f"sasl.password={PASSWORD}",
    ]
    for name, command in [(topic("kcat-c"), by_certificate), (topic("kcat-p"), by_password)]:
        lines = b"".join(b"%d\n" % number for number in range(1000))
        subprocess.run([*command, "-P", "-t", name], input=lines, check=True, timeout=90)
        read = subprocess.run([*command, "-C", "-e", "-o", "beginning", "-t", name], capture_output=True, check=True, timeout=90)
        equal(sorted(read.stdout.split()), sorted(lines.split()), "lines")


def kafka_python():
    trusted = {"ssl_cafile": pem("ca.pem")}
    sasl = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "admin", "sasl_plain_password": PASSWORD}
    shown = {"ssl_certfile": pem("alice.pem"), "ssl_keyfile": pem("alice.key")}
    for options in [
        {"bootstrap_servers": SSL, "security_protocol": "SSL", **trusted, **shown},
        {"bootstrap_servers": SASL_SSL, "security_protocol": "SASL_SSL", **trusted, **sasl},
    ]:
        wanted = options["security_protocol"].encode()
        producer = KafkaProducer(**options)
        producer.send(TOPIC, wanted).get(90)
        producer.close()
        consumer = KafkaConsumer(TOPIC, auto_offset_reset="earliest", group_id=topic("py"), **options)
        values = []

        def found(consumer=consumer, values=values, wanted=wanted):
            for records in consumer.poll(timeout_ms=500).values():
                values.extend(record.value for record in records)
            return wanted in values

        wait_for(found, options["security_protocol"])
        consumer.close()


def aio_kafka():
    async def send():
        trusting = ssl.create_default_context(cafile=pem("ca.pem"))
        showing = ssl.create_default_context(cafile=pem("ca.pem"))
        showing.load_cert_chain(pem("alice.pem"), pem("alice.key"))
        for options in [
            {"bootstrap_servers": SSL, "security_protocol": "SSL", "ssl_context": showing},
            {
                "bootstrap_servers": SASL_SSL, "security_protocol": "SASL_SSL", "ssl_context": trusting,
                "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": "admin", "sasl_plain_password": PASSWORD,
            },
        ]:
            producer = aiokafka.AIOKafkaProducer(**options)
            await producer.start()
            await producer.send_and_wait(TOPIC, b"aio")
            await producer.stop()

    asyncio.run(send())


def served():
    """The certificate that a new connection sees."""
    host, port = SASL_SSL.rsplit(":", 1)
    return ssl.get_server_certificate((host, int(port)), timeout=60)


def renewal():
    before = served()
    producer = Producer(with_password("PLAIN"))
    errors = []

    def send():
        producer.produce(TOPIC, b"y", on_delivery=lambda error, _message: errors.append(error))
        equal(producer.flush(90), 0, "records left")

    send()
    for end in ("key", "pem"):
        shutil.copyfile(pem(f"renewed.{end}"), pem(f"server.{end}"))
    wait_for(lambda: served() != before, "the new certificate")
    send()
    equal(errors, [None, None], "errors of a connection that was there before")
    equal(produce(with_password("PLAIN")), None, "a new connection")


def slow_handshakes():
    host, port = SSL.rsplit(":", 1)
    silent = [socket.create_connection((host, int(port)), timeout=HANDSHAKE) for _ in range(200)]
    # Half of them begin and never go on.
    for one in silent[::2]:
        one.send(b"\x16\x03\x01\x02\x00")
    equal(produce(with_certificate("alice")), None, "a client among them")
    for one in silent:
        # An alert may come first.
        while one.recv(100):
            pass
        one.close()


CHECKS = Checks("tls")
CHECKS.check("a certificate is a principal, and access rules hold for it", rules)
CHECKS.check("confluent-kafka by certificate, password and token", confluent)
CHECKS.check("strangers, other authorities, expired ones and plaintext stay outside", strangers)
CHECKS.check("kcat by certificate and by password", kcat)
CHECKS.check("kafka-python by certificate and by password", kafka_python)
CHECKS.check("aiokafka by certificate and by password", aio_kafka)
CHECKS.check("a renewed certificate holds without a restart", renewal)
CHECKS.check("handshakes that do not go on end, and hold nobody up", slow_handshakes)
CHECKS.done()
