"""How long the command takes to start and do something small, beside a program that does nothing.

    .tools/venv/bin/python tests/bench/command.py

Build the command first, with `make cli`. They take turns, so a machine whose speed drifts drifts for all.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = ROOT / "target" / "release" / "mcp-policy"
POLICY = ROOT / "policies" / "stripe.json"
ROUNDS = 100
RUNS = {
    "true": ["true"],
    "mcp-policy --version": [COMMAND, "--version"],
    "mcp-policy validate": [COMMAND, "validate", POLICY],
    "mcp-policy test": [COMMAND, "test", POLICY],
    "mcp-policy render": [COMMAND, "render", POLICY, "--for", "envoy"],
}


def milliseconds(argv: list[str | Path]) -> float:
    """How long one run takes."""
    start = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Prints the table."""
    times: dict[str, list[float]] = {name: [] for name in RUNS}
    for _ in range(ROUNDS):
        for name, argv in RUNS.items():
            times[name].append(milliseconds(argv))
    print(f"{'':24}  median ms  slowest of {ROUNDS}")
    for name, found in times.items():
        print(f"{name:24}  {statistics.median(found):9.1f}  {max(found):10.1f}")


if __name__ == "__main__":
    main()
