"""The Grafana dashboard: read by Grafana's own schema, and each of its queries answered by a real Prometheus that scrapes a server at work.

TIDELOG_HTTP serves the metrics, PROMETHEUS is its binary, SCHEMA the program of main.go, DASHBOARD the file. The server has segments so small
that they are uploaded, and quotas so low that clients are held up: nothing on the dashboard may stay empty."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from checks import BROKERS, Checks, equal, topic, wait_for
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

HTTP = os.environ["TIDELOG_HTTP"]
# What Grafana puts in their places: a rate's interval is at least four scrapes.
RATE_INTERVAL, INSTANCE = "5s", "$instance"
# What happens only when something is wrong: these may be empty, though they must be answered.
RARE = ("transactions_timed_out", "transactions_fenced", "transactions_failed_verifications", "transactions_refused_markers")
EVENTS = topic("events").replace("-", "_")


def ask(base, path, body=None, method=None):
    call = urllib.request.Request(base + path, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(call, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def schema():
    """A line for each query, or what Grafana would say."""
    found = subprocess.run([os.environ["SCHEMA"], os.environ["DASHBOARD"]], capture_output=True, text=True, check=False)
    if found.returncode:
        raise AssertionError(found.stderr)
    return [json.loads(line) for line in found.stdout.splitlines()]


def read(path):
    """What the server has there. The run lets this address open a few connections per second only, at whatever door: the others are
    closed, and show in the dashboard."""

    def answer():
        try:
            with urllib.request.urlopen(HTTP + path, timeout=30) as found:
                return found.read()
        except (ConnectionResetError, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            return None

    return wait_for(answer, f"an answer of {path}", 120)


class Work(threading.Thread):
    """Everything that the dashboard shows, again and again until it is told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopping, self.error = threading.Event(), None

    def run(self):
        try:
            settings = {"tidelog.table.enable": "true", "tidelog.table.flush.interval.ms": "200", "remote.storage.enable": "true",
                        "internal.segment.bytes": "16384", "local.retention.bytes": "1"}
            ask(HTTP, "/v1/topics", json.dumps({"name": EVENTS, "partitions": 1, "config": settings}).encode())
            # Over its quota, so that it is held up: what it has not sent within a second comes in the next round.
            producer = Producer({"bootstrap.servers": BROKERS, "client.id": "limited", "linger.ms": 5, "batch.size": 4000})
            transactional = Producer({"bootstrap.servers": BROKERS, "transactional.id": topic("transactions")})
            transactional.init_transactions(120)
            while not self.stopping.is_set():
                self.once(producer)
                for end in (transactional.commit_transaction, transactional.abort_transaction):
                    transactional.begin_transaction()
                    transactional.produce(EVENTS, b"{}", partition=0)
                    end(120)
        except Exception as error:  # noqa: BLE001: the check's own thread reports it
            self.error = error

    @staticmethod
    def once(producer):
        # More connections than the address may open in the eleven seconds that count.
        for _ in range(60):
            with socket.create_connection(BROKERS.split(":")):
                pass
        for n in range(200):
            producer.produce(EVENTS, json.dumps({"n": n, "text": "x" * 100}).encode(), partition=0)
        producer.flush(1)
        # In a group that stays behind, and from the beginning, where segments are cold.
        reader = Consumer({"bootstrap.servers": BROKERS, "group.id": topic("slow"), "enable.auto.commit": False})
        reader.assign([TopicPartition(EVENTS, 0, OFFSET_BEGINNING)])
        messages = reader.consume(100, 5)
        if messages:
            reader.commit(offsets=[TopicPartition(EVENTS, 0, 1)], asynchronous=False)
            # An answer with an error, on a connection that is there.
            reader.list_topics("no/topic", 30)
        reader.close()
        read("/v1/topics")


def member():
    """A member of a group that polls for as long as the process lives."""
    consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": topic("member"), "auto.offset.reset": "earliest"})
    consumer.subscribe([EVENTS])
    while True:
        consumer.poll(0.2)


class Prometheus:
    """Scrapes the server every second."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        config = Path(self.folder.name, "prometheus.yml")
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "tidelog", "static_configs": [{"targets": [HTTP.removeprefix("http://")]}]}],
        }))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        command = [os.environ["PROMETHEUS"], f"--config.file={config}", f"--storage.tsdb.path={self.folder.name}/data",
                   f"--web.listen-address={address}", "--log.level=error"]
        self.process, self.base = subprocess.Popen(command), f"http://{address}"

        def ready():
            equal(self.process.poll(), None, "Prometheus's end")
            try:
                with urllib.request.urlopen(f"{self.base}/-/ready", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False
        wait_for(ready, "Prometheus is ready")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.folder.cleanup()

    def get(self, path, **query):
        answer = ask(self.base, f"{path}?{urllib.parse.urlencode(query)}")
        equal(answer["status"], "success", "the answer's status")
        return answer["data"]

    def samples(self, expression):
        """How many numbers the last fifteen seconds of a panel would show."""
        now = time.time()
        found = self.get("/api/v1/query_range", query=expression, start=now - 15, end=now, step=1)["result"]
        return sum(not math.isnan(float(value)) for series in found for _, value in series["values"])


def filled(instance, expression):
    return expression.replace("$__rate_interval", RATE_INTERVAL).replace(INSTANCE, instance)


def every_panel():
    queries = schema()
    equal(len(queries) > 30, True, "there are queries")
    work = Work()
    work.start()
    threading.Thread(target=member, daemon=True).start()
    with Prometheus() as prometheus:
        often = [one for one in queries if not any(name in one["expr"] for name in RARE)]
        empty = {one["expr"]: one["panel"] for one in often}

        def nothing_is_empty():
            if work.error:
                raise work.error
            for expression in list(empty):
                if prometheus.samples(filled(".*", expression)):
                    del empty[expression]
            return not empty
        try:
            wait_for(nothing_is_empty, "every panel shows something", 180)
        except AssertionError:
            raise AssertionError(f"panels that stay empty: {sorted(set(empty.values()))}: {list(empty)}") from None
        # The variable: its values, and what is shown of the one that is chosen.
        match = {"match[]": "tidelog_kafka_requests_total"}
        instances = prometheus.get("/api/v1/label/instance/values", **match)
        equal(instances, [HTTP.removeprefix("http://")], "the variable's values")
        for one in queries:
            equal(prometheus.samples(filled("another", one["expr"])), 0, f"{one['panel']} of another instance")
        for one in often:
            # Not all of it happens in any fifteen seconds of a busy machine.
            expression = filled(instances[0], one["expr"])
            wait_for(lambda expression=expression: prometheus.samples(expression) > 0, f"{one['panel']} of one instance")
    work.stopping.set()
    work.join(180)
    equal((work.error, work.is_alive()), (None, False), "the work's end")


def metrics_are_well_formed():
    text = read("/metrics")
    tool = Path(os.environ["PROMETHEUS"]).with_name("promtool")
    found = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, check=False)
    equal((found.returncode, found.stderr.decode() + found.stdout.decode()), (0, ""), "promtool's word")


def main():
    checks = Checks("dashboard")
    checks.check("Grafana's schema", schema)
    checks.check("Prometheus answers every query of every panel", every_panel)
    checks.check("metrics as Prometheus wants them", metrics_are_well_formed)
    checks.done()


if __name__ == "__main__":
    sys.exit(main())
