"""A server that is killed when a check asks for it. victim.py BINARY DIR: starts it with its data in DIR, and prints three addresses: of its
Kafka door, of that door behind a proxy that breaks connections, and of what is asked here, by GET:

/kill  kills the server (SIGKILL), starts it again at the same ports, and answers when it is ready.
/cut   ends every connection of the proxy at once; the answer says how many there were.
/lose  the next end of a transaction (EndTxn) is done, but its connection swallows the answer and ends: the client cannot know.

Asked to end (SIGTERM) it stops the server as an operator does, and fails with a line if that, or anything before, went wrong.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

READY = 150
STOPPED = 90

BINARY, DIR = sys.argv[1], Path(sys.argv[2])
ENDPOINTS, LOG = DIR / "endpoints.json", Path(f"{DIR}.log")
# Few partitions of the coordinators: a start reads them all.
SETTINGS = ["-s", "offsets.topic.num.partitions=3", "-s", "transaction.state.log.num.partitions=3"]


class Server:
    def __init__(self, proxy):
        self.proxy = proxy
        self.kafka = self.behind = "127.0.0.1:0"
        self.process = None

    async def spawn(self):
        listen = ["--kafka-listen", self.kafka, "--kafka-listen", f"CUT=PLAINTEXT://{self.behind}"]
        with LOG.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                BINARY, "serve", "--data-dir", DIR, "--http-listen", "127.0.0.1:0", *listen, "--kafka-advertise", f"CUT={self.proxy}",
                *SETTINGS, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=log)

    async def start(self):
        ENDPOINTS.unlink(missing_ok=True)
        began = LOG.stat().st_size if LOG.exists() else 0
        await self.spawn()
        async with asyncio.timeout(READY):
            while not (ENDPOINTS.exists() and ENDPOINTS.stat().st_size):
                if self.process.returncode is not None:
                    said = LOG.read_bytes()[began:].decode()
                    # Somebody else may have been given its port meanwhile, for a moment.
                    if "in use" not in said:
                        sys.exit(f"the server ended at its start: {said[-1000:]}")
                    await self.spawn()
                await asyncio.sleep(0.02)
        listeners = json.loads(ENDPOINTS.read_text())["listeners"]
        self.kafka, self.behind = listeners["PLAINTEXT"], listeners["CUT"]

    async def kill(self):
        self.process.kill()
        await self.process.wait()
        await self.start()

    async def stop(self):
        self.process.terminate()
        async with asyncio.timeout(STOPPED):
            return await self.process.wait()


class Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client, server):
        self.ends = (client, server)
        self.swallows = False

    def cut(self):
        for end in self.ends:
            end.transport.abort()


CONNECTIONS = set()
# The number of EndTxn in Kafka's protocol.
END_TXN = 26
losing = False
lost = asked_to_lose = 0


async def requests(reader, writer, connection):
    """Request by request, so that the one is found whose answer is to be lost."""
    global losing
    while True:
        length = await reader.readexactly(4)
        body = await reader.readexactly(int.from_bytes(length))
        if losing and int.from_bytes(body[:2]) == END_TXN:
            losing, connection.swallows = False, True
        writer.write(length + body)
        await writer.drain()


async def answers(reader, writer, connection):
    global lost
    while data := await reader.read(65536):
        if connection.swallows:
            lost += 1
            return
        writer.write(data)
        await writer.drain()


async def forward(server, reader, writer):
    try:
        host, port = server.behind.rsplit(":", 1)
        broker_reader, broker_writer = await asyncio.open_connection(host, int(port))
    except OSError:
        writer.transport.abort()
        return
    connection = Connection(writer, broker_writer)
    CONNECTIONS.add(connection)
    both = [
        asyncio.create_task(requests(reader, broker_writer, connection)),
        asyncio.create_task(answers(broker_reader, writer, connection)),
    ]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in both:
        task.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    connection.cut()
    CONNECTIONS.discard(connection)


async def asked(server, path):
    global losing, asked_to_lose
    if path == "/kill":
        await server.kill()
        return "killed"
    if path == "/cut":
        connections = list(CONNECTIONS)
        for connection in connections:
            connection.cut()
        return str(len(connections))
    if path == "/lose":
        asked_to_lose += 1
        losing = True
        return str(len(CONNECTIONS))
    return None


async def answer(server, reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    text = await asked(server, head.split()[1].decode())
    status, body = ("404 Not Found", "") if text is None else ("200 OK", text)
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    await writer.drain()
    writer.close()


async def main():
    DIR.mkdir()
    address = lambda listener: "127.0.0.1:%d" % listener.sockets[0].getsockname()[1]  # noqa: E731
    # Both know the server only when somebody comes.
    proxy = await asyncio.start_server(lambda reader, writer: forward(server, reader, writer), "127.0.0.1", 0)
    control = await asyncio.start_server(lambda reader, writer: answer(server, reader, writer), "127.0.0.1", 0)
    server = Server(address(proxy))
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    try:
        await server.start()
        print(server.kafka, address(proxy), address(control), flush=True)
        await end.wait()
        status = await server.stop()
    finally:
        if server.process and server.process.returncode is None:
            server.process.kill()
    wrong = [line for line in LOG.read_text().splitlines() if " ERROR " in line or "panicked" in line]
    if status:
        sys.exit(f"it ended with status {status}")
    if wrong:
        sys.exit(f"it logged: {wrong[0][:400]}")
    if lost < asked_to_lose:
        sys.exit(f"{asked_to_lose} times an answer was to be lost, {lost} were")


asyncio.run(main())
