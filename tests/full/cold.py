"""The cold tier on a real S3 server: segments go up, local copies go, every record is read from offset 0, also after a stop and
after a kill; a deleted topic leaves no object. The brokers, HTTP address and binary come from the environment, the shell restarts the
server between the steps: cold.py fill|read|delete FOLDER, where FOLDER is the bucket's directory in the S3 server."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

HTTP, BROKERS, BIN = os.environ["TIDELOG_HTTP"], os.environ["TIDELOG_KAFKA"], os.environ["TIDELOG_BIN"]
TOPIC, PARTITIONS = "quakes", 2


def request(method, path, body=None, content_type="application/json"):
    call = urllib.request.Request(HTTP + path, body, {"Content-Type": content_type}, method=method)
    with urllib.request.urlopen(call, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def wait_for(condition, what, seconds=180):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return result


def sample():
    with open(os.environ["TIDELOG_SAMPLE"], "rb") as file:
        return file.read().splitlines()


def partitions():
    return [p for p in request("GET", "/v1/tier")["partitions"] if p["topic"] == TOPIC]


def objects(folder):
    """Keys below the topic's prefix."""
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if f"/{TOPIC}-" in at]


def fill(folder):
    config = {"internal.segment.bytes": "32768", "remote.storage.enable": "true", "local.retention.bytes": "1"}
    request("POST", "/v1/topics", json.dumps({"name": TOPIC, "partitions": PARTITIONS, "config": config}).encode())
    lines = sample()
    for start in range(0, len(lines), 20):
        answer = request("POST", f"/v1/topics/{TOPIC}/events?key_field=/id", b"\n".join(lines[start:start + 20]),
                         "application/x-ndjson")
        refused = [o for o in answer["offsets"] if "error_code" in o]
        if refused:
            sys.exit(f"refused: {refused[0]}")

    def cold():
        found = partitions()
        return len(found) == PARTITIONS and found if all(
            (p["remote_segments"] or 0) >= 5 and p["local_start"] >= p["remote_end"] > 0 and p["log_start"] == 0
            for p in found) else None
    found = wait_for(cold, "closed segments are remote only")
    print(f"      {sum(p['remote_segments'] for p in found)} segments, {sum(p['remote_bytes'] for p in found)} bytes remote, "
          f"{len(objects(folder))} objects")


def read(_folder):
    """By kcat, which knows nothing of tiers."""
    start = time.monotonic()
    got = []
    for partition in range(PARTITIONS):
        lines = subprocess.run(["kcat", "-b", BROKERS, "-C", "-q", "-e", "-o", "0", "-t", TOPIC, "-p", str(partition), "-f",
                                "%o %k %s\\n"], check=True, capture_output=True, timeout=180).stdout.splitlines()
        split = [line.split(b" ", 2) for line in lines]
        if [int(offset) for offset, _, _ in split] != list(range(len(split))):
            sys.exit(f"partition {partition}: offsets are not 0 to {len(split) - 1}")
        for _, key, value in split:
            if json.loads(value)["id"].encode() != key:
                sys.exit(f"key {key} with the value of another")
        got.extend(value for _, _, value in split)
    if sorted(got) != sorted(sample()):
        sys.exit(f"{len(got)} records read, {len(sample())} sent, not the same")
    print(f"      {len(got)} records from offset 0 in {time.monotonic() - start:.2f} s")


def delete(folder):
    count = len(objects(folder))
    if not count:
        sys.exit("there are no objects to delete")
    request("DELETE", f"/v1/topics/{TOPIC}")
    wait_for(lambda: not objects(folder), f"the topic's {count} objects are gone")
    print(f"      {count} objects deleted")


{"fill": fill, "read": read, "delete": delete}[sys.argv[1]](sys.argv[2])
