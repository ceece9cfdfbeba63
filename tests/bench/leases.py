"""What leases do to a fleet's limits: a simulation of one window, with times that were measured.

    .tools/venv/bin/python tests/bench/leases.py            the tables of envoy/FLEET.md, in about a minute
    .tools/venv/bin/python tests/bench/leases.py --keep     also writes tests/bench/results-leases.md

A limit admits `max` calls in a window. Calls come at random times to random Envoys; an Envoy that has nothing left of a
lease asks the service for one, and the answer takes a round trip. While it is on its way, further calls ask too. A service
that has not enough for a whole lease refuses: that call is denied, and the Envoy asks for single calls from then on, until
the window ends (src/rate/lease.rs is what is simulated, tests/e2e/test_fleet.py shows the same on real Envoys). What is left
of leases at the end of the window is lost.

It says three things of each: how many calls were admitted, of those that the limit has room for; how many were denied while
there was room; and how many questions a call costs.
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).with_name("results-leases.md")
WINDOW = 60.0


@dataclass(frozen=True)
class Load:
    """A limit, who calls, and how the service is reached."""

    envoys: int
    max: int
    calls: int
    lease: int
    # On how many of the Envoys a caller's calls arrive.
    spread: int
    round_trip: float = 0.001
    # How many windows are simulated, of as many callers.
    windows: int = 1


@dataclass
class Outcome:
    """What came of it, over all windows."""

    calls: int = 0
    admitted: int = 0
    possible: int = 0
    early: int = 0
    questions: int = 0
    stranded: int = 0


@dataclass
class Envoy:
    """What one Envoy knows of the limit."""

    left: int = 0
    single: bool = False


@dataclass
class Window:
    """One window of one counter."""

    load: Load
    chance: random.Random
    counted: int = 0
    admitted: int = 0
    denied: int = 0
    # Denials while fewer had been admitted than the limit admits.
    early: int = 0
    questions: int = 0
    envoys: dict[int, Envoy] = field(default_factory=dict)

    def run(self) -> Window:
        """Lets all calls come, and all answers."""
        load = self.load
        # (time, what, Envoy, how many asked for): a call, the service's turn, an answer.
        events: list[tuple[float, int, int, int]] = [
            (self.chance.random() * WINDOW, 0, self.chance.randrange(load.spread), 0) for _ in range(load.calls)
        ]
        heapq.heapify(events)
        while events:
            at, what, place, asked = heapq.heappop(events)
            envoy = self.envoys.setdefault(place, Envoy())
            if what == 0:
                if envoy.left:
                    envoy.left -= 1
                    self.admitted += 1
                    continue
                self.questions += 1
                wanted = 1 if envoy.single else load.lease
                heapq.heappush(events, (at + load.round_trip / 2, 1, place, wanted))
            elif what == 1:
                granted = self.counted + asked <= load.max
                self.counted += asked * granted
                heapq.heappush(events, (at + load.round_trip / 2, 2, place, asked if granted else -asked))
            elif asked > 0:
                self.admitted += 1
                envoy.left += asked - 1
            else:
                self.denied += 1
                self.early += self.admitted < load.max
                envoy.single |= asked < -1
        assert self.admitted <= load.max, "never one too many"
        assert self.counted == self.admitted + self.stranded
        return self

    @property
    def stranded(self) -> int:
        """What was taken and not spent."""
        return sum(envoy.left for envoy in self.envoys.values())


def simulate(load: Load, seed: int = 1) -> Outcome:
    """The sum over all windows."""
    outcome, chance = Outcome(), random.Random(seed)
    for _ in range(load.windows):
        window = Window(load, chance).run()
        outcome.calls += load.calls
        outcome.admitted += window.admitted
        outcome.possible += min(load.calls, load.max)
        outcome.early += window.early
        outcome.questions += window.questions
        outcome.stranded += window.stranded
    return outcome


HEADER = ["Envoys", "round trip", "lease", "calls / max", "admitted of possible", "denied with room left", "left over", "questions per call"]


def row(load: Load) -> list[str]:
    """One line of a table."""
    outcome = simulate(load)
    return [
        f"{load.spread:,}",
        f"{1000 * load.round_trip:g} ms",
        "none" if load.lease == 1 else f"{load.lease}",
        f"{load.calls / load.max:g}",
        f"{100 * outcome.admitted / outcome.possible:.2f} %",
        f"{100 * outcome.early / outcome.calls:.2f} %",
        f"{100 * outcome.stranded / (load.max * load.windows):.2f} %",
        f"{outcome.questions / outcome.calls:.3f}",
    ]


def table(loads: list[Load]) -> list[str]:
    """A table in Markdown."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---:|" * len(HEADER)]
    for load in loads:
        lines.append("| " + " | ".join(row(load)) + " |")
    return lines


# A limit that all callers share: the whole fleet spends of it.
SHARED = [
    Load(envoys, 100_000, int(100_000 * times), lease, envoys)
    for envoys in (3, 100, 1000)
    for lease in (1, 10, 100)
    for times in (0.8, 2)
]
# A limit of a caller, whose calls come through one Envoy, a few, or any.
CALLERS = [
    Load(1000, 30, int(30 * times), lease, spread, windows=2000)
    for spread in (1, 3, 1000)
    for lease in (1, 5, 10)
    for times in (0.8, 2)
]
# A busy caller, with a service that is near and one that is far.
BURSTS = [
    Load(1000, 3000, 6000, lease, spread, round_trip=round_trip, windows=20)
    for spread in (1, 10)
    for round_trip in (0.001, 0.05)
    for lease in (1, 10, 100)
]


def report() -> list[str]:
    """All tables."""
    lines = ["A limit of 100,000 a minute that all callers share, with calls through every Envoy:", ""]
    lines += table(SHARED)
    lines += ["", "A limit of 30 a minute for each caller, whose calls come through so many Envoys:", ""]
    lines += table(CALLERS)
    lines += ["", "A limit of 3,000 a minute of one busy caller:", ""]
    lines += table(BURSTS)
    return lines


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="Simulates leases of a limit across a fleet.")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    lines = report()
    print("\n".join(lines))
    if options.keep:
        RESULTS.write_text("\n".join(["# Leases across a fleet", "", "By `python tests/bench/leases.py --keep`.", "", *lines, ""]))


if __name__ == "__main__":
    main()
