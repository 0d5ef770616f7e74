"""README's table "Works with", from the lines of a run.

works_with.py LINES RESULTS README [--write]: reads the run's lines (`ok    client: check (0.1 s)`), writes RESULTS, a JSON object
`{client: {check: passed}}`, and compares README's table with it, only the columns of clients that were run. Each difference is a line
that begins with FAIL; with --write the table is made anew instead, which needs a run of all clients.
"""

import json
import re
import sys
from pathlib import Path

CLIENTS = ["java", "kcat", "confluent-kafka", "kafka-python", "aiokafka", "franz-go", "sarama", "kafkajs"]

# A feature, and the checks that prove it.
FEATURES = [
    ("every codec with every acks", r"codec "),
    ("headers, repeated keys", r"headers"),
    ("null keys and values", r"null (and empty )?keys"),
    ("large records", r"large record"),
    ("too large records are refused", r"too large record"),
    ("group members join and leave", r"group of two"),
    ("groups of the consumer protocol (KIP-848)", r"consumer protocol"),
    ("a member dies", r"a member dies"),
    ("commit and resume", r"commit and resume"),
    ("seek by time", r"seek by time"),
    ("idempotence", r"idempotence$"),
    ("idempotence when connections break", r"idempotence when connections break"),
    ("reading only what is committed", r"(read_committed|transactions, committed)"),
    ("transactions, committed and aborted", r"transactions, committed and aborted"),
    ("read, transform, write (offsets in transactions)", r"transactions: read, transform, write"),
    ("administration: topics and settings", r"(admin: (create|describe and alter configs|add partitions|delete)|list$)"),
    ("administration: groups and their offsets", r"(admin: groups|groups of both kinds)"),
    ("administration: access rules", r"admin: access rules"),
]

# What a client cannot do.
LACKS = {
    "kcat": {
        "groups of the consumer protocol (KIP-848)", "transactions, committed and aborted", "read, transform, write (offsets in transactions)",
        "administration: groups and their offsets", "administration: access rules",
    },
    "kafka-python": {"groups of the consumer protocol (KIP-848)"},
    "aiokafka": {"groups of the consumer protocol (KIP-848)", "administration: access rules"},
    "sarama": {"groups of the consumer protocol (KIP-848)"},
    "kafkajs": {"groups of the consumer protocol (KIP-848)"},
}

BEGIN, END = "<!-- works with: made by tests/interop/run -->", "<!-- end of works with -->"


def read_lines(path):
    results = {}
    for line in Path(path).read_text().splitlines():
        found = re.match(r"(ok   |FAIL ) (\S+): (.*)", line)
        if found:
            passed, client, rest = found.groups()
            name = re.sub(r" \([\d.]+ s\)$", "", rest) if passed == "ok   " else rest
            results.setdefault(client, {})[name] = passed == "ok   "
    return results


def cell(client, checks, feature, pattern):
    if feature in LACKS.get(client, ()):
        return "–"
    # A failed check's name is followed by what went wrong.
    passed = [ok for name, ok in checks.items() if re.match(pattern.removesuffix("$") if not ok else pattern, name)]
    return "" if not passed else "yes" if all(passed) else "no"


def columns(results):
    return {
        client: {feature: cell(client, results[client], feature, pattern) for feature, pattern in FEATURES}
        for client in CLIENTS
        if client in results
    }


def table(columns):
    rows = [["", *CLIENTS], ["---"] * (len(CLIENTS) + 1)]
    rows += [[feature, *(columns[client][feature] for client in CLIENTS)] for feature, _ in FEATURES]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def written(readme):
    """README's table by client and feature."""
    rows = [[one.strip() for one in line.strip("|").split("|")] for line in readme.splitlines() if line.startswith("|")]
    clients = rows[0][1:]
    return {client: {row[0]: row[at + 1] for row in rows[2:]} for at, client in enumerate(clients)}


def main(lines, target, path, write):
    results = read_lines(lines)
    Path(target).write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    ran = columns(results)
    readme = Path(path).read_text()
    before, rest = readme.split(BEGIN)
    old, after = rest.split(END)
    if write:
        if set(ran) != set(CLIENTS):
            sys.exit(f"the table needs all clients; not run: {' '.join(sorted(set(CLIENTS) - set(ran)))}")
        Path(path).write_text(f"{before}{BEGIN}\n{table(ran)}\n{END}{after}")
        return
    if not ran:
        return
    said = written(old)
    if list(said) != CLIENTS or any(list(said[client]) != [name for name, _ in FEATURES] for client in said):
        print("FAIL  works-with: README's table has other clients or features; make it anew with TIDELOG_WRITE=1")
        return
    wrong = [
        f"FAIL  works-with: {client}, {feature}: README says '{said[client][feature]}', the run '{now}'"
        for client, cells in ran.items()
        for feature, now in cells.items()
        if said[client][feature] != now
    ]
    print("\n".join(wrong) if wrong else f"ok    works-with: README's table is this run's ({len(ran)} clients)")


if __name__ == "__main__":
    main(*sys.argv[1:4], "--write" in sys.argv[4:])
