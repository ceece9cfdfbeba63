"""Each attack of policies/attacks, on the real Envoy: its policy stops it, and without the lines that the page names it goes through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from attack_cases import RUNS, STOPPED, AttackCase, AttackedServer, Attacker, Happened, cases
from fleet import Listener
from gateway import Gateway, serving
from test_approvals import SECRET as APPROVALS
from test_sessions import FIRST as SESSIONS
from test_sessions import secrets
from upstream import Upstream

CASES = cases()
EACH_LINE = [(case, line) for case in CASES if len(case.lines) > 1 for line in case.lines]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
SECRETS = secrets(SESSIONS, APPROVALS, variables=("MCP_POLICY_SESSION_SECRET", "MCP_POLICY_APPROVAL_SECRET"))


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> AttackedServer:
    server = AttackedServer()
    upstream.answer("/mcp", server.answer)
    return server


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, server: AttackedServer) -> Iterator[Gateway]:
    """One Envoy with these listeners for each attack: with its policy, with that policy without its lines, and without each of them."""
    listeners = {f"{case}/governed": Listener(case.governed, SECRETS) for case in CASES}
    for case in CASES:
        without = case.without(*case.lines)
        listeners[f"{case}/without"] = Listener(without) if without is None else Listener(without, SECRETS)
    for case, line in EACH_LINE:
        listeners[f"{case}/without {line}"] = Listener(case.without(line), SECRETS)
    with serving(upstream, listeners) as gateway:
        yield gateway


def seen(step: dict[str, Any], happened: Happened) -> list[str]:
    """The tools of `shows` and `hides` that a client reads in the answer."""
    return [name for name in [*step.get("shows", []), *step.get("hides", [])] if f'"{name}"'.encode() in happened.response.body]


def check(step: dict[str, Any], happened: Happened, becomes: str) -> None:
    """Holds what became of a step against what must."""
    told = f"{step}\n  {happened.response}\n  arrived: {[str(each) for each in happened.arrivals]}"
    if "list" in step:
        # A list reaches the server either way; what counts is what comes back.
        expected = step.get("shows", []) if becomes == STOPPED else [*step.get("shows", []), *step.get("hides", [])]
        assert seen(step, happened) == expected, told
    elif becomes == RUNS:
        assert happened.arrivals and happened.reason is None and happened.response.status == 200, told
    else:
        assert not happened.arrivals, told


@every_case
def test_the_policy_stops_it(gateway: Gateway, server: AttackedServer, case: AttackCase) -> None:
    attacker = Attacker(gateway, f"{case}/governed", server)
    for step in case.steps:
        happened = attacker.play(step)
        check(step, happened, step["becomes"])
        if "reason" in step and step["reason"] != "tool_hidden":
            assert happened.reason == step["reason"], f"{step}\n  {happened.response}"


@every_case
def test_without_its_lines_it_goes_through(gateway: Gateway, server: AttackedServer, case: AttackCase) -> None:
    """The mutation: whatever the policy stopped runs once these lines are gone, so it is they that stop it."""
    assert any(step["becomes"] == STOPPED for step in case.steps)
    attacker = Attacker(gateway, f"{case}/without", server)
    for step in case.steps:
        check(step, attacker.play(step), RUNS)


@pytest.mark.parametrize(("case", "line"), EACH_LINE, ids=str)
def test_each_line_is_needed(gateway: Gateway, server: AttackedServer, case: AttackCase, line: str) -> None:
    """Without this one line alone, some step that the policy stops goes through."""
    attacker = Attacker(gateway, f"{case}/without {line}", server)
    happened = [(step, attacker.play(step)) for step in case.steps]
    stopped = [(step, each) for step, each in happened if step["becomes"] == STOPPED]
    assert any(seen(step, each) != step.get("shows", []) if "list" in step else each.arrivals for step, each in stopped), line
