"""What is measured: ways to treat a call, and calls to make."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "envoy"))

import rig  # noqa: E402

TYPES = "type.googleapis.com/envoy.extensions.filters.http"
CALLERS = 8  # Connections, each with a credential of its own and one call under way.
TOOLS = [f"tool_{number:02}" for number in range(100)]
PLENTY = 1_000_000_000
FLOORS = ROOT / "target" / "floor" / "wasm32-wasip1" / "release"

Filters = list[dict[str, Any]]


# --- Ways to treat a call ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Variant:
    """An Envoy: filters of its own, or a policy for ours."""

    name: str
    filters: Filters = field(default_factory=list)
    policy: dict[str, Any] | str | None = None
    changes: Callable[[rig.Config], object] = lambda _: None
    wasm: Path | None = None  # Another filter or module in the place of ours.
    headers: tuple[str, ...] = ()
    module: bool = False  # The native module in the place of our filter.

    def config(self, wasm: Path, upstream_port: int) -> rig.Config:
        """The shipped configuration with this variant's filters."""

        def change(config: rig.Config) -> None:
            rig.hcm(config)["http_filters"][:0] = self.filters
            self.changes(config)

        listener, admin = rig.free_ports(2)
        config = rig.render(
            self.policy,
            listener,
            admin,
            upstream_port,
            wasm=None if self.policy is None else self.wasm or wasm,
            access_log="/dev/null",
            changes=change,
        )
        if self.module:
            config = rig.with_module(config)
            if self.wasm:
                [filter] = [each for each in rig.hcm(config)["http_filters"] if each["name"] == "mcp_policy"]
                filter["typed_config"]["dynamic_module_config"]["module"]["local"]["filename"] = str(self.wasm)
        return config


def native(names: Iterable[str], **settings: object) -> Filters:
    """Envoy's own MCP parser, and its own access control: the tool's name must be one of these."""
    is_listed = {
        "filter": "envoy.filters.http.mcp",
        "path": [{"key": "params"}, {"key": "name"}],
        "value": {"or_match": {"value_matchers": [{"string_match": {"exact": name}} for name in names]}},
    }
    tools_policy = {
        "principals": [{"any": True}],
        "permissions": [{"sourced_metadata": {"metadata_matcher": is_listed}}],
    }
    parser = {"@type": f"{TYPES}.mcp.v3.Mcp", "traffic_mode": "REJECT_NO_MCP", **settings}
    access = {"@type": f"{TYPES}.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": {"tools": tools_policy}}}
    return [
        {"name": "envoy.filters.http.mcp", "typed_config": parser},
        {"name": "envoy.filters.http.rbac", "typed_config": access},
    ]


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
OWN_LIMITS = policy({})
OWN_LIMITS["tools"] = {tool: {**CONDITIONS, "limits": [{**LIMIT, "counter": tool}]} for tool in TOOLS}


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


def logged(config: rig.Config) -> None:
    """An access log that has the audit lines and nothing else."""
    line = "%FILTER_STATE(wasm.mcp_audit:PLAIN)%\n"
    rig.hcm(config)["access_log"][0]["typed_config"]["log_format"] = {"text_format_source": {"inline_string": line}}


def twice(config: rig.Config) -> None:
    """The same filter a second time."""
    filters = rig.hcm(config)["http_filters"]
    again = copy.deepcopy(filters[0])
    again["name"] = again["typed_config"]["config"]["name"] = "mcp_policy_again"
    filters.insert(1, again)


BESIDE = {name: value for name, value in policy(LIMITED).items() if name != "requests"}
FULL_AUDIT = {"arguments": "full", "chain": True}

BASE = Variant("no filter")
NATIVE = Variant("Envoy's MCP filter + RBAC, 100 tools", native(TOOLS))
FLOOR = Variant("the host calls of a counted call, nothing decided", policy="", wasm=FLOORS / "floor.wasm")
FLOOR_RECORD = Variant("the same, with the record that mcp-policy leaves", policy="record", wasm=FLOORS / "floor.wasm")
FLOOR_SDK = Variant("the same as the first, by the proxy-wasm SDK", policy="", wasm=FLOORS / "floor_sdk.wasm")
NAMES = Variant("mcp-policy, 100 tools", policy=policy({}))
LIMIT_FOR_ALL = Variant("mcp-policy, 100 tools, a limit", policy=policy({"limits": [LIMIT]}))
FULL = Variant("mcp-policy, 100 tools, three conditions, a limit", policy=policy(LIMITED))
QUIETLY: dict[str, Any] = {"metrics": {"enabled": False}, "access_log": {"keys": ["mcp_decision"]}}
QUIET = Variant("the same, nothing told but the decision", policy=policy(LIMITED, **QUIETLY))
TOLD = Variant(
    "the same, all told: metrics, audit with arguments, a candidate",
    policy=policy(LIMITED, audit=FULL_AUDIT, candidate=BESIDE),
    changes=logged,
)
TWICE = Variant("the same filter twice", policy=policy(LIMITED), changes=twice)
DENIED = Variant("mcp-policy, denied", policy=policy({}, []))
MODULES = [
    Variant("the native module, 100 tools", policy=policy({}), module=True),
    Variant("the native module, 100 tools, a limit", policy=policy({"limits": [LIMIT]}), module=True),
    Variant("the native module, 100 tools, three conditions, a limit", policy=policy(LIMITED), module=True),
]
FLOOR_MODULE = ROOT / "target" / "floor" / "release" / "libfloor_module.so"
MODULE_FLOORS = [
    Variant("the calls of a native module, nothing decided", policy="", wasm=FLOOR_MODULE, module=True),
    Variant("the same, with the record and the metric of mcp-policy", policy="record", wasm=FLOOR_MODULE, module=True),
]
MODULE_QUIET = Variant("the native module, nothing told but the decision", policy=policy(LIMITED, **QUIETLY), module=True)


def told(name: str, **parts: Any) -> Variant:
    """The usual policy, with one thing told more or less."""
    return Variant(f"mcp-policy, {name}", policy=policy(LIMITED, **parts), changes=logged if "audit" in parts else lambda _: None)


def many_tools(count: int) -> Variant:
    """A policy with so many tools: those that are called have conditions and a limit. All could not have them: a policy has at most 131,072 values."""
    called = dict.fromkeys(TOOLS if count >= len(TOOLS) else ["tool_*"], LIMITED)
    others: dict[str, Any] = {f"another_{number:05}": {} for number in range(count - len(called))}
    return Variant(f"mcp-policy, {count:,} tools, three conditions, a limit", policy={**policy({}), "tools": {**called, **others}})


def many_policies(count: int) -> Variant:
    """So many policies, each at a path of its own; the last one governs the calls."""
    one = {"version": "1", "default": "deny", "tools": {"tool_*": LIMITED}}
    paths = {number: "/mcp" if number == 999 else f"/server_{number:04}/*" for number in range(1000 - count, 1000)}
    return Variant(
        f"mcp-policy, {count:,} policies by path",
        policy={
            "policies": {f"policy_{number:04}": one for number in paths},
            "bindings": [{"match": {"path": path}, "policy": f"policy_{number:04}"} for number, path in paths.items()],
            "requests": {"hold_headers": "always"},
        },
    )


SECRET = hashlib.sha256(b"bench").digest()


def with_tokens(name: str, **parts: Any) -> Variant:
    """Callers have tokens, which Envoy's own filter verifies before ours reads them."""
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
    return Variant(name, filters, headers=(f"X-Token: {token}",), **parts)


# --- Calls to make ----------------------------------------------------------------------------

RESULT = json.dumps({"jsonrpc": "2.0", "id": 4711, "result": {"content": [{"type": "text", "text": "ok"}], "isError": False}})


def listed(number: int) -> dict[str, Any]:
    """A tool as servers describe theirs: every second one is none that the policy lists."""
    properties = {name: {"type": "string", "description": f"The {name} of the account"} for name in ("path", "currency")}
    name = TOOLS[number] if number % 2 else f"other_{number}"
    return {
        "name": name,
        "description": "Settles an account for the month that is given, and says what was settled.",
        "inputSchema": {"type": "object", "properties": properties, "required": ["path"]},
    }


LIST = json.dumps({"jsonrpc": "2.0", "id": 4711, "result": {"tools": [listed(number) for number in range(50)]}})
ANSWERS = [RESULT, LIST]


@dataclass(frozen=True)
class Work:
    """What callers ask for."""

    what: str = ""
    answer: str = '"result"'
    callers: int = CALLERS
    padding: int = 0
    lists: bool = False

    @cached_property
    def bodies(self) -> list[str]:
        """What a caller asks for, in turn."""
        return [list_body()] if self.lists else [call_body(tool, 0, self.padding) for tool in (TOOLS[:4] if self.padding else TOOLS)]

    def requests(self, headers: Iterable[str] = ()) -> list[list[str]]:
        """The requests of each caller."""
        return [[request(body, caller, headers) for body in self.bodies] for caller in range(self.callers)]


def call_body(tool: str, caller: int, padding: int = 0) -> str:
    """A tools/call as clients send it, of about 300 bytes, or of so many more."""
    arguments = {
        "path": f"/srv/accounts/{caller:04}/reports/2026/summary.json",
        "amount": 1250.5,
        "currency": "EUR",
        "labels": ["monthly", "reviewed"],
        "note": "Monthly settlement, second run",
    }
    if padding:
        arguments["lines"] = [f"line {number} of the report, as it was settled" for number in range(padding // 48)]
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": 7}}
    return json.dumps({"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": params})


def list_body() -> str:
    """A tools/list."""
    return json.dumps({"jsonrpc": "2.0", "id": 4711, "method": "tools/list", "params": {"_meta": {"progressToken": 7}}})


def request(body: str, caller: int, headers: Iterable[str] = ()) -> str:
    """The request of a caller."""
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
    return "\r\n".join([*head, "", body])


CALLS = Work()
REFUSED = Work(answer='"error"')
LISTS = Work(what="a list of 50 tools", lists=True)
ALONE = Work(what="one call at a time", callers=1)
SIZES = [Work(what=f"{size} KB", padding=size * 1000, callers=4) for size in (1, 10, 100)]


@dataclass(frozen=True)
class Row:
    """What is measured: calls through an Envoy."""

    variant: Variant
    work: Work = CALLS

    @property
    def name(self) -> str:
        """In tables."""
        return ", ".join(filter(None, [self.variant.name, self.work.what]))


SHORT = [
    *map(Row, [BASE, NATIVE, FLOOR, FLOOR_RECORD, NAMES, LIMIT_FOR_ALL, FULL, QUIET, TOLD, TWICE, *MODULE_FLOORS, *MODULES]),
    Row(DENIED, REFUSED),
    Row(BASE, LISTS),
    Row(NAMES, LISTS),
]


def all_rows() -> list[Row]:
    """Everything that can be asked."""
    return [
        *SHORT,
        Row(FLOOR_SDK),
        Row(MODULE_QUIET),
        *(Row(variant, ALONE) for variant in (BASE, NATIVE, FLOOR, NAMES, FULL)),
        *(Row(variant, work) for work in SIZES for variant in (BASE, NATIVE, NAMES, FULL)),
        *(Row(many_tools(count)) for count in (1, 1_000, 10_000)),
        *(Row(many_policies(count)) for count in (1, 10, 1_000)),
        Row(Variant("mcp-policy, nothing listed, all allowed", policy=policy({}, [], "allow"))),
        Row(Variant("mcp-policy, 100 tools, three conditions", policy=policy(CONDITIONS))),
        Row(Variant("mcp-policy, 100 tools, three conditions, a limit each", policy=OWN_LIMITS)),
        # What the language adds, one at a time, to the policy with nothing else.
        *(Row(Variant(f"mcp-policy, 100 tools, {what}", policy=policy(entry))) for what, entry in LANGUAGE.items()),
        Row(told("audit lines", audit={})),
        Row(told("audit lines with arguments, chained", audit=FULL_AUDIT)),
        Row(told("a candidate", candidate=BESIDE)),
        Row(with_tokens("Envoy's JWT filter")),
        Row(
            with_tokens(
                "mcp-policy, tokens",
                policy={**policy(LIMITED, ["tool_*"]), "identity": {"grant": {"jwt_claim": "sub"}, "keys": {"team": {"jwt_claim": "team"}}}},
            )
        ),
    ]
