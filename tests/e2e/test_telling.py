"""What operators are told: metrics that no caller can make more of, audit lines as the README configures them, and a candidate."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rig
import yaml

from cli import BINARY as CLI
from client import post
from fleet import Fleet, Listener, Policy, answering, held
from gateway import call, until
from storm import request, storm

README = (rig.ROOT / "envoy" / "README.md").read_text()
SCHEMA = json.loads((rig.ROOT / "policies" / "schema" / "audit.schema.json").read_text())
MADE_UP = 10_000
WORKERS = 4

SHOP: Policy = held(
    {
        "version": "1",
        "name": "shop",
        "default": "deny",
        "tools": {
            "search": {},
            "copy": {"limits": [{"counter": "copies", "window": "month", "max": 3}]},
            "login": {},
            "drop": {"action": "deny"},
        },
        "methods": {"default": "deny", "tools/call": {}},
        "audit": {"arguments": "redacted", "redact": ["/password"], "chain": True, "to": ["access_log", "log"]},
        "candidate": {
            "version": "1",
            "default": "deny",
            "tools": {"search": {"limits": [{"counter": "searches", "window": "month", "max": 2}]}, "copy": {}, "login": {}, "drop": {}},
        },
    }
)


def printed(key: str, name: str) -> Any:
    """The block of YAML in the README's section of that name that has this text."""
    section = README.split(f"\n## {name}\n")[1].split("\n## ")[0]
    [found] = [block for block in re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL) if key in block]
    return yaml.safe_load(found)


@dataclass
class Told:
    """An Envoy with the audit log and the access logger that the README prints."""

    fleet: Fleet
    envoy: rig.Envoy
    audit: Path

    def call(self, tool: str, arguments: str = "{}", **fields: str) -> dict[str, Any]:
        """One call; its answer."""
        answer = post(self.fleet.port("shop"), call(tool, arguments), list(fields.items()))
        return dict(json.loads(answer.body))

    def series(self) -> dict[str, float]:
        """All series of the filter, and of the access logger."""
        found = {}
        for line in self.envoy.admin("/stats/prometheus").splitlines():
            name, _, value = line.rpartition(" ")
            if re.match(r"(envoy_)?mcp_policy_", name):
                found[name] = float(value)
        return found

    def lines(self) -> list[dict[str, Any]]:
        """The audit lines that Envoy has written."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    audit = tmp_path / "audit.jsonl"

    def logged(config: rig.Config) -> None:
        [lines] = printed("wasm.mcp_audit", "Audit")["access_log"]
        lines["typed_config"]["path"] = str(audit)
        rig.hcm(config)["access_log"] += [lines, *printed("envoy.access_loggers.stats", "Metrics")]

    fleet = Fleet(9)
    fleet.add("shop", Listener(SHOP, answering(200, '{"jsonrpc":"2.0","id":7,"result":{}}'), logged))
    with fleet.run(concurrency=WORKERS) as envoy:
        yield Told(fleet, envoy, audit)


def made_up(at: int) -> bytes:
    """A request of which a caller has invented whatever he can."""
    invented = [
        call(f"invented-{at}"),
        json.dumps({"jsonrpc": "2.0", "id": 7, "method": f"invented/{at}"}),
        call("search", json.dumps({f"key-{at}": at})),
        call("search").replace('"2.0"', f'"2.{at}"'),
    ]
    fields = [(b"authorization", f"Bearer invented-{at}".encode()), (b"mcp-session-id", f"session-{at}".encode())]
    return request(invented[at % len(invented)].encode(), *fields)


def test_no_caller_makes_a_series(told: Told) -> None:
    def flood(first: int, count: int) -> None:
        streams = [(made_up(at) for at in range(first + part, first + count, 4)) for part in range(4)]
        [answers] = storm(told.fleet.port("shop"), streams, [])
        assert answers == count

    def totals() -> dict[str, float]:
        return {name: value for name, value in told.series().items() if "_total{" in name}

    flood(0, 100)
    before = totals()
    flood(100, MADE_UP)
    after = totals()
    # Threads that count at once are no caller's doing.
    moving = "mcp_policy_counter_swaps_total"
    assert {name for name in after if moving not in name} == {name for name in before if moving not in name}
    counted = sum(value for name, value in after.items() if name.startswith("mcp_policy_decisions_total"))
    assert counted == 100 + MADE_UP
    everything = " ".join(told.series())
    assert "invented" not in everything and "session-" not in everything and "key-" not in everything
    # Envoy's own access logger counts the same, of what got to a decision on a whole request.
    requests = {name: value for name, value in told.series().items() if name.startswith("envoy_mcp_policy_requests")}
    assert 0 < len(requests) <= 8 and sum(requests.values()) == counted, requests


def test_the_audit_lines_are_as_documented(told: Told, tmp_path: Path) -> None:
    for _ in range(4):
        told.call("copy", '{"to":"a"}', authorization="Bearer secret-of-alice")
    told.call("login", '{"user":"u","Password":"hunter2","more":{"password":"kept"}}')
    told.call("nothing\u202e\n", "{}")
    batch = f"[{call('search', id='1')},{call('copy', id='2')}]"
    post(told.fleet.port("shop"), batch)
    post(told.fleet.port("shop"), "{")
    until(lambda: len(told.lines()) >= 9, "nine audit lines")
    lines = told.lines()
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    text = told.audit.read_text()
    assert "hunter2" not in text and "secret-of-alice" not in text
    assert text.isascii() and "\\u202e\\n" in text
    decided = [(line["decision"], line.get("reason"), line.get("tool")) for line in lines]
    assert sorted(decided, key=str) == sorted(
        [
            *[("allow", None, "copy")] * 4,
            ("deny", "limit_reached", "copy"),
            ("allow", None, "login"),
            ("deny", "tool_not_allowed", "nothing\u202e\n"),
            ("allow", None, "search"),
            ("refuse", "invalid_json", None),
        ],
        key=str,
    )
    [login] = [line for line in lines if line.get("tool") == "login"]
    assert login["arguments"] == {"user": "u", "Password": "[redacted]", "more": {"password": "kept"}}
    full = [limit["used_percent"] for line in lines if line["decision"] == "allow" for limit in line.get("limits", [])]
    assert sorted(full) == [33, 33, 66, 100]
    # Envoy's own log has each of them at once.
    for line in text.splitlines():
        assert line in told.envoy.log()
    verify = subprocess.run([CLI, "audit", "verify", told.audit], capture_output=True, text=True, check=False)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    changed = tmp_path / "changed.jsonl"
    changed.write_text(text.replace('"tool":"login"', '"tool":"logout"'))
    verify = subprocess.run([CLI, "audit", "verify", changed], capture_output=True, text=True, check=False)
    assert verify.returncode == 1 and "changed" in verify.stdout + verify.stderr
    policy = tmp_path / "shop.json"
    policy.write_text(json.dumps({**SHOP, "candidate": None} | {"tools": {"search": {}}}).replace(', "candidate": null', ""))
    replay = subprocess.run(
        [CLI, "--format", "json", "replay", policy, "--log", told.audit, "--against-log"], capture_output=True, text=True, check=False
    )
    assert replay.returncode == 1, replay.stdout + replay.stderr
    assert sum(row["calls"] for row in json.loads(replay.stdout)["differences"]) == 5


def test_a_candidate_is_recorded_and_changes_nothing(told: Told) -> None:
    answers = [told.call("search") for _ in range(4)] + [told.call("drop")]
    assert ["result" in answer for answer in answers] == [True, True, True, True, False]
    until(lambda: len(told.lines()) >= 5, "five audit lines")
    others = [(line["decision"], line["candidate"]) for line in told.lines() if "candidate" in line]
    beyond = {"decision": "deny", "reason": "limit_reached", "rule": "/tools/search/limits/0"}
    assert others == [("allow", beyond), ("allow", beyond), ("deny", {"decision": "allow"})]
    counted = {
        name: value for name, value in told.series().items() if name.startswith("mcp_policy_candidate_differences_total")
    }
    assert sorted(counted.values()) == [1, 2], counted


def test_denials_say_when_to_come_again_and_by_which_policy(told: Told) -> None:
    for _ in range(3):
        told.call("copy")
    answer = post(told.fleet.port("shop"), call("copy"))
    data = json.loads(answer.body)["error"]["data"]
    assert int(answer.header("retry-after") or 0) == -(-data["retryAfterMs"] // 1000)
    live = [name for name, value in told.series().items() if name.startswith("mcp_policy_info") and value == 1]
    assert len(live) == 1 and f'digest="{data["policyDigest"]}"' in live[0] and 'policy="shop"' in live[0]
    [line] = [line for line in told.envoy.log().splitlines() if "mcp_policy: version" in line]
    assert data["policyDigest"] in line


def test_what_a_caller_cannot_be_told_apart_by_is_no_label(told: Told) -> None:
    """The mode and the rule of what was decided are labels; the tool and the caller are none."""
    told.call("drop")
    [name] = [name for name in told.series() if name.startswith("mcp_policy_decisions_total")]
    digest = re.sub(r"\{.*", "", name)
    assert digest == "mcp_policy_decisions_total"
    assert name[len(digest) :] == '{policy="shop",decision="deny",reason="tool_denied",rule="/tools/drop/action",mode="enforce"}'
