"""blocks.py README FOLDER: writes FOLDER/NAME.sh for each block marked `<!-- interop: NAME … -->` and FOLDER/names, a line each, the
fields separated by tabs, `-` for none: name, `serves` or `runs`, the Kafka and HTTP addresses it is for, the block that serves them, the
text it must print.
Addresses of a default server become those of KAFKA, HTTP and DATA, or of the server that the block is `at`."""

import os
import re
import socket
import sys

MARKER = re.compile(r"<!-- interop: (?P<name>[a-z0-9-]+)(?P<serves> serves)?(?: at (?P<at>[a-z0-9-]+))?(?: prints (?P<text>.+?))? -->")


def blocks(lines):
    marker, block = None, None
    for number, line in enumerate(lines, 1):
        if block is not None:
            if line.startswith("```"):
                yield marker, "\n".join(block) + "\n"
                marker, block = None, None
            else:
                block.append(line)
        elif line.startswith("```"):
            block = [] if marker else None
            if not marker:
                skip_to_end(lines, number)
        else:
            found = MARKER.fullmatch(line.strip())
            if marker and not found:
                sys.exit(f"line {number}: the marker of {marker['name']} is not followed by a block")
            if not found and line.startswith("<!-- interop:"):
                sys.exit(f"line {number}: no marker that is understood: {line}")
            marker = found or None


def skip_to_end(lines, number):
    """An unmarked block may contain anything, markers too: blank it."""
    for index in range(number, len(lines)):
        ends = lines[index].startswith("```")
        lines[index] = ""
        if ends:
            return


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1:%d" % server.getsockname()[1]


def substituted(text, kafka, http):
    stands_for = {
        "127.0.0.1:8082": http,
        "127.0.0.1:9092": kafka,
        "localhost:8082": http,
        "localhost:9092": kafka,
        "./tidelog-data": os.environ["DATA"],
        "tidelog-data": os.environ["DATA"],
    }
    pattern = re.compile("|".join(re.escape(text) for text in stands_for))
    return pattern.sub(lambda found: stands_for[found.group()], text)


def main(readme, folder):
    with open(readme, encoding="utf-8") as file:
        lines = file.read().split("\n")
    # By the name of the block that starts them; None is the server that runs already.
    servers = {None: (os.environ["KAFKA"], os.environ["HTTP"].removeprefix("http://"))}
    names = set()
    with open(os.path.join(folder, "names"), "w", encoding="utf-8") as index:
        for marker, text in blocks(lines):
            name = marker["name"]
            if name in names:
                sys.exit(f"two blocks are named {name}")
            names.add(name)
            if marker["serves"]:
                servers[name] = (free_address(), free_address())
            server = servers.get(name if marker["serves"] else marker["at"])
            if server is None:
                sys.exit(f"{name} is at {marker['at']}, which no block before it serves")
            with open(os.path.join(folder, f"{name}.sh"), "w", encoding="utf-8") as file:
                file.write(substituted(text, *server))
            kind = "serves" if marker["serves"] else "runs"
            index.write("\t".join([name, kind, *server, marker["at"] or "-", marker["text"] or "-"]) + "\n")


main(*sys.argv[1:])
