"""What the Python clients' scripts share: one line per check, a deadline for each, a name of its own for every topic."""

import os
import signal
import sys
import time
import traceback
import urllib.request

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = [0, 1, -1]
# Longest a single check may take, s: the slowest (two members joining and leaving) waits for a few session intervals, and the machine may
# be busy.
PATIENCE = 240

BROKERS = os.environ["TIDELOG_KAFKA"]
# The same server behind a proxy that loses answers; empty if there is none.
CUT = os.environ.get("TIDELOG_CUT", "")
# A second server, which is killed when a check asks for it, and the same behind a proxy that breaks connections when asked (victim.py).
VICTIM = os.environ.get("TIDELOG_VICTIM", "")
VICTIM_CUT = os.environ.get("TIDELOG_VICTIM_CUT", "")
RUN = f"{int(time.time() * 1000):x}"


class Late(Exception):
    """A check took longer than PATIENCE."""


class Checks:
    """Runs checks in the order of their definition and prints `ok` or `FAIL` for each."""

    def __init__(self, client):
        self.client = client
        self.failed = 0
        self.count = 0
        self.only = os.environ.get("TIDELOG_CHECK", "")
        signal.signal(signal.SIGALRM, self._late)

    @staticmethod
    def _late(_signal, _frame):
        raise Late(f"not done within {PATIENCE} s")

    def check(self, name, function, *args):
        if self.only not in name:
            return
        self.count += 1
        start = time.monotonic()
        signal.alarm(PATIENCE)
        try:
            function(*args)
            signal.alarm(0)
            print(f"ok    {self.client}: {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception as error:  # noqa: BLE001: a check may fail in any way, the next one still runs
            signal.alarm(0)
            self.failed += 1
            reason = f"{type(error).__name__}: {error}".replace("\n", " ")
            frames = traceback.extract_tb(error.__traceback__)
            # The last line of the script itself says more than the client's insides.
            line = next((f.lineno for f in reversed(frames) if f.filename == sys.argv[0]), 0)
            print(f"FAIL  {self.client}: {name}: line {line}: {reason}", flush=True)

    def done(self):
        sys.exit(1 if self.failed or not self.count else 0)


def topic(name):
    """A topic's name that no other run uses."""
    return f"{name}-{RUN}"


def ask(what):
    """`kill` the server and wait until it is there again; `cut` all connections, or let them `lose` their next answer: how many."""
    return urllib.request.urlopen(f"http://{os.environ['TIDELOG_VICTIM_CONTROL']}/{what}", timeout=180).read().decode()


def broken(what):
    """Breaks connections, of which there must be some."""
    equal(int(ask(what)) > 0, True, f"connections to {what}")


def equal(got, expected, what="value"):
    if got != expected:
        shown = [repr(x) if len(repr(x)) < 300 else repr(x)[:300] + "…" for x in (got, expected)]
        raise AssertionError(f"{what} is {shown[0]}, expected {shown[1]}")


def wait_for(condition, what, seconds=90):
    """Polls until `condition()` is true; the condition does the waiting (a poll of the client, say)."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return result
