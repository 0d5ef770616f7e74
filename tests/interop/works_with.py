"""README's tables of what works, from the lines of a run: the clients, and Apache Kafka's own software.

works_with.py LINES RESULTS README [--write]: reads the run's lines (`ok    client: check (0.1 s)`), writes RESULTS, a JSON object
`{client: {check: passed}}`, and compares README's tables with it, only what was run. Each difference is a line that begins with FAIL; with
--write the tables are made anew instead, which needs a run of all. A cell is of all its checks: where one is not run any more, or one more
is, that is a FAIL too and nothing is written, until the numbers here say so.
"""

import json
import re
import sys
from pathlib import Path

CLIENTS = ["java", "kcat", "rdkafka", "confluent-kafka", "kafka-python", "aiokafka", "franz-go", "sarama", "kafkajs"]

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
    ("the server killed while it is written to and read", r"the server is killed"),
    ("reading only what is committed", r"(read_committed|transactions, committed)"),
    ("transactions, committed and aborted", r"transactions, committed and aborted"),
    ("transactions, aborted when connections break", r"transactions: aborted when connections break"),
    ("read, transform, write (offsets in transactions)", r"transactions: read, transform, write"),
    ("administration: topics and settings", r"(admin: (create|describe and alter configs|add partitions|delete))"),
    ("administration: groups and their offsets", r"(admin: groups|groups of both kinds)"),
    ("administration: access rules", r"admin: access rules"),
]

# How many checks prove a feature of a client, where it is not one.
MANY = {
    "every codec with every acks": dict.fromkeys(CLIENTS, 15),
    "group members join and leave": {"java": 4, "rdkafka": 3, "confluent-kafka": 3, "kafka-python": 3, "aiokafka": 3, "franz-go": 4, "sarama": 3},
    "groups of the consumer protocol (KIP-848)": {"java": 4},
    "commit and resume": {"kcat": 2},
    "the server killed while it is written to and read": {"java": 2},
    "reading only what is committed": {"confluent-kafka": 2, "kafka-python": 2, "aiokafka": 2},
    "read, transform, write (offsets in transactions)": {"franz-go": 2},
    "administration: topics and settings": {
        "java": 5, "rdkafka": 4, "confluent-kafka": 6, "kafka-python": 5, "aiokafka": 5, "franz-go": 4, "sarama": 4, "kafkajs": 5,
    },
}

# What a client cannot do. kcat ends when its only server goes away.
LACKS = {
    "kcat": {
        "the server killed while it is written to and read", "groups of the consumer protocol (KIP-848)", "transactions, committed and aborted",
        "transactions, aborted when connections break", "read, transform, write (offsets in transactions)",
        "administration: topics and settings", "administration: groups and their offsets", "administration: access rules",
    },
    "kafka-python": {"groups of the consumer protocol (KIP-848)"},
    "aiokafka": {"groups of the consumer protocol (KIP-848)", "administration: access rules"},
    "sarama": {"groups of the consumer protocol (KIP-848)"},
    "kafkajs": {"groups of the consumer protocol (KIP-848)"},
}

# What of Apache Kafka itself: a name, the part of the run, the checks that prove it, and how many there are.
SOFTWARE = [
    ("tools: topics, configs, get-offsets, delete-records, log-dirs, leader-election, reassign-partitions", "tools",
     r"(topics|configs: of (topics|brokers|groups)|get-offsets|delete-records|log-dirs|leader-election|reassign-partitions)", 10),
    ("tools: console and verifiable producers and consumers, perf tests, e2e-latency", "tools",
     r"(console|producer-perf|e2e-latency|verifiable)", 7),
    ("tools: groups, consumer-groups", "tools", r"consumer-groups", 5),
    ("tools: acls, users, quotas, delegation-tokens", "tools", r"(acls|configs: (SCRAM|quotas)|delegation-tokens)", 4),
    ("tools: transactions", "tools", r"transactions: (list|what|perf)", 3),
    ("tools: dump-log on our files", "tools", r"(dump-log|transactions: dump-log)", 3),
    ("tools: broker-api-versions, features, cluster, metadata-quorum", "tools", r"(broker-api-versions|features|cluster|metadata-quorum)", 4),
    ("Streams, application or server killed in the middle, totals exact", "streams", r"(at_least_once|exactly_once)", 4),
    ("Streams: application-reset", "streams", r"the reset tool", 1),
    ("Connect, distributed: REST, rebalance, restart", "connect", r"(?!exactly-once|the server)", 6),
    ("Connect: exactly-once source", "connect", r"exactly-once source", 1),
    ("MirrorMaker 2, dedicated", "mirror", r"(?!in Connect|the server)", 5),
    ("MirrorMaker 2 in Connect, exactly once", "mirror", r"in Connect", 4),
]

BEGIN, END = "<!-- works with: made by tests/interop/run -->", "<!-- end of works with -->"
BEGIN_SOFTWARE, END_SOFTWARE = "<!-- Kafka's software: made by tests/interop/run -->", "<!-- end of Kafka's software -->"


def read_lines(path):
    results = {}
    for line in Path(path).read_text().splitlines():
        found = re.match(r"(ok   |FAIL ) (\S+): (.*)", line)
        if found:
            passed, client, rest = found.groups()
            name = re.sub(r" \([\d.]+ s\)$", "", rest) if passed == "ok   " else rest
            results.setdefault(client, {})[name] = passed == "ok   "
    return results


def cell(client, checks, feature, pattern, wrong):
    if feature in LACKS.get(client, ()):
        return "–"
    return shown(f"{client}, {feature}", checks, pattern, MANY.get(feature, {}).get(client, 1), wrong)


def shown(what, checks, pattern, expected, wrong):
    # A failed check's name is followed by what went wrong.
    passed = [ok for name, ok in checks.items() if re.match(pattern.removesuffix("$") if not ok else pattern, name)]
    if len(passed) != expected:
        wrong.append(f"FAIL  works-with: {what}: proved by {len(passed)} checks, expected {expected} (tests/interop/works_with.py)")
    return "" if not passed else "yes" if all(passed) else "no"


def columns(results, wrong):
    return {
        client: {feature: cell(client, results[client], feature, pattern, wrong) for feature, pattern in FEATURES}
        for client in CLIENTS
        if client in results
    }


def table(columns):
    rows = [["", *CLIENTS], ["---"] * (len(CLIENTS) + 1)]
    rows += [[feature, *(columns[client][feature] for client in CLIENTS)] for feature, _ in FEATURES]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def software(results, wrong):
    return {name: shown(name, results[part], pattern, number, wrong) for name, part, pattern, number in SOFTWARE if part in results}


def software_table(rows):
    return "\n".join(["| Apache Kafka's own | |", "| --- | --- |", *(f"| {name} | {cell} |" for name, cell in rows.items())])


def rows(text):
    """The rows of a table: the first cell, and the others."""
    cells = [[one.strip() for one in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [(first, others) for first, *others in cells[2:]]


def written(text):
    """The clients' table, by client and feature."""
    head = next(line for line in text.splitlines() if line.startswith("|"))
    clients = [one.strip() for one in head.strip("|").split("|")][1:]
    return {client: {feature: cells[at] for feature, cells in rows(text)} for at, client in enumerate(clients)}


def between(text, begin, end):
    before, rest = text.split(begin)
    return before + begin + "\n", *rest.split(end, 1)


def main(lines, target, path, write):
    results = read_lines(lines)
    Path(target).write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    wrong = []
    ran, own = columns(results, wrong), software(results, wrong)
    readme = Path(path).read_text()
    if write:
        if set(ran) != set(CLIENTS) or len(own) != len(SOFTWARE):
            sys.exit(f"the tables need a run of all; not run: {' '.join(sorted(set(CLIENTS) - set(ran)))}")
        if wrong:
            sys.exit("\n".join(wrong))
        for begin, end, made in ((BEGIN, END, table(ran)), (BEGIN_SOFTWARE, END_SOFTWARE, software_table(own))):
            before, _, after = between(readme, begin, end)
            readme = f"{before}{made}\n{end}{after}"
        Path(path).write_text(readme)
        return
    if not ran and not own:
        return
    said = written(between(readme, BEGIN, END)[1])
    said_own = {name: shown for name, (shown, *_) in rows(between(readme, BEGIN_SOFTWARE, END_SOFTWARE)[1])}
    if list(said) != CLIENTS or any(list(said[client]) != [name for name, _ in FEATURES] for client in said) or list(said_own) != [
            name for name, *_ in SOFTWARE]:
        print("FAIL  works-with: README's tables have other clients or features; make them anew with TIDELOG_WRITE=1")
        return
    wrong += [
        f"FAIL  works-with: {client}, {feature}: README says '{said[client][feature]}', the run '{now}'"
        for client, cells in ran.items()
        for feature, now in cells.items()
        if said[client][feature] != now
    ]
    wrong += [f"FAIL  works-with: {name}: README says '{said_own[name]}', the run '{now}'" for name, now in own.items() if said_own[name] != now]
    print("\n".join(wrong) if wrong else f"ok    works-with: README's tables are this run's ({len(ran)} clients, {len(own)} parts of Kafka)")


if __name__ == "__main__":
    main(*sys.argv[1:4], "--write" in sys.argv[4:])
