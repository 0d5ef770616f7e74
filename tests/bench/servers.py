"""Servers under test: Tidelog and Apache Kafka, each started on free ports in a folder of its own, and what they cost."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
# ApiVersions version 0, correlation id 1, client id "b": the first thing that any client asks.
API_VERSIONS = bytes.fromhex("0000000b" "0012" "0000" "00000001" "0001" "62")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answers(port):
    """Does a Kafka server answer its first request?"""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(API_VERSIONS)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


class Server:
    """A running server. `brokers` is where clients connect."""

    process = None

    def launch(self, folder, command, env=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(f"{folder}.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

    def until(self, ready, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self.process.returncode}; see {self.folder}.log")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} is not ready; see {self.folder}.log")
            time.sleep(0.001)
        return found

    def pid(self):
        """The server's own process: strace, if it is there, is its parent."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if self.traced else self.process.pid

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def delayed(milliseconds):
    """A prefix that adds this time to each flush; only those calls are traced."""
    calls = "fdatasync,fsync,syncfs"
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e",
            f"inject={calls}:delay_enter={milliseconds * 1000}"]


class Tidelog(Server):
    """Segments stay local: the peer has no tiering by default, and an upload would be measured with the rest."""

    topic_config = {"remote.storage.enable": "false"}

    def __init__(self, binary, durability, slow_flush=0):
        self.name = f"tidelog {durability}" + (f" +{slow_flush} ms" if slow_flush else "")
        self.command = (delayed(slow_flush) if slow_flush else []) + [
            binary, "serve", "--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--durability", durability,
            "--log", "warn"]
        self.traced = bool(slow_flush)

    def start(self, folder):
        """Seconds from the start of the process until all listeners accept."""
        begin = time.monotonic()
        self.launch(folder, [*self.command, "--data-dir", str(folder)])
        endpoints = self.folder / "endpoints.json"
        self.until(endpoints.exists)
        took = time.monotonic() - begin
        self.brokers = json.loads(endpoints.read_text())["kafka"]
        self.until(lambda: answers(int(self.brokers.rsplit(":", 1)[1])))
        return took


class Kafka(Server):
    """One node, broker and controller, 1 GiB heap. `flush` makes it flush every append, as Tidelog's `fsync` does."""

    topic_config = {}

    def __init__(self, lib, flush, slow_flush=0):
        self.name = "kafka " + ("flush.messages=1" if flush else "page-cache") + (f" +{slow_flush} ms" if slow_flush else "")
        self.java = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{lib}/*"]
        self.prefix = delayed(slow_flush) if slow_flush else []
        self.flush = flush
        self.traced = bool(slow_flush)

    def start(self, folder):
        port, controller = free_port(), free_port()
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        settings = {
            "process.roles": "broker,controller", "node.id": 1, "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}", "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT", "log.dirs": folder / "logs",
            "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1, "group.initial.rebalance.delay.ms": 0,
            **({"log.flush.interval.messages": 1} if self.flush else {}),
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        tool = [*self.java, "kafka.tools.StorageTool"]
        cluster = subprocess.run([*tool, "random-uuid"], check=True, capture_output=True, text=True).stdout.split()[-1]
        subprocess.run([*tool, "format", "-t", cluster, "-c", str(properties)], check=True, capture_output=True)
        begin = time.monotonic()
        # The same heap from start to end, as Kafka's own script has it.
        java = [self.java[0], "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", *self.java[1:]]
        self.launch(folder, [*self.prefix, *java, "kafka.Kafka", str(properties)])
        self.until(lambda: answers(port))
        self.brokers = f"127.0.0.1:{port}"
        return time.monotonic() - begin


def kafka_lib(cache):
    """Kafka's jars, fetched once; None without Java or Maven."""
    if not shutil.which("java") or not shutil.which("mvn"):
        return None
    lib = pathlib.Path(cache) / "kafka-4.3.0"
    if not (lib / "ready").exists():
        subprocess.run(["mvn", "-q", "-f", str(HERE / "kafka" / "pom.xml"), "dependency:copy-dependencies",
                        f"-DoutputDirectory={lib}"], check=True)
        (lib / "ready").touch()
    return lib
