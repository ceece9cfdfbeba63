"""Soaks the filter on a real Envoy: hours of honest and hostile traffic, with every promise checked while it runs.

    make soak                        an hour; SECONDS=600 for less, CALLERS=10000000 for that many made-up callers
    make soak PROVE=1                short runs in which one expectation is wrong: each must fail, or the soak checks nothing
    .tools/venv/bin/python tests/soak/soak.py --seconds 60 --keep     also writes tests/bench/results-soak.md

Envoy has four workers and lives several times; in its last life somebody sets its wall clock to and fro. Each life has honest callers
whose limits must be met to the call, a server that resets, slows and lies, all rows of the corpus of attempts, callers who leave, made-up
callers without end, and a new policy every ten seconds, of which some are bad. `traffic.py` has them all.

The bound of memory: Envoy's resident set may grow by 64 MiB from the end of the first part of a life (two minutes, or a quarter of it)
until its end. Ends with 1 at the first broken promise, which is printed.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e"), str(Path(__file__).resolve().parent)]

from attempts import load  # noqa: E402
from gateway import until  # noqa: E402
from house import House, WORKERS  # noqa: E402
from server import Server  # noqa: E402
from test_bypass import late, unavailable  # noqa: E402
from traffic import Attempted, Broken, Crew, Expectations, repeatable  # noqa: E402

RESULTS = ROOT / "tests" / "bench" / "results-soak.md"
HEADING = """# A soak

What was seen while Envoy was soaked, and how much memory it took. Written by `make soak` with `KEEP=1`; [soak.py](../soak/soak.py) says
what was checked meanwhile: every line below is of a run in which every promise held."""
SAMPLE_SECONDS = 5.0
# `counters.max_entries`: the default, and what a crowd fills in a short run too.
MANY_ENTRIES, FEW_ENTRIES = 65_536, 8_192


@dataclass
class Life:
    """What one life of Envoy came to."""

    seconds: float
    moves_clock: bool
    seen: Counter[str]
    slowest: float
    first_kib: int = 0
    base_kib: int = 0
    most_kib: int = 0
    last_kib: int = 0


@dataclass
class Soak:
    """A run: what is asked for, and the lives so far."""

    seconds: float
    lives: int
    callers: int
    update_seconds: float
    expected: Expectations = field(default_factory=Expectations)
    done: list[Life] = field(default_factory=list)

    def run(self) -> None:
        """Raises `Broken` or `AssertionError` where a promise does not hold."""
        corpus, version = load(), itertools.count(1)
        with Server() as server, Attempted() as attempted:
            attempted.answer("/unavailable", unavailable)
            attempted.answer("/late", late)
            for number in range(self.lives):
                house = House(server, attempted, corpus, MANY_ENTRIES if self.seconds / self.lives >= 600 else FEW_ENTRIES)
                crew = Crew(
                    house,
                    server,
                    attempted,
                    repeatable(corpus.attempts),
                    self.expected,
                    int(self.callers / self.seconds),
                    self.update_seconds,
                    version,
                    number,
                    moves_clock=house.clock.works and number == self.lives - 1 > 0,
                )
                self.live(house, crew, self.seconds / self.lives)

    def live(self, house: House, crew: Crew, seconds: float) -> None:
        """One life of Envoy."""
        life = Life(seconds, crew.moves_clock, crew.seen, 0)
        with house.run():
            life.first_kib = house.envoy.rss_kib()
            crew.began = time.monotonic()
            crew.start()
            try:
                self.watch(house, crew, life, seconds)
            finally:
                crew.finish()
            life.slowest = crew.slowest
            need_none(crew.faults)
            until(lambda: not house.open_streams(), f"the end of all streams, of which {house.open_streams()} are left", 30)
            need_none(house.traps())
        self.done.append(life)
        report(life)

    def watch(self, house: House, crew: Crew, life: Life, seconds: float) -> None:
        """Looks at Envoy until its time is over, or something is broken."""
        warm, told = min(120, seconds / 4), 0.0
        while (passed := time.monotonic() - crew.began) < seconds and not crew.faults:
            now = house.envoy.rss_kib()
            life.last_kib = now
            if passed >= warm:
                life.base_kib = life.base_kib or now
                life.most_kib = max(life.most_kib, now)
                grown = now - life.base_kib
                if grown > self.expected.growth_kib:
                    raise Broken(f"memory: {grown} KiB more than after {warm:.0f} s, at most {self.expected.growth_kib} are allowed")
            need_none(house.traps())
            if self.expected.traps:
                with house.envoy.stderr_path.open("a") as log:
                    log.write("wasm trap: made up\n")
            if passed - told >= 60:
                told = passed
                print(f"{passed:6.0f} s, {now / 1024:.0f} MiB, {dict(crew.seen)}", flush=True)
            threading.Event().wait(min(SAMPLE_SECONDS, seconds / 10))


def need_none(faults: list[str]) -> None:
    """Raises the first fault."""
    if faults:
        raise Broken("; ".join(faults[:3]))


# --- What is told -----------------------------------------------------------------------------


def lines(life: Life) -> Iterator[str]:
    """A life as lines of the table."""
    yield f"| seconds | {life.seconds:.0f} |"
    yield f"| wall clock | {'set to and fro' if life.moves_clock else 'left alone'} |"
    for name, count in sorted(life.seen.items()):
        yield f"| {name} | {count} |"
    yield f"| slowest answer, s | {life.slowest:.2f} |"
    for name, kib in (("at its start", life.first_kib), ("warm", life.base_kib), ("at most", life.most_kib), ("last", life.last_kib)):
        yield f"| resident memory {name}, MiB | {kib / 1024:.0f} |"


def report(life: Life) -> None:
    """Prints what a life came to."""
    print("\n".join(lines(life)), flush=True)


def keep(soak: Soak) -> None:
    """Writes the results."""
    now = datetime.now(timezone.utc)
    text = f"{HEADING}\n\n- {now:%Y-%m-%d %H:%M} UTC, {platform.machine()}, {platform.system()} {platform.release()}, {WORKERS} workers\n"
    for number, life in enumerate(soak.done, 1):
        text += f"\n## Life {number}\n\n| what | how many |\n| --- | ---: |\n" + "\n".join(lines(life)) + "\n"
    RESULTS.write_text(text)


# One wrong expectation each, and what must be said of it.
PROOFS: dict[str, tuple[Expectations, str]] = {
    "a count": (Expectations(max=21), "lost or doubled count"),
    "a count that is given back": (Expectations(refunded=6), "successes, not 6"),
    "a lost call in a crowd": (Expectations(lost_in_crowd=1), "a crowd of"),
    "memory": (Expectations(growth_kib=-1_000_000), "memory:"),
    "a stream that hangs": (Expectations(hangs=True, patience=3), "hung stream"),
    "a stream that is left open": (Expectations(leaves_open=True), "the end of all streams"),
    "what is hidden": (Expectations(secret=b"fixed"), "tells what is hidden|a list on"),
    "a bad policy": (Expectations(takes_bad_policies=True), "a bad policy for"),
    "a trap": (Expectations(traps=True), "trap"),
}


def prove() -> int:
    """Runs with each expectation wrong; 0 if each was noticed."""
    missed = 0
    for name, (expected, words) in PROOFS.items():
        soak = Soak(20, 1, 2000, 1, expected)
        try:
            soak.run()
            said = "nothing"
        except (Broken, AssertionError) as error:
            said = str(error).splitlines()[0]
        noticed = any(word in said for word in words.split("|"))
        missed += not noticed
        print(f"{'noticed' if noticed else 'MISSED '}  {name}: {said[:150]}", flush=True)
    return 1 if missed else 0


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--lives", type=int, default=3, help="how often Envoy starts")
    parser.add_argument("--callers", type=int, help="made-up callers in all; 600 each second if not given")
    parser.add_argument("--update-seconds", type=float, default=10)
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--prove", action="store_true", help="show that the checks can fail")
    given = parser.parse_args()
    if given.prove:
        return prove()
    callers = int(given.seconds * 600) if given.callers is None else given.callers
    soak = Soak(given.seconds, given.lives, callers, given.update_seconds)
    try:
        soak.run()
    except (Broken, AssertionError) as error:
        print(f"BROKEN: {error}", file=sys.stderr)
        return 1
    if given.keep:
        keep(soak)
    print("Every promise held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
