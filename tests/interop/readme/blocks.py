"""blocks.py README FOLDER: writes FOLDER/NAME.sh for each block marked `<!-- interop: NAME -->` and FOLDER/names, a line each:
name, tab, the text it must print (may be empty). Addresses of a default server become those of KAFKA, HTTP and DATA."""

import os
import re
import sys

MARKER = re.compile(r"<!-- interop: (?P<name>[a-z0-9-]+)(?: prints (?P<text>.+?))? -->")


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
            marker = found or None


def skip_to_end(lines, number):
    """An unmarked block may contain anything, markers too: blank it."""
    for index in range(number, len(lines)):
        ends = lines[index].startswith("```")
        lines[index] = ""
        if ends:
            return


def main(readme, folder):
    with open(readme, encoding="utf-8") as file:
        lines = file.read().split("\n")
    stands_for = {
        "http://127.0.0.1:8082": os.environ["HTTP"],
        "127.0.0.1:8082": os.environ["HTTP"].removeprefix("http://"),
        "127.0.0.1:9092": os.environ["KAFKA"],
        "localhost:8082": os.environ["HTTP"].removeprefix("http://"),
        "localhost:9092": os.environ["KAFKA"],
        "./tidelog-data": os.environ["DATA"],
        "tidelog-data": os.environ["DATA"],
    }
    pattern = re.compile("|".join(re.escape(text) for text in stands_for))
    names = set()
    with open(os.path.join(folder, "names"), "w", encoding="utf-8") as index:
        for marker, text in blocks(lines):
            name = marker["name"]
            if name in names:
                sys.exit(f"two blocks are named {name}")
            names.add(name)
            with open(os.path.join(folder, f"{name}.sh"), "w", encoding="utf-8") as file:
                file.write(pattern.sub(lambda found: stands_for[found.group()], text))
            index.write(f"{name}\t{marker['text'] or ''}\n")


main(*sys.argv[1:])
