"""How it is measured: all Envoys at once, each call's cost beside the same call without a filter in the same round.

A machine's speed drifts over seconds, so costs are compared within a round only: what a row adds is the CPU time of its Envoy per call (user
and system, all threads) less that of the Envoy without a filter which gets the same calls. The tables have the medians of these differences
over all rounds, and bootstrap intervals of them: of the starts, then of the rounds of each. All is started anew now and then, because one
process can be some percent slower than its twin. Everything runs on one CPU: else where the kernel puts Envoy, the load and the server would
be measured too.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from variants import ANSWERS, BASE, NATIVE, Row, Variant, request, rig

ROOT = Path(__file__).resolve().parent.parent.parent
LOAD = ROOT / "target" / "load" / "release" / "load"
RESAMPLES = 1000


def build() -> None:
    """Builds the load, and the filters that decide nothing."""
    here = Path(__file__).parent
    cargo = ["cargo", "build", "--quiet", "--release", "--locked"]
    subprocess.run([*cargo, "--manifest-path", here / "load" / "Cargo.toml", "--target-dir", ROOT / "target" / "load"], check=True)
    wasm = ["--target", "wasm32-wasip1", "--target-dir", ROOT / "target" / "floor"]
    for crate in ("floor", "floor-sdk"):
        subprocess.run([*cargo, "--manifest-path", here / crate / "Cargo.toml", *wasm], check=True)
    subprocess.run([*cargo, "--manifest-path", here / "floor-module" / "Cargo.toml", "--target-dir", ROOT / "target" / "floor"], check=True)


def progress(text: str) -> None:
    """Says on a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


class Load:
    """The program that calls and answers; see load/src/main.rs."""

    def __init__(self, answers: list[str]) -> None:
        self._child = subprocess.Popen([LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._child.pid
        self.ports: list[int] = self._ask({"answers": answers})
        self._rows = 0

    def row(self, port: int, callers: list[list[str]], answer: str, pids: list[int]) -> int:
        """Connects callers, whose calls cost these processes time; their number."""
        self._rows = self._ask({"row": {"port": port, "callers": callers, "answer": answer, "pids": pids}})
        return self._rows - 1

    def round(self, order: Iterable[int], calls: int) -> dict[int, dict[str, Any]]:
        """So many calls of each of these rows, in this order; their costs per call, in nanoseconds."""
        return {cost["row"]: cost for cost in self._ask({"round": {"order": list(order), "calls": calls}})}

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._child.stdin and self._child.stdout
        print(json.dumps(what), file=self._child.stdin, flush=True)
        if not (line := self._child.stdout.readline()):
            raise rig.RigError("the load has ended; what it says stands above")
        return json.loads(line)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(timeout=10)


def pin(pids: Iterable[int], cpu: int) -> None:
    """Lets all threads of these processes run on one CPU alone."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {cpu})


def clock(pid: int) -> float:
    """Seconds of CPU time that a process has taken (CPUCLOCK_SCHED in the kernel's posix-timers.h)."""
    return time.clock_gettime((~pid << 3) | 2)


def busy(cpu: int) -> float:
    """Seconds in which a CPU was not idle."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{cpu} "))
    ticks = [int(field) for field in line.split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Plan:
    """How often all Envoys are started, for how many rounds, of how many calls to each."""

    starts: int
    rounds: int
    calls: int


@dataclass
class Measurement:
    """Microseconds per call, by row; those at the same place of each list are of the same round."""

    plan: Plan
    rows: list[Row]
    costs: dict[Row, list[float]]
    waits: dict[Row, list[float]]
    errors: dict[Row, int]
    memory: dict[Row, float] = field(default_factory=dict)  # MiB
    others: float = 0.0  # The share of the CPU's time that others took.

    def base(self, row: Row) -> Row | None:
        """The same calls without a filter; `None` for these themselves."""
        if row.variant is BASE:
            return None
        same = next((other for other in self.rows if other.variant is BASE and other.work.bodies == row.work.bodies and other.work.callers == row.work.callers), None)
        assert same is not None, f"nothing to compare {row.name} with"
        return same

    def native(self, row: Row) -> Row | None:
        """The same calls through Envoy's own filters, if they were measured."""
        return next((other for other in self.rows if other.variant is NATIVE and self.base(other) == self.base(row)), None)

    def added(self, row: Row) -> list[float]:
        """What the row adds to no filter, round by round."""
        base = self.base(row)
        return self.costs[row] if base is None else [cost - without for cost, without in zip(self.costs[row], self.costs[base], strict=True)]

    def share(self, row: Row) -> Callable[[list[int]], float]:
        """What the row adds in some rounds, as a share of what Envoy's own filters add in them."""
        native = self.native(row)
        assert native is not None
        own, beside = self.added(row), self.added(native)
        return lambda places: median_at(places, own) / median_at(places, beside)

    def interval(self, statistic: Callable[[list[int]], float]) -> tuple[float, float]:
        """A 95% interval of a statistic over rounds, by bootstrap: of the starts, then of the rounds of each."""
        chance = random.Random(0)

        def resampled() -> list[int]:
            places: list[int] = []
            for start in chance.choices(range(self.plan.starts), k=self.plan.starts):
                first = start * self.plan.rounds
                places += chance.choices(range(first, first + self.plan.rounds), k=self.plan.rounds)
            return places

        values = sorted(statistic(resampled()) for _ in range(RESAMPLES))
        return values[RESAMPLES // 40], values[-1 - RESAMPLES // 40]


def median_at(places: Iterable[int], values: list[float]) -> float:
    """The median of the values at these places."""
    return statistics.median(values[at] for at in places)


def measure(rows: list[Row], wasm: Path, plan: Plan) -> Measurement:
    """Runs the rounds."""
    measurement = Measurement(plan, rows, {row: [] for row in rows}, {row: [] for row in rows}, dict.fromkeys(rows, 0))
    cpu = max(os.sched_getaffinity(0))
    spent = own = 0.0
    for start in range(plan.starts):
        with ExitStack() as stack:
            load = stack.enter_context(Load(ANSWERS))
            envoys = started(rows, wasm, load, stack)
            pids = [load.pid, *(envoy._envoy_pid() for envoy in envoys.values())]
            pin(pids, cpu)
            for row in rows:
                envoy = envoys[row.variant, row.work.lists]
                load.row(envoy.port, row.work.requests(row.variant.headers), row.work.answer, [envoy._envoy_pid()])
            load.round(range(len(rows)), 2 * plan.calls)
            before, own_before = busy(cpu), sum(map(clock, pids))
            for number in range(plan.rounds):
                progress(f"start {start + 1} of {plan.starts}, round {number + 1} of {plan.rounds}")
                costs = load.round(random.sample(range(len(rows)), len(rows)), plan.calls)
                for at, row in enumerate(rows):
                    measurement.costs[row].append(costs[at]["cpu"][0] / 1000)
                    measurement.waits[row].append(costs[at]["wait"] / 1000)
                    measurement.errors[row] += costs[at]["wrong"]
            spent, own = spent + busy(cpu) - before, own + sum(map(clock, pids)) - own_before
            measurement.memory = {row: envoys[row.variant, row.work.lists].rss_kib() / 1024 for row in rows}
    measurement.others = max(0.0, 1 - own / spent)
    progress("")
    return measurement


def started(rows: list[Row], wasm: Path, load: Load, stack: ExitStack) -> dict[tuple[Variant, bool], rig.Envoy]:
    """An Envoy for each variant, and another one where it stands before lists."""
    envoys: dict[tuple[Variant, bool], rig.Envoy] = {}
    for row in rows:
        key = row.variant, row.work.lists
        if key not in envoys:
            progress(f"starting {row.name}")
            envoys[key] = rig.Envoy(row.variant.config(wasm, load.ports[row.work.lists]))
            stack.enter_context(ended(envoys[key]))
    for (variant, lists), envoy in envoys.items():
        envoy.wait_until_ready()
        if "100 tools" in variant.name and not lists and passes(envoy.port):
            raise rig.RigError(f"{variant.name}: a tool that is not listed passes")
    return envoys


def ended(envoy: rig.Envoy) -> rig.Process:
    """Starts it without waiting, so that all start at once."""

    class Started:
        def __enter__(self) -> None:
            envoy.start()

        def __exit__(self, *_exc: object) -> None:
            envoy.stop()

    return Started()  # type: ignore[return-value]


def passes(port: int) -> bool:
    """Whether a call of a tool that nobody lists gets the server's answer."""
    import socket

    from variants import call_body

    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request(call_body("unlisted", 0), 0).encode())
        return b'"result"' in connection.recv(65536)
