"""A proxy that loses answers. cutter.py ENDPOINTS CUTS: forwards to the listener CUT that the server names in ENDPOINTS (endpoints.json,
read when the first client comes), prints its port, and counts in CUTS how often it has cut.

Of each connection it forwards a few answers of the server; the next one it swallows and ends the connection instead. What the client asked
for has been done then, and the client cannot know. After MOST cuts it only forwards.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

MOST = 15
# Answers of a connection before the one that is lost; enough for what a client asks first.
BEFORE = (8, 30)

CHOICE = random.Random(1)
cuts = 0


async def forward(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def answers(reader, writer, left):
    global cuts
    while data := await reader.read(65536):
        left -= 1
        if left < 0 and cuts < MOST:
            cuts += 1
            Path(sys.argv[2]).write_text(f"{cuts}\n")
            return
        writer.write(data)
        await writer.drain()


async def serve(reader, writer):
    host, port = json.loads(Path(sys.argv[1]).read_text())["listeners"]["CUT"].rsplit(":", 1)
    broker_reader, broker_writer = await asyncio.open_connection(host, int(port))
    both = [
        asyncio.create_task(forward(reader, broker_writer)),
        asyncio.create_task(answers(broker_reader, writer, CHOICE.randint(*BEFORE))),
    ]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in both:
        task.cancel()
    await asyncio.gather(*both, return_exceptions=True)
    for end in (writer, broker_writer):
        end.transport.abort()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
