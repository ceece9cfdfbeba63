"""What a governed call costs: CPU time that filters add to Envoy, measured side by side.

    make bench                                           the table, in about a minute
    .tools/venv/bin/python tests/bench/bench.py --all    everything that can be asked: also one call at a time, long bodies, many tools and policies
                                            ... --only "100 tools|no filter|RBAC"     some rows
                                            ... --against WASM   another build of the filter, in the same rounds
                                            ... --keep   also writes tests/bench/results/<date>.md, and the README's figures
                                            ... --check  fails if a share has grown by more than its interval since the run that is kept

Each row is an Envoy process of its own: the shipped envoy.yaml with one worker thread, and other filters in the place of ours.
measure.py says how they are measured, variants.py what they are, load/ is the load and the MCP server.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import measure
from measure import Measurement, Plan, median_at
from variants import NATIVE, SHORT, Row, all_rows, rig

RESULTS = Path(__file__).with_name("results")
HEADING = """# What the filter costs

CPU time of the Envoy process per call, and what each filter adds to it. Written by `make bench`; [measure.py](../measure.py) says how it is
measured. Compare shares, not microseconds, with those of another day or machine."""
OTHER_BUILD = ", the other build"
PLANS = {"short": Plan(starts=2, rounds=60, calls=300), "all": Plan(starts=2, rounds=40, calls=200), "smoke": Plan(starts=1, rounds=4, calls=50)}
HEADER = ["what", "µs per call", "added", "95% interval", "share of MCP + RBAC", "95% interval", "wait, µs", "MiB", "errors"]


# --- The report -------------------------------------------------------------------------------


def cells(measurement: Measurement, row: Row) -> list[str]:
    """A row of the table."""
    costs = measurement.costs[row]
    found = [row.name, f"{statistics.median(costs):.1f}", "", "", "", ""]
    if measurement.base(row):
        added = measurement.added(row)
        low, high = measurement.interval(partial(median_at, values=added))
        found[2:4] = [f"{statistics.median(added):+.1f}", f"{low:+.1f} to {high:+.1f}"]
        if measurement.native(row):
            share = measurement.share(row)
            low, high = measurement.interval(share)
            found[4:6] = [f"{share(list(range(len(added)))):.2f}", f"{low:.2f} to {high:.2f}"]
    alone = f"{statistics.median(measurement.waits[row]):.0f}" if row.work.callers == 1 else ""
    return [*found, alone, f"{measurement.memory[row]:.0f}", str(measurement.errors[row])]


def table(measurement: Measurement) -> list[str]:
    """The table, in Markdown."""
    rows = [HEADER, *(cells(measurement, row) for row in measurement.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    # Names to the left, numbers to the right.
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    line = "| " + " | ".join([f"{{:{widths[0]}}}", *(f"{{:>{width}}}" for width in widths[1:])]) + " |"
    return [line.format(*row) for row in rows]


def changes(measurement: Measurement) -> list[str]:
    """What each row costs beside itself under the other build, from the rounds that they have in common."""
    named = {row.name: costs for row, costs in measurement.costs.items()}
    lines = ["", "Beside the other build:", ""]
    for row, costs in measurement.costs.items():
        if other := named.get(replace(row, variant=other_build(row.variant.name, row)).name):
            more = [own - before for own, before in zip(costs, other, strict=True)]
            low, high = measurement.interval(partial(median_at, values=more))
            lines.append(f"- {row.name}: {statistics.median(more):+.1f} µs (95% interval {low:+.1f} to {high:+.1f})")
    return lines


def setting(wasm: Path, plan: Plan, measurement: Measurement | None = None) -> list[str]:
    """When, where and on what it was measured."""
    model = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    version = subprocess.run([*rig.find_envoy(), "--version"], capture_output=True, text=True, check=True).stdout
    others = f"; others took {measurement.others:.0%} of that CPU's time" if measurement else f"; load average {os.getloadavg()[0]:.1f}"
    return [
        f"- {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {model}, one of {os.cpu_count()} CPUs, Linux {platform.release()}{others}",
        f"- Envoy {version.split('version: ')[1].strip()}",
        f"- filter: {wasm.stat().st_size} bytes, sha256 {hashlib.sha256(wasm.read_bytes()).hexdigest()}",
        f"- {plan.starts} starts x {plan.rounds} rounds x {plan.calls} calls for each row",
        f"- `{' '.join(['python', f'tests/bench/{Path(sys.argv[0]).name}', *sys.argv[1:]])}`",
    ]


# --- Beside what was -------------------------------------------------------------------------


def other_build(name: str, row: Row, wasm: Path | None = None) -> object:
    """A variant under another build of the filter."""
    return replace(row.variant, name=f"{name}{OTHER_BUILD}", wasm=wasm)


def beside(rows: list[Row], other: Path) -> list[Row]:
    """The rows, each with our filter followed by itself under another build of it."""
    pairs = []
    for row in rows:
        pairs.append(row)
        if row.variant.policy is not None and row.variant.wasm is None and not row.variant.module:
            pairs.append(replace(row, variant=other_build(row.variant.name, row, other)))
    return pairs


def kept() -> Path | None:
    """The newest run that is kept."""
    return max(RESULTS.glob("????-??-??.md"), default=None)


def grown(measurement: Measurement, before: Path) -> list[str]:
    """The rows whose share is certainly larger than it was: the two intervals do not meet."""
    was = {}
    for line in before.read_text().splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if len(parts) == len(HEADER) and (interval := re.fullmatch(r"(\S+) to (\S+)", parts[5])):
            was[parts[0]] = float(interval[2])
    found = []
    for row in measurement.rows:
        if row.name in was and measurement.native(row) and row.variant is not NATIVE:
            low, high = measurement.interval(measurement.share(row))
            if low > was[row.name]:
                found.append(f"{row.name}: its share is {low:.2f} to {high:.2f}; it was {was[row.name]:.2f} at most in {before.name}")
    return found


README = measure.ROOT / "README.md"
FIGURES = re.compile(r"(<!-- figures -->\n).*(<!-- end of figures -->)", re.DOTALL)


def keep(lines: list[str], measurement: Measurement) -> None:
    """Writes the run, and the README's figures from it; tests/suite/figures.rs compares the two."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(timezone.utc):%Y-%m-%d}.md"
    path.write_text("\n".join([HEADING, "", *lines, ""]))
    shown = [cells(measurement, row) for row in SHORT if row in measurement.rows and row.variant is not NATIVE and measurement.native(row)]
    rows = [f"| {row[0]} | {row[4]} | {row[5]} |" for row in shown]
    where = f"[tests/bench/results/{path.name}](tests/bench/results/{path.name})"
    told = f"From {where}, in which others took {measurement.others:.0%} of that CPU's time; `make bench-short` measures it anew."
    text = "\n".join(["| what | share | 95% interval |", "| --- | ---: | ---: |", *rows, "", told, ""])
    README.write_text(FIGURES.sub(lambda found: f"{found[1]}{text}{found[2]}", README.read_text()))


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description="Measures the CPU time that filters add to Envoy, per call.")
    parser.add_argument("--all", action="store_true", help="everything that can be asked: some minutes")
    parser.add_argument("--smoke", action="store_true", help="a few calls of each row, to see that all works; the figures mean nothing")
    parser.add_argument("--only", metavar="REGEX", help="the rows whose name matches")
    parser.add_argument("--against", type=Path, metavar="WASM", help="another build of the filter, in the same rounds")
    parser.add_argument("--starts", type=int, help="how often all is started anew")
    parser.add_argument("--keep", action="store_true", help="write tests/bench/results/<date>.md, and the README's figures")
    parser.add_argument("--check", action="store_true", help="fail if a share has grown by more than its interval since the run that is kept")
    options = parser.parse_args()
    plan = PLANS["smoke" if options.smoke else "all" if options.all else "short"]
    plan = replace(plan, starts=options.starts or plan.starts)
    rows = all_rows() if options.all else SHORT
    if options.only:
        rows = [row for row in rows if re.search(options.only, row.name)]
    measure.build()
    with tempfile.TemporaryDirectory() as directory:
        if not rig.WASM.is_file():
            raise rig.RigError(f"{rig.WASM} does not exist: build the filter with `make wasm`")
        # A copy: a build in the meantime must not change what is measured.
        wasm = Path(shutil.copy(rig.WASM, directory))
        if any(row.variant.module for row in rows):
            if not rig.MODULE.is_file():
                raise rig.RigError(f"{rig.MODULE} does not exist: build the native module with `make module`")
            rig.MODULE = Path(shutil.copy(rig.MODULE, directory))
        if options.against:
            rows = beside(rows, Path(shutil.copy(options.against, Path(directory) / "other.wasm")))
        measurement = measure.measure(rows, wasm, plan)
        lines = [*setting(wasm, plan, measurement), "", *table(measurement), *(changes(measurement) if options.against else [])]
    print("\n".join(lines))
    if any(measurement.errors.values()):
        raise rig.RigError("calls were not answered as they should be: these numbers mean nothing")
    if options.check and (before := kept()) and (found := grown(measurement, before)):
        raise rig.RigError("\n  ".join(["the filter has become slower:", *found]))
    if options.keep:
        keep(lines, measurement)


if __name__ == "__main__":
    try:
        main()
    except (rig.RigError, OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"bench.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
