"""Stock clients that must say who they are: confluent-kafka, kafka-python, aiokafka and kcat at a SASL listener with access rules.

TIDELOG_SASL is the listener, TIDELOG_ADMIN_PASSWORD the password of the super user `admin`, TIDELOG_ADMIN_TOKEN a token of his.
"""

import asyncio
import os
import subprocess
import time

import aiokafka
from checks import Checks, equal, topic, wait_for
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka import KafkaConsumer, KafkaProducer

LISTENER = os.environ["TIDELOG_SASL"]
PASSWORD = os.environ["TIDELOG_ADMIN_PASSWORD"]
TOKEN = os.environ["TIDELOG_ADMIN_TOKEN"]
TOPIC = topic("orders")


def config(user, password, mechanism="SCRAM-SHA-256", **more):
    return {
        "bootstrap.servers": LISTENER,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
        **{name.replace("_", "."): value for name, value in more.items()},
    }


ADMIN = AdminClient(config("admin", PASSWORD))


def produce(settings, value=b"x"):
    """The error of one record, or None."""
    errors = []
    producer = Producer(settings)
    producer.poll(0)
    producer.produce(TOPIC, value, on_delivery=lambda error, _message: errors.append(error))
    equal(producer.flush(30), 0, "records left")
    return errors[0] and errors[0].code()


def users():
    ADMIN.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
    wanted = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192)
    change = UserScramCredentialUpsertion("alice", wanted, b"secret")
    ADMIN.alter_user_scram_credentials([change])["alice"].result(30)
    described = ADMIN.describe_user_scram_credentials(["alice"])["alice"].result(30)
    infos = [(info.mechanism, info.iterations) for info in described.scram_credential_infos]
    equal(infos, [(ScramMechanism.SCRAM_SHA_256, 8192)], "credentials")
    weak = UserScramCredentialUpsertion("weak", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 1), b"secret")
    try:
        ADMIN.alter_user_scram_credentials([weak])["weak"].result(30)
        raise AssertionError("one iteration was accepted")
    except KafkaException as error:
        equal(error.args[0].name(), "UNACCEPTABLE_CREDENTIAL", "error")


def rules():
    rule = AclBinding(
        ResourceType.TOPIC, "orders-", ResourcePatternType.PREFIXED, "User:alice", "*",
        AclOperation.WRITE, AclPermissionType.ALLOW,
    )
    equal(produce(config("alice", "secret")), KafkaError.TOPIC_AUTHORIZATION_FAILED, "before the rule")
    ADMIN.create_acls([rule])[rule].result(30)
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY,
    )
    equal(ADMIN.describe_acls(everything).result(30), [rule], "rules")
    equal(produce(config("alice", "secret")), None, "after the rule")


def what_no_rule_allows():
    consumer = Consumer(config("alice", "secret", group_id=topic("g"), auto_offset_reset="earliest"))
    consumer.subscribe([TOPIC])
    try:
        message = wait_for(lambda: consumer.poll(1), "an error")
        equal(message.error().code(), KafkaError.GROUP_AUTHORIZATION_FAILED, "the group")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.GROUP_AUTHORIZATION_FAILED, "the group")
    finally:
        consumer.close()


def confluent_mechanisms():
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        equal(produce(config("admin", PASSWORD, mechanism)), None, mechanism)
    settings = {
        "bootstrap.servers": LISTENER,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": lambda _config: (TOKEN, time.time() + 3000),
    }
    equal(produce(settings), None, "OAUTHBEARER")


def kcat():
    # Debian's has a librdkafka whose last message of SCRAM doubles its nonce.
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        options = [
            "security.protocol=SASL_PLAINTEXT", f"sasl.mechanism={mechanism}", "sasl.username=admin",
            f"sasl.password={PASSWORD}",
        ]
        command = ["kcat", "-b", LISTENER, "-L", "-t", TOPIC, "-m", "10"]
        for option in options:
            command += ["-X", option]
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60)
        equal((listed.returncode, f'topic "{TOPIC}"' in listed.stdout), (0, True), f"{mechanism}: {listed.stderr[-300:]}")


def wrong_passwords():
    for user, password in [("alice", "wrong"), ("nobody", "secret")]:
        client = AdminClient(config(user, password))
        try:
            client.list_topics(timeout=3)
            raise AssertionError(f"{user} got in")
        except KafkaException:
            client.poll(0)


def kafka_python():
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        options = {
            "bootstrap_servers": LISTENER,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
            "sasl_plain_username": "admin",
            "sasl_plain_password": PASSWORD,
        }
        producer = KafkaProducer(**options)
        producer.send(TOPIC, mechanism.encode()).get(30)
        producer.close()
        consumer = KafkaConsumer(TOPIC, auto_offset_reset="earliest", group_id=topic("py"), **options)
        values = []

        def found(consumer=consumer, values=values, wanted=mechanism.encode()):
            for records in consumer.poll(timeout_ms=500).values():
                values.extend(record.value for record in records)
            return wanted in values

        wait_for(found, mechanism)
        consumer.close()


def aio_kafka():
    async def send():
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=LISTENER, security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism,
                sasl_plain_username="admin", sasl_plain_password=PASSWORD,
            )
            await producer.start()
            await producer.send_and_wait(TOPIC, b"aio")
            await producer.stop()

    asyncio.run(send())


def removal():
    of_alice = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, "User:alice", None, AclOperation.ANY, AclPermissionType.ANY,
    )
    equal(len(ADMIN.delete_acls([of_alice])[of_alice].result(30)), 1, "removed rules")
    equal(produce(config("alice", "secret")), KafkaError.TOPIC_AUTHORIZATION_FAILED, "without the rule")
    gone = UserScramCredentialDeletion("alice", ScramMechanism.SCRAM_SHA_256)
    ADMIN.alter_user_scram_credentials([gone])["alice"].result(30)


CHECKS = Checks("sasl")
CHECKS.check("users are created and described", users)
CHECKS.check("access rules bind", rules)
CHECKS.check("what no rule allows is refused", what_no_rule_allows)
CHECKS.check("confluent-kafka by every mechanism", confluent_mechanisms)
CHECKS.check("kcat by every mechanism", kcat)
CHECKS.check("wrong passwords and unknown users stay outside", wrong_passwords)
CHECKS.check("kafka-python by every mechanism", kafka_python)
CHECKS.check("aiokafka by every mechanism", aio_kafka)
CHECKS.check("rules and users go", removal)
CHECKS.done()
