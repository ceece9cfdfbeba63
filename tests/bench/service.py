"""What a limit in the rate limit service costs, beside Envoy's own `ratelimit` filter on the same service.

    make rls && .tools/venv/bin/python tests/bench/service.py          the table, in a few minutes
                                   ... --quick                      a rough one
                                   ... --keep                       also writes tests/bench/results-service.md

As measure.py measures: an Envoy of one worker for each variant, all at once, in turns of short rounds, and every cost beside
the Envoy without a filter in the same round; only that the kernel puts the processes where it likes, since the service waits for Redis. The service is that of the tests (tests/rls), which counts in a Redis of its own:
three round trips to Redis for a question, as it holds, counts and releases. Latency is that of calls one after another.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "envoy"), str(Path(__file__).parent)]

import bench  # noqa: E402
import measure  # noqa: E402
from measure import Load, Plan, progress  # noqa: E402
from variants import ALONE, BASE, CALLERS, CALLS, LIMIT, RESULT, Variant, policy, rig  # noqa: E402
from fleet_service import CLUSTER, DOMAIN, Service, natively_limited, running, service_cluster  # noqa: E402

RESULTS = Path(__file__).with_name("results-service.md")
CALLER = {"request_headers": {"header_name": "authorization", "descriptor_key": "caller"}}
ENTRIES = {"policy": "p", "counter": "calls", "scope": "grant", "window": "day"}
NAMES = [{"generic_key": {"descriptor_key": key, "descriptor_value": value}} for key, value in ENTRIES.items()]


def variants(port: int) -> list[Variant]:
    """Nothing, Envoy's own filter, and ours with its limit in this Envoy, in the service, and with leases."""

    def reached(config: rig.Config) -> None:
        config["static_resources"]["clusters"].append(service_cluster(port))

    def native(config: rig.Config) -> None:
        reached(config)
        natively_limited(*NAMES, CALLER, limit=(4_000_000_000, "DAY"))(config)

    def ours(name: str, **limit: Any) -> Variant:
        service = {"cluster": CLUSTER, "domain": DOMAIN, "timeout": 2000}
        own = {**LIMIT, "window": "day", "max": 4_000_000_000, **limit}
        limited = policy({}, [], "allow", name=name, all_tools={"limits": [own]}, counters={"service": service})
        return Variant(name, policy=limited, changes=reached)

    return [
        BASE,
        Variant("Envoy's ratelimit filter", changes=native),
        ours("mcp-policy, a limit in this Envoy"),
        ours("mcp-policy, in the service", count_in="service"),
        ours("mcp-policy, in the service, leases of 10", count_in="service", lease=10),
        ours("mcp-policy, in the service, leases of 100", count_in="service", lease=100),
    ]


class Subject:
    """A variant's Envoy, and what a call through it costs everybody."""

    def __init__(self, variant: Variant, envoy: rig.Envoy, service: Service, load: Load) -> None:
        self.variant = variant
        self._service, self._load = service, load
        pids = [envoy._envoy_pid(), service.pid, service.redis.pid]  # type: ignore[attr-defined]
        # One after the other, and many at once.
        self._alone, self._many = (load.row(envoy.port, work.requests(), work.answer, pids) for work in (ALONE, CALLS))
        # By round: microseconds of Envoy, the service and Redis for a call, and of waiting for one.
        self.rounds: list[list[float]] = []
        self.errors = 0
        self.questions = 0
        self.calls = 0

    def round(self, calls: int) -> None:
        """One round."""
        asked = self._service.told()["questions"]
        many = self._load.round([self._many], calls)[self._many]
        alone = self._load.round([self._alone], calls // 4)[self._alone]
        self.errors += many["wrong"] + alone["wrong"]
        self.questions += self._service.told()["questions"] - asked
        # Each turn begins with two calls of each caller, which are not measured.
        self.calls += 2 * CALLERS + calls + 2 + calls // 4
        self.rounds.append([each / 1000 for each in (*many["cpu"], alone["wait"], alone["mean_wait"])])


def measured(wasm: Path, plan: Plan) -> list[Subject]:
    """Runs the rounds."""
    every: dict[str, Subject] = {}
    for start in range(plan.starts):
        with ExitStack() as stack:
            service = stack.enter_context(running(redis=True, doors=1))
            load = stack.enter_context(Load([RESULT]))
            subjects = []
            for variant in variants(service.doors[0]):
                envoy = stack.enter_context(rig.Envoy(variant.config(wasm, load.ports[0])))
                subject = Subject(variant, envoy, service, load)
                subject.round(plan.calls)
                subject.rounds.clear()
                subjects.append(subject)
            for number in range(plan.rounds):
                progress(f"start {start + 1} of {plan.starts}, round {number + 1} of {plan.rounds}")
                for subject in random.sample(subjects, len(subjects)):
                    subject.round(plan.calls)
            for subject in subjects:
                whole = every.setdefault(subject.variant.name, subject)
                if whole is not subject:
                    whole.rounds += subject.rounds
                    whole.errors += subject.errors
                    whole.questions += subject.questions
                    whole.calls += subject.calls
    progress("")
    return list(every.values())


HEADER = ["variant", "Envoy, µs a call", "service", "Redis", "median wait, µs", "mean wait", "questions a call", "errors"]


def table(subjects: list[Subject]) -> list[str]:
    """The table, in Markdown: medians over the rounds of what each adds to no filter."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---|" + "---:|" * (len(HEADER) - 1)]
    base = subjects[0].rounds
    for subject in subjects:
        cells = []
        for column in range(len(base[0])):
            own = [each[column] for each in subject.rounds]
            beside = [own[at] - base[at][column] for at in range(len(own))]
            nothing = subject is subjects[0] or column in (1, 2)
            cells.append(f"{statistics.median(own):.1f}" if nothing else f"{statistics.median(beside):+.1f}")
        cells = [subject.variant.name, *cells, f"{subject.questions / subject.calls:.3f}", str(subject.errors)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def memory(callers: int) -> str:
    """What Redis keeps for so many callers of one limit."""
    from client import post_bytes
    from fleet import Listener
    from fleet_service import Envoys, crowd

    limited = natively_limited(*NAMES, CALLER, limit=(30, "DAY"))
    with running(redis=True, doors=1) as service, Envoys(service, {"m": Listener(None, limited)}, count=1, workers=1) as envoys:
        redis = service.redis  # type: ignore[attr-defined]
        before = int(redis.info("memory")["used_memory"])
        digest = "0123456789abcdef"
        calls = (post_bytes("{}", [("authorization", f"{digest}{at:016x}")]) for at in range(callers))
        crowd(envoys.ports("m"), calls, [b'"ran"'], connections=16)
        more = int(redis.info("memory")["used_memory"]) - before
    each = f"Redis: {more / callers:.0f} bytes for each caller of a limit ({callers:,} callers)"
    return f"{each}, with the names that limitador gives counters."


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description="Measures what a limit in the rate limit service costs.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()
    plan = Plan(1, 15, 100) if options.quick else Plan(2, 30, 150)
    measure.build()
    subjects = measured(rig.WASM, plan)
    lines = [*bench.setting(rig.WASM, plan), "", *table(subjects), "", memory(5_000 if options.quick else 20_000)]
    print("\n".join(lines))
    if any(subject.errors for subject in subjects):
        raise rig.RigError("calls were not answered as they should be: these numbers mean nothing")
    if options.keep:
        heading = "# What a limit in the rate limit service costs"
        how = "Beside no filter in the same round; [service.py](service.py) says how it is measured."
        RESULTS.write_text("\n".join([heading, "", how, "", *lines, ""]))


if __name__ == "__main__":
    try:
        main()
    except (rig.RigError, OSError) as problem:
        sys.exit(f"service.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
