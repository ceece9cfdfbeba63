"""What a governed tools/call costs: CPU time that filters add to Envoy, measured side by side.

    make bench                                             the table, in about five minutes
    .tools/venv/bin/python tests/bench/bench.py --quick    a rough one, in about a minute
                                            ... --keep     also writes tests/bench/results.md
                                            ... --all      also takes the filters' costs apart
                                            ... --telling  what metrics, audit lines and a candidate cost
                                            ... --bindings what many policies cost, and tokens that name callers

Each variant is an Envoy process of its own: the shipped envoy.yaml with one worker thread, and other
filters in the place of ours. All run at once, before one upstream, and take turns in short rounds of
calls. A machine's speed drifts over seconds, so costs are compared within a round only: what a variant
adds is its CPU time per call (user and system, all threads of the process) less that of the Envoy
without a filter in the same round, and the table has the medians of these differences over all rounds.
All is started anew several times, because one process can be some percent slower than its twin.

The load is our own, not a tool's: rounds of 200 calls need connections that outlive them, an exact
number of calls, and a look at every answer.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "envoy"))

import rig  # noqa: E402

HEADING = """# What the filter costs

CPU time of the Envoy process per proxied tools/call, and what each filter adds to it. Written by
`make bench` with `--keep`; [bench.py](bench.py) says how it is measured."""
RESULTS = Path(__file__).with_name("results.md")
TYPES = "type.googleapis.com/envoy.extensions.filters.http"

CALLERS = 8  # Connections, each with a credential of its own and one call under way.
TOOLS = [f"tool_{number:02}" for number in range(100)]
PLENTY = 1_000_000_000
OTHER_BUILD = ", the other build"
TARGET = 0.5  # Of what Envoy's own filters add.

Filters = list[dict[str, Any]]


# --- The variants -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to treat calls: filters of Envoy's own, or a policy for ours."""

    name: str
    filters: Filters = field(default_factory=list)
    policy: dict[str, Any] | None = None
    changes: Callable[[rig.Config], object] = lambda _: None
    answer: bytes = b'"result"'
    wasm: Path | None = None  # Another filter in the place of ours.
    headers: tuple[str, ...] = ()

    def config(self, wasm: Path, upstream_port: int) -> rig.Config:
        """The shipped configuration with this variant's filters."""

        def change(config: rig.Config) -> None:
            rig.hcm(config)["http_filters"][:0] = self.filters
            self.changes(config)

        listener, admin = rig.free_ports(2)
        return rig.render(
            self.policy,
            listener,
            admin,
            upstream_port,
            wasm=(self.wasm or wasm) if self.policy else None,
            access_log="/dev/null",
            changes=change,
        )


def native(*names: dict[str, str], **settings: object) -> Filters:
    """Envoy's own MCP parser, and its own access control: the tool's name must match one of these."""
    matchers = [{"string_match": name} for name in names]
    is_listed = {
        "filter": "envoy.filters.http.mcp",
        "path": [{"key": "params"}, {"key": "name"}],
        "value": {"or_match": {"value_matchers": matchers}},
    }
    tools_policy = {
        "principals": [{"any": True}],
        "permissions": [{"sourced_metadata": {"metadata_matcher": is_listed}}],
    }
    access = {"@type": f"{TYPES}.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": {"tools": tools_policy}}}
    return [parser(**settings), {"name": "envoy.filters.http.rbac", "typed_config": access}]


def parser(**settings: object) -> dict[str, Any]:
    """Envoy's own MCP parser: refuses what is not MCP, leaves method and tool in dynamic metadata."""
    config = {"@type": f"{TYPES}.mcp.v3.Mcp", "traffic_mode": "REJECT_NO_MCP", **settings}
    return {"name": "envoy.filters.http.mcp", "typed_config": config}


def buffer() -> dict[str, Any]:
    """Envoy's own filter that waits for a request's end."""
    config = {"@type": f"{TYPES}.buffer.v3.Buffer", "max_request_bytes": 1 << 20}
    return {"name": "envoy.filters.http.buffer", "typed_config": config}


def policy(entry: dict[str, Any], tools: Iterable[str] = TOOLS, default: str = "deny", **parts: Any) -> dict[str, Any]:
    """A policy with the same entry for each tool; headers are held as in the shipped envoy.yaml."""
    entries = dict.fromkeys(tools, entry)
    return {"version": "1", "default": default, "tools": entries, "requests": {"hold_headers": "always"}, **parts}


CONDITIONS: dict[str, Any] = {
    "require": [
        {"conditions": [{"path": "args.amount", "op": "lte", "value": 10_000}]},
        {"conditions": [{"path": "args.currency", "op": "in", "value": ["EUR", "USD", "GBP"]}]},
    ],
    "deny_if": [{"conditions": [{"path": "args.path", "op": "regex", "value": r"(^|/)\.\.(/|$)"}]}],
}
LIMIT = {"counter": "calls", "window": "hour", "max": PLENTY, "scope": "grant"}
LIMITED = {**CONDITIONS, "limits": [LIMIT]}
ONE_LIMIT = policy({}, [], "allow", all_tools={"limits": [LIMIT]})
OWN_LIMITS = policy({})
OWN_LIMITS["tools"] = {tool: {**CONDITIONS, "limits": [{**LIMIT, "counter": tool}]} for tool in TOOLS}
EXACT = [{"exact": tool} for tool in TOOLS]


def requires(**condition: Any) -> dict[str, Any]:
    """An entry with one condition."""
    return {"require": [{"conditions": [condition]}]}


LANGUAGE: dict[str, dict[str, Any]] = {
    "a field against a field": requires(path="args.amount", op="lte", **{"from": "args.amount"}),
    "every element": requires(path="args.labels[*]", op="in", value=["monthly", "reviewed"], every=True),
    "a path below a folder": requires(path="args.path", op="path_under", value="/srv/accounts"),
    "hours of a zone": {"during": {"hours": ["00:00-24:00"], "timezone": "Europe/Berlin"}},
    "equal calls": {"limits": [{"counter": "loop", "window": "5m", "max": PLENTY, "per": "call"}]},
    "calls in flight": {"limits": [{"counter": "flying", "concurrent": 1000}]},
}

BASE = Variant("no filter")
NATIVE = Variant("Envoy's MCP filter + RBAC, 100 tools", native(*EXACT))
OURS = Variant("mcp-policy, 100 tools, conditions, a limit", policy=policy(LIMITED))
VARIANTS = [
    BASE,
    Variant("Envoy's buffer filter", [buffer()]),
    NATIVE,
    OURS,
    Variant("mcp-policy, a limit for all tools, nothing else", policy=ONE_LIMIT),
    Variant("mcp-policy, denied", policy=policy({}, []), answer=b'"error"'),
]
FLOORS = ROOT / "target" / "floor"


def floor(name: str, crate: str) -> Variant:
    """A filter that makes the host calls of a counted call, and decides nothing."""
    built = FLOORS / "wasm32-wasip1" / "release" / f"{crate.replace('-', '_')}.wasm"
    return Variant(name, policy=policy({}, [], "allow"), wasm=built)


FLOOR = floor("the host calls of a counted call, nothing decided", "floor")
FLOOR_SDK = floor("the same calls by the proxy-wasm SDK", "floor-sdk")
MORE = [
    FLOOR,
    FLOOR_SDK,
    Variant("Envoy's MCP filter alone", [parser()]),
    Variant("Envoy's MCP filter + RBAC, two prefixes", native({"prefix": "tool_"}, {"prefix": "other_"})),
    Variant("Envoy's MCP filter + RBAC, 100 tools, no duplicate keys", native(*EXACT, reject_duplicate_keys=True)),
    Variant("mcp-policy, 100 tools, conditions, a limit each", policy=OWN_LIMITS),
    Variant("mcp-policy, 100 tools, conditions, no limit", policy=policy(CONDITIONS)),
    Variant("mcp-policy, 100 tools, nothing else", policy=policy({})),
    Variant("mcp-policy, nothing listed, all allowed", policy=policy({}, [], "allow")),
    # What the language adds, one at a time, to the policy with nothing else.
    *(Variant(f"mcp-policy, 100 tools, {what}", policy=policy(entry)) for what, entry in LANGUAGE.items()),
]


# --- Many policies ----------------------------------------------------------------------------

SECRET = hashlib.sha256(b"bench").digest()


def named_callers(variant: str, **parts: Any) -> Variant:
    """A variant whose callers have tokens, which Envoy's own filter verifies before ours reads them."""
    import jwt

    key = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    provider = {
        "issuer": "bench",
        "local_jwks": {"inline_string": json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": key}]})},
        "payload_in_metadata": "jwt_payload",
        "from_headers": [{"name": "x-token"}],
    }
    authn = {
        "@type": f"{TYPES}.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    claims = {"iss": "bench", "sub": "agent-7", "team": "team_0999", "exp": int(time.time()) + 86_400}
    token = jwt.encode(claims, SECRET, "HS256")
    filters = [{"name": "envoy.filters.http.jwt_authn", "typed_config": authn}]
    return Variant(variant, filters, headers=(f"X-Token: {token}",), **parts)


def many(count: int, match: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """So many policies, of which the last one governs the calls."""
    one = {"version": "1", "default": "deny", "tools": {"tool_*": LIMITED}}
    numbers = range(1000 - count, 1000)
    return {
        "policies": {f"policy_{number:04}": one for number in numbers},
        "bindings": [{"match": match(number), "policy": f"policy_{number:04}"} for number in numbers],
        "identity": {"grant": {"jwt_claim": "sub"}, "keys": {"team": {"jwt_claim": "team"}}},
        "requests": {"hold_headers": "always"},
    }


def by_path(number: int) -> dict[str, Any]:
    """Servers of their own: the last one is called."""
    return {"path": "/mcp" if number == 999 else f"/server_{number:04}/*"}


def by_team(number: int) -> dict[str, Any]:
    """Teams of their own, on one path."""
    return {"path": "/mcp", "identity": {"team": f"team_{number:04}"}}


def binding_variants() -> list[Variant]:
    """The same policy, alone and among many."""
    alone = {key: value for key, value in many(1, by_path).items() if key not in ("policies", "bindings")}
    alone |= {"version": "1", "default": "deny", "tools": {"tool_*": LIMITED}}
    return [
        BASE,
        NATIVE,
        named_callers(AUTHN),
        named_callers("mcp-policy, callers by credential, no bindings", policy=alone | {"identity": {}}),
        named_callers("mcp-policy, tokens, no bindings", policy=alone),
        named_callers(ONE_BINDING, policy=many(1, by_path)),
        named_callers("mcp-policy, tokens, 10 bindings by path", policy=many(10, by_path)),
        named_callers("mcp-policy, tokens, 1000 bindings by path", policy=many(1000, by_path)),
        named_callers("mcp-policy, tokens, 1 binding by team", policy=many(1, by_team)),
        named_callers("mcp-policy, tokens, 10 bindings by team", policy=many(10, by_team)),
        named_callers("mcp-policy, tokens, 1000 bindings by team", policy=many(1000, by_team)),
    ]


# --- What is told of decisions ------------------------------------------------------------------


def told(name: str, **parts: Any) -> Variant:
    """The usual policy, with more or less told of what it decides."""

    def logged(config: rig.Config) -> None:
        rig.hcm(config)["access_log"] = [LINES] if "audit" in parts else []

    return Variant(name, policy=policy(LIMITED, **parts), changes=logged)


LINES = {
    "name": "envoy.access_loggers.file",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": "/dev/null",
        "log_format": {"text_format_source": {"inline_string": "%FILTER_STATE(wasm.mcp_audit:PLAIN)%\n"}},
    },
}
QUIETEST = "mcp-policy, nothing told"
QUIET = {"metrics": {"enabled": False}}
BESIDE = {name: value for name, value in policy(LIMITED).items() if name != "requests"}


def telling_variants() -> list[Variant]:
    """Nothing told, one thing told, everything told."""
    return [
        BASE,
        NATIVE,
        told(QUIETEST, **QUIET),
        told("mcp-policy, metrics"),
        told("mcp-policy, audit lines", **QUIET, audit={}),
        told("mcp-policy, audit lines with arguments, chained", **QUIET, audit={"arguments": "full", "chain": True}),
        told("mcp-policy, a candidate", **QUIET, candidate=BESIDE),
        told("mcp-policy, everything on", audit={"arguments": "full", "chain": True}, candidate=BESIDE),
    ]


AUTHN = "Envoy's JWT filter alone"
ONE_BINDING = "mcp-policy, tokens, 1 binding by path"

# --- The load ---------------------------------------------------------------------------------


def upstream_config(listener: int, admin: int) -> rig.Config:
    """An Envoy that reads a call to its end, and answers it with the same result as all others."""
    result = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "ok"}], "isError": False}}
    response = {"status": 200, "body": {"inline_string": json.dumps(result)}}
    json_type = {
        "header": {"key": "content-type", "value": "application/json"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }

    def change(config: rig.Config) -> None:
        manager = rig.hcm(config)
        manager.pop("access_log")
        # Without it the answer comes before the call has been read, and costs the connection.
        manager["http_filters"].insert(0, buffer())
        manager["route_config"]["response_headers_to_add"] = [json_type]
        manager["route_config"]["virtual_hosts"][0]["routes"][0] = {
            "match": {"prefix": "/"},
            "direct_response": response,
        }

    return rig.render(None, listener, admin, admin, wasm=None, changes=change)


def call(tool: str, caller: int, headers: Iterable[str] = ()) -> bytes:
    """A tools/call as clients send it, with a body of about 300 bytes."""
    arguments = {
        "path": f"/srv/accounts/{caller:04}/reports/2026/summary.json",
        "amount": 1250.5,
        "currency": "EUR",
        "labels": ["monthly", "reviewed"],
        "note": "Monthly settlement, second run",
    }
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": 7}}
    body = json.dumps({"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": params})
    token = hashlib.sha256(str(caller).encode()).hexdigest()
    head = [
        "POST /mcp HTTP/1.1",
        "Host: mcp.example.com",
        "User-Agent: agent/1.0",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {token}",
        f"Mcp-Session-Id: {token[:32]}",
        "MCP-Protocol-Version: 2025-11-25",
        *headers,
    ]
    return "\r\n".join([*head, "", body]).encode()


class Load:
    """Connections that stay open, each of a caller who calls one tool after another."""

    def __init__(self, port: int, variant: Variant) -> None:
        self._answer = variant.answer
        self._calls = [[call(tool, caller, variant.headers) for tool in TOOLS] for caller in range(CALLERS)]
        self._sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CALLERS)]
        self._sent = 0
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, count: int) -> int:
        """Makes so many calls, one under way on each connection; returns how many were answered wrongly."""
        wrong = 0
        for number in range(count + CALLERS):
            caller = number % CALLERS
            connection = self._sockets[caller]
            if number >= CALLERS:
                wrong += not self._is_right(receive(connection))
            if number < count:
                self._sent += 1
                connection.sendall(self._calls[caller][self._sent % len(TOOLS)])
        return wrong

    def _is_right(self, response: bytes) -> bool:
        return response.startswith(b"HTTP/1.1 200 ") and self._answer in response

    def close(self) -> None:
        """Ends the connections."""
        for each in self._sockets:
            each.close()


def passes(tool: str, port: int) -> bool:
    """Whether a call of this tool gets the upstream's answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(call(tool, 0))
        return b'"result"' in receive(connection)


def receive(connection: socket.socket) -> bytes:
    """One response, whole."""
    data = b""
    while True:
        chunk = connection.recv(65536)
        if not chunk:
            raise rig.RigError(f"Envoy closed a connection after {data!r}")
        data += chunk
        head, separator, body = data.partition(b"\r\n\r\n")
        if separator and is_whole(head.lower(), body):
            return data


def is_whole(head: bytes, body: bytes) -> bool:
    """Whether the body has ended. Where a response is looked at for lists, nothing says its length beforehand."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])


# --- Measuring --------------------------------------------------------------------------------


class Subject:
    """A variant's Envoy, with its callers connected and its CPU time so far."""

    def __init__(self, variant: Variant, envoy: rig.Envoy) -> None:
        self.variant = variant
        self.errors = 0
        self.envoy = envoy
        self.load = Load(envoy.port, variant)
        # Linux: the CPU clock of another process, in nanoseconds (CPUCLOCK_SCHED in the kernel's posix-timers.h).
        self._clock = (~envoy._envoy_pid() << 3) | 2

    def microseconds_per_call(self, calls: int) -> float:
        """CPU time that Envoy takes for one call, over so many."""
        self.errors += self.load.run(CALLERS)
        before = self._cpu_ns()
        self.errors += self.load.run(calls)
        return (self._cpu_ns() - before) / 1000 / calls

    def _cpu_ns(self) -> int:
        # What comes after an answer, such as the access log, belongs to the call.
        time.sleep(0.003)
        return time.clock_gettime_ns(self._clock)


@dataclass(frozen=True)
class Plan:
    """How often all Envoys are started, for how many rounds, of how many calls to each."""

    starts: int
    rounds: int
    calls: int


FULL = Plan(starts=5, rounds=100, calls=200)
QUICK = Plan(starts=2, rounds=40, calls=200)


@dataclass
class Measurement:
    """Microseconds per call, by variant; those at the same place of each list are of the same round."""

    plan: Plan
    rounds: dict[Variant, list[float]]
    errors: dict[Variant, int]
    memory: dict[Variant, int]

    def added(self, variant: Variant) -> list[float]:
        """What the variant adds to no filter, round by round."""
        return [cost - base for cost, base in zip(self.rounds[variant], self.rounds[BASE], strict=True)]

    def share(self, variant: Variant, places: Iterable[int]) -> float:
        """What the variant adds, as a share of what Envoy's own filters add, in these rounds."""
        places = list(places)
        return median_at(places, self.added(variant)) / median_at(places, self.added(NATIVE))

    def interval(self, statistic: Callable[[list[int]], float]) -> tuple[float, float]:
        """A 95% interval of a statistic over rounds, by bootstrap: of the starts, then of the rounds of each."""
        chance = random.Random(0)

        def resampled() -> list[int]:
            places: list[int] = []
            for start in chance.choices(range(self.plan.starts), k=self.plan.starts):
                first = start * self.plan.rounds
                places += chance.choices(range(first, first + self.plan.rounds), k=self.plan.rounds)
            return places

        values = sorted(statistic(resampled()) for _ in range(400))
        return values[10], values[389]


def median_at(places: Iterable[int], values: list[float]) -> float:
    """The median of the values at these places."""
    return statistics.median(values[at] for at in places)


def measure(variants: list[Variant], wasm: Path, plan: Plan) -> Measurement:
    """Runs the rounds."""
    measurement = Measurement(plan, {variant: [] for variant in variants}, dict.fromkeys(variants, 0), {})
    for start in range(plan.starts):
        with ExitStack() as stack:
            upstream_port, admin_port = rig.free_ports(2)
            stack.enter_context(rig.Envoy(upstream_config(upstream_port, admin_port)))
            subjects = []
            for variant in variants:
                progress(f"start {start + 1} of {plan.starts}: {variant.name}")
                envoy = stack.enter_context(rig.Envoy(variant.config(wasm, upstream_port)))
                subject = Subject(variant, envoy)
                stack.callback(subject.load.close)
                if variant in (NATIVE, OURS) and passes("unlisted", envoy.port):
                    raise rig.RigError(f"{variant.name}: a tool that is not listed passes")
                subject.microseconds_per_call(2 * plan.calls)
                subjects.append(subject)
            for number in range(plan.rounds):
                progress(f"start {start + 1} of {plan.starts}, round {number + 1} of {plan.rounds}")
                for subject in random.sample(subjects, len(subjects)):
                    measurement.rounds[subject.variant].append(subject.microseconds_per_call(plan.calls))
            for subject in subjects:
                measurement.errors[subject.variant] += subject.errors
                measurement.memory[subject.variant] = subject.envoy.rss_kib()
    progress("")
    return measurement


def progress(text: str) -> None:
    """Says on a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def build_floors() -> None:
    """Builds the filters that decide nothing."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--target", "wasm32-wasip1"]
    for crate in ("floor", "floor-sdk"):
        project = Path(__file__).with_name(crate)
        subprocess.run([*command, "--target-dir", str(FLOORS)], cwd=project, check=True)


# --- The report -------------------------------------------------------------------------------

HEADER = ["variant", "µs per call", "added", "95% interval", "middle half", "share of MCP + RBAC", "errors"]


def table(measurement: Measurement) -> list[str]:
    """The table, in Markdown."""
    rows = [HEADER]
    for variant, costs in measurement.rounds.items():
        cells = [variant.name, f"{statistics.median(costs):.1f}", "", "", "", "", str(measurement.errors[variant])]
        if variant is not BASE:
            added = measurement.added(variant)
            low, high = measurement.interval(partial(median_at, values=added))
            quarter, _, three_quarters = statistics.quantiles(added, n=4)
            share = measurement.share(variant, range(len(added)))
            cells[2:6] = [
                f"{statistics.median(added):+.1f}",
                f"{low:+.1f} to {high:+.1f}",
                f"{quarter:+.1f} to {three_quarters:+.1f}",
                f"{share:.2f}",
            ]
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    # Names to the left, numbers to the right.
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    name = f"{{:{widths[0]}}}"
    line = "| " + " | ".join([name, *(f"{{:>{width}}}" for width in widths[1:])]) + " |"
    return [line.format(*row) for row in rows]


def verdict(measurement: Measurement) -> str:
    """Whether the filter costs as little as it should."""
    share = measurement.share(OURS, range(len(measurement.rounds[OURS])))
    low, high = measurement.interval(partial(measurement.share, OURS))
    met = "met" if share <= TARGET else "missed"
    return (
        f"Target {met}: `{OURS.name}` adds {share:.2f} of what `{NATIVE.name}` adds "
        f"(95% interval {low:.2f} to {high:.2f}); the target is at most {TARGET:.2f}."
    )


def growth(measurement: Measurement) -> list[str]:
    """What each of the variants with tokens adds to Envoy's JWT filter, beside the one with a single binding, and its memory."""
    variants = {variant.name: variant for variant in measurement.rounds}
    base, one = measurement.rounds[variants[AUTHN]], measurement.rounds[variants[ONE_BINDING]]
    lines = []
    for variant, costs in measurement.rounds.items():
        places = range(len(costs))
        own = statistics.median(costs[at] - base[at] for at in places)
        single = statistics.median(one[at] - base[at] for at in places)
        more = statistics.median(costs[at] - one[at] for at in places)
        beside = f"{own:+.1f} µs beside the JWT filter, {more:+.1f} µs ({100 * more / single:+.0f} %) beside one binding"
        if not variant.headers:
            beside = "no tokens"
        lines.append(f"- {variant.name}: {beside}; {measurement.memory[variant] / 1024:.0f} MiB")
    return lines


def prices(measurement: Measurement) -> list[str]:
    """What each thing that is told costs beside nothing told."""
    variants = {variant.name: variant for variant in measurement.rounds}
    quiet = measurement.rounds[variants[QUIETEST]]
    lines = []
    for variant, costs in measurement.rounds.items():
        if variant.policy is None or variant.name == QUIETEST:
            continue
        more = [costs[at] - quiet[at] for at in range(len(quiet))]
        low, high = measurement.interval(partial(median_at, values=more))
        lines.append(f"- {variant.name}: {statistics.median(more):+.1f} µs (95% interval {low:+.1f} to {high:+.1f})")
    return [f"Beside `{QUIETEST}`, in the same rounds:", "", *lines]


def price_of_the_sdk(measurement: Measurement) -> str:
    """What the two floors differ by, in words: they make the same calls, and differ in the SDK alone."""
    raw, sdk = measurement.rounds[FLOOR], measurement.rounds[FLOOR_SDK]
    more = [sdk[at] - raw[at] for at in range(len(raw))]
    low, high = measurement.interval(partial(median_at, values=more))
    return (
        f"The proxy-wasm SDK: `{FLOOR_SDK.name}` cost {statistics.median(more):+.1f} µs beside "
        f"`{FLOOR.name}` (95% interval {low:+.1f} to {high:+.1f}): two more callbacks at a stream's end, look-ups of contexts, "
        "and a copy of every header, which the filter saves by a raw call."
    )


def beside(variants: list[Variant], other: Path) -> list[Variant]:
    """The variants with our filter, each followed by itself under another build of it."""
    pairs = []
    for variant in variants:
        pairs.append(variant)
        if variant.policy and variant.wasm is None:
            pairs.append(replace(variant, name=f"{variant.name}{OTHER_BUILD}", wasm=other))
    return pairs


def changes(measurement: Measurement) -> list[str]:
    """What each variant costs beside itself under the other build, from the rounds that they have in common."""
    named = {variant.name: costs for variant, costs in measurement.rounds.items()}
    lines = []
    for name, costs in named.items():
        if f"{name}{OTHER_BUILD}" not in named:
            continue
        more = [own - before for own, before in zip(costs, named[f"{name}{OTHER_BUILD}"], strict=True)]
        low, high = measurement.interval(partial(median_at, values=more))
        lines.append(f"- {name}: {statistics.median(more):+.1f} µs (95% interval {low:+.1f} to {high:+.1f})")
    return ["", "Beside the other build:", "", *lines]


def setting(wasm: Path, plan: Plan) -> list[str]:
    """When, where and on what it was measured."""
    model = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    version = subprocess.run([*rig.find_envoy(), "--version"], capture_output=True, text=True, check=True).stdout
    body = call(TOOLS[0], 0).partition(b"\r\n\r\n")[2]
    now = datetime.now(timezone.utc)
    return [
        f"- {now:%Y-%m-%d %H:%M} UTC, {model}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"- Envoy {version.split('version: ')[1].strip()}",
        f"- filter: {wasm.stat().st_size} bytes, sha256 {hashlib.sha256(wasm.read_bytes()).hexdigest()}",
        f"- {plan.starts} starts x {plan.rounds} rounds x {plan.calls} calls of {len(body)} bytes"
        f" for each variant, {CALLERS} connections",
        f"- `{' '.join(['python', 'tests/bench/bench.py', *sys.argv[1:]])}`",
    ]


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description="Measures the CPU time that filters add to Envoy, per tools/call.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute, wider intervals")
    parser.add_argument("--all", action="store_true", help="more variants, which take the costs apart")
    parser.add_argument("--bindings", action="store_true", help="other variants: 1, 10 and 1000 policies, and tokens")
    parser.add_argument("--telling", action="store_true", help="other variants: metrics, audit lines and a candidate, on and off")
    parser.add_argument("--against", type=Path, metavar="WASM", help="another build of the filter, in the same rounds")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if options.all:
        build_floors()
    with tempfile.TemporaryDirectory() as directory:
        if not rig.WASM.is_file():
            raise rig.RigError(f"{rig.WASM} does not exist: build the filter with `make wasm`")
        # A copy: a build in the meantime must not change what is measured.
        wasm = Path(shutil.copy(rig.WASM, directory))
        variants = VARIANTS + MORE * options.all
        if options.bindings or options.telling:
            variants = binding_variants() if options.bindings else telling_variants()
        if options.against:
            variants = beside(variants, Path(shutil.copy(options.against, Path(directory) / "other.wasm")))
        measurement = measure(variants, wasm, plan)
        if options.bindings or options.telling:
            conclusion = growth(measurement) if options.bindings else prices(measurement)
        else:
            conclusion = [verdict(measurement)]
        if options.against:
            conclusion += changes(measurement)
        if FLOOR_SDK in measurement.rounds:
            conclusion.append(f"\n{price_of_the_sdk(measurement)}")
        lines = [*setting(wasm, plan), "", *table(measurement), "", *conclusion]
    print("\n".join(lines))
    if any(measurement.errors.values()):
        raise rig.RigError("calls were not answered as they should be: these numbers mean nothing")
    if options.keep:
        kind = "-bindings" if options.bindings else "-telling" if options.telling else "-against" if options.against else ""
        results = RESULTS.with_name(f"results{kind}.md")
        results.write_text("\n".join([HEADING, "", *lines, ""]))


if __name__ == "__main__":
    try:
        main()
    except (rig.RigError, OSError) as problem:
        sys.exit(f"bench.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
