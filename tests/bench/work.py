"""How long one request of a megabyte keeps a worker of Envoy: what a caller can make of bytes and a policy's size.

    .tools/venv/bin/python tests/bench/work.py             a table, in about a minute
                                          ... --keep      also writes tests/bench/results-work.md

One Envoy with one worker and a listener for each workload of tests/e2e/workloads.py; the router itself answers what passes the
filter. Requests take turns, so a machine whose speed drifts drifts for all. A time is that of the whole exchange,
so it holds the reading of a megabyte too; the first row is what that costs, and the others are compared with it, byte for byte.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e")]

from client import H1, post_bytes  # noqa: E402
from fleet import Fleet, Listener, answering, held, silent  # noqa: E402
from workloads import MEGABYTE, WORKLOADS, Workload  # noqa: E402

HEADING = """# What a request of a megabyte costs

Milliseconds of a worker per request, and per megabyte as a multiple of an allowed call at which no rule looks. Written by
`tests/bench/work.py --keep`, which says how it is measured."""
RESULTS = Path(__file__).with_name("results-work.md")
BASE = next(iter(WORKLOADS))
PASSED = b'{"jsonrpc":"2.0","id":1,"result":{}}'
# Of a worker, for a megabyte.
TARGET_MS = 20.0


def milliseconds(connection: H1, workload: Workload, request: bytes) -> float:
    """How long one request takes."""
    start = time.perf_counter()
    connection.send(request)
    answer = connection.receive()
    taken = (time.perf_counter() - start) * 1000
    assert not answer.fault, answer
    assert workload.passes in (None, answer.body == PASSED), f"answered otherwise than it should: {answer}"
    return taken


def measured(rounds: int) -> dict[str, list[float]]:
    """The times of each workload."""
    fleet = Fleet(1)
    listeners = {name: f"work_{number}" for number, name in enumerate(WORKLOADS)}
    for name, listener in listeners.items():
        policy = {**WORKLOADS[name].policy, "requests": {"max_body_bytes": 2 * MEGABYTE}}
        fleet.add(listener, Listener(held(policy), answering(200, PASSED.decode()), silent))
    requests = {name: post_bytes(workload.body) for name, workload in WORKLOADS.items()}
    times: dict[str, list[float]] = {name: [] for name in WORKLOADS}
    with fleet.run():
        for _ in range(rounds):
            for name, workload in WORKLOADS.items():
                with H1(fleet.port(listeners[name]), timeout=120) as connection:
                    times[name].append(milliseconds(connection, workload, requests[name]))
    return times


def table(times: dict[str, list[float]]) -> str:
    """The results in Markdown."""
    per_byte = {name: statistics.median(found) / len(WORKLOADS[name].body) for name, found in times.items()}
    lines = ["| request | bytes | ms | slowest | ms per MB | times the first row |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in times.items():
        size = len(WORKLOADS[name].body)
        cells = [f"{size}", f"{statistics.median(found):.1f}", f"{max(found):.1f}", f"{per_byte[name] * MEGABYTE:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {per_byte[name] / per_byte[BASE]:.2f} |")
    missed = [name for name, cost in per_byte.items() if cost * MEGABYTE > TARGET_MS]
    verdict = f"Target missed by: {', '.join(missed)}." if missed else "Target met by all."
    return "\n".join([*lines, "", f"{verdict} It is at most {TARGET_MS:.0f} ms per MB."]) + "\n"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help=f"writes {RESULTS.name} too")
    options = parser.parse_args()
    found = table(measured(options.rounds))
    print(found)
    if options.keep:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        RESULTS.write_text(f"{HEADING}\n\n- {now}, {platform.machine()}, Linux {platform.release()}\n- {options.rounds} rounds\n\n{found}")


if __name__ == "__main__":
    main()
