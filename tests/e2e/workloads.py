"""Long requests under policies that look at all of them: a caller's bytes times a policy's size.

tests/e2e/test_attacks.py sends each to a real server, tests/bench/work.py says how long the filter takes.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from fleet import Policy

MEGABYTE = 1_000_000
# Three bytes.
INVISIBLE = "\u200b"


@dataclass(frozen=True)
class Workload:
    """A request, without its id, and the policy that looks at it. Where it matters, `passes` is whether it may pass."""

    policy: Policy
    method: str
    params: dict[str, Any]
    passes: bool | None = None

    @property
    def body(self) -> bytes:
        """The request as it is sent."""
        message = {"jsonrpc": "2.0", "id": 1, "method": self.method, "params": self.params}
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _call(policy: Policy, tool: str, passes: bool | None = None, **arguments: object) -> Workload:
    return Workload(policy, "tools/call", {"name": tool, "arguments": arguments}, passes)


def _allowing(**more: object) -> Policy:
    return {"version": "1", "default": "allow", "tools": {}, **more}


def _denied_if(path: str, op: str, value: object) -> Policy:
    return _allowing(tools={"run": {"deny_if": [{"conditions": [{"path": path, "op": op, "value": value}]}]}})


_TOOLS = _allowing(tools={f"tool_{number:04}": {"action": "deny"} for number in range(1000)})
_GLOBS = _allowing(tools={f"*{'a*' * 20}{number:04}": {"action": "deny"} for number in range(100)})
_URIS = _allowing(resources={f"memo://{number:04}/*": {"action": "deny"} for number in range(1000)})

_SUBSCRIBED = [f"m:{number:05}" for number in range(80_000)]
# No two stretches of it are alike, so an automaton that is built on the way never gets to use its states again.
_MIXED = "".join(random.Random(7).choices("ab", k=MEGABYTE))


def _regex(pattern: str, text: str) -> Workload:
    return _call(_denied_if("args.command", "regex", pattern), "run", command=text)


WORKLOADS: dict[str, Workload] = {
    "an allowed call, nothing looked at": _call(_allowing(), "run", True, command="a" * MEGABYTE),
    "an allowed call, 1000 tools": _call(_TOOLS, "run", True, command="a" * MEGABYTE),
    "a name of invisible characters, 1000 tools": _call(_TOOLS, INVISIBLE * (MEGABYTE // 3)),
    "a name of accents, 1000 tools": _call(_TOOLS, "a" + "\u0301" * (MEGABYTE // 2)),
    "a long name, 100 globs": _call(_GLOBS, "a" * MEGABYTE),
    "a long URI, 1000 globs": Workload(_URIS, "resources/read", {"uri": "memo://x/" + "a" * MEGABYTE}),
    "URIs to subscribe to, 1000 globs": Workload(_URIS, "subscriptions/listen", {"notifications": {"resourceSubscriptions": _SUBSCRIBED}}),
    "a counted repetition over a long text": _regex("[ab]*a[ab]{30}c", _MIXED),
    "a larger counted repetition over it": _regex("(a|b)*a(a|b){200}c", _MIXED),
    "many counted repetitions over it": _regex("|".join(f"a[ab]{{{n}}}c" for n in range(20, 40)), _MIXED),
    "a word boundary over a long text": _call(_denied_if("args.command", "regex", r"(?i)\bdrop\b"), "run", True, command="drap " * (MEGABYTE // 5)),
    "a glob over a long text": _call(_denied_if("args.command", "glob", "*a*b*c*d*e*f"), "run", True, command="abcde" * (MEGABYTE // 5)),
    "a thousand texts in a list": _call(
        _denied_if("args.texts[*]", "in", [f"role {number}" for number in range(1000)]), "run", True, command="", texts=["role x"] * 100_000
    ),
    "a text in a list of lists": _call(_denied_if("args.texts[*]", "contains", "x"), "run", True, command="", texts=[["a"]] * 60_000),
    "a text that is JSON": _call(_denied_if("args.command", "contains", "x"), "run", command="[" + "[]," * (MEGABYTE // 3) + "[]]"),
}
