"""Agents with real SDKs before real servers: what each is shown of a policy, and that nothing else changes.

Every session runs twice, without the filter and with it, and the two are compared. What the agents are shown
of a denial is kept in clients.md; MCP_POLICY_BLESS=1 rewrites it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from agents import AGENTS, AUTO, HTTP_SSE, LEGACY, Outcome, Session, Shown, run
from cases import ALLOWED, CASES, DENIED, LIMITED, NO_TOOL, NOT_LISTED, Fate, Refused, Told, Unanswered
from servers import Route, Routes, governing, serving_prometheus, serving_python, serving_typescript
from table import fresh, row, stable

@dataclass(frozen=True)
class Compared:
    """The same session without the filter and with it."""

    plain: Shown
    governed: Shown


class Meetings:
    """The servers with an Envoy before them; each agent meets each case once."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    @cache
    def of(self, agent: str, mode: str, case: str) -> Compared:
        """What this agent is shown in that case."""
        about = CASES[case]
        steps = [step for step, _fate in about.steps]
        # A token of its own, so that each has the limits to itself.
        sessions = [
            Session(self._routes.url(route), mode, f"{agent}-{mode}", list(about.visible), steps, about.patience)
            for route in (_plain(about.server), _governed(case))
        ]
        return Compared(*run(AGENTS[agent], sessions))


# They name listeners and statistics, and Envoy writes some characters otherwise there.
def _plain(server: str) -> str:
    return "plain_" + re.sub(r"\W", "_", server)


def _governed(case: str) -> str:
    return "governed_" + re.sub(r"\W", "_", case)


@pytest.fixture(scope="module")
def meetings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meetings]:
    directory = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        ports = {
            "server-everything": stack.enter_context(serving_typescript(directory)),
            "server-everything-sse": stack.enter_context(serving_typescript(directory, "sse")),
            "everything-server": stack.enter_context(serving_python(directory)),
            "prometheus": stack.enter_context(serving_prometheus(directory)).prometheus_mcp_port,
        }
        routes = {}
        for name, case in CASES.items():
            path = "/sse" if HTTP_SSE in case.modes else "/mcp"
            routes[_plain(case.server)] = Route(ports[case.server], path=path)
            routes[_governed(name)] = Route(ports[case.server], case.policy, path)
        yield Meetings(stack.enter_context(governing(routes)))


MEETINGS = [
    pytest.param(agent, mode, case, id=f"{agent}, {mode}, {case}")
    for case in CASES
    for agent in AGENTS
    for mode in AGENTS[agent].modes
    if mode in CASES[case].modes
]


@pytest.mark.parametrize(("agent", "mode", "case"), MEETINGS)
def test_what_it_sees(meetings: Meetings, agent: str, mode: str, case: str) -> None:
    """What the policy shows, in the server's words and order."""
    met = meetings.of(agent, mode, case)
    assert met.governed.revision == met.plain.revision
    for kind, visible in CASES[case].visible.items():
        there, shown = met.plain.lists[kind], met.governed.lists[kind]
        assert [_name(each) for each in shown] == visible, kind
        assert shown == [each for each in there if _name(each) in visible], kind
        # One of the servers has one template only.
        assert len(there) > len(visible) or len(there) == 1, f"the server has no {kind} that the policy does not show"
    assert met.governed.tools_again == CASES[case].visible["tools"]


def _name(listed: dict[str, Any]) -> str:
    return str(listed.get("uri") or listed.get("uriTemplate") or listed["name"])


@pytest.mark.parametrize(("agent", "mode", "case"), MEETINGS)
def test_what_becomes_of_its_requests(meetings: Meetings, agent: str, mode: str, case: str) -> None:
    """What is allowed is answered as without the filter, before and after refusals; what is not tells why."""
    met = meetings.of(agent, mode, case)
    for (step, fate), plain, governed in zip(CASES[case].steps, met.plain.outcomes, met.governed.outcomes, strict=True):
        assert plain.result is not None, f"{step} does not work without the filter either: {plain}"
        if fate == ALLOWED:
            assert _without_times(governed) == _without_times(plain), step
        else:
            _assert_refused(governed, fate, step.name)


def _assert_refused(governed: Outcome, fate: Fate, name: str) -> None:
    if isinstance(fate, Refused):
        assert governed.result is None, f"{name} was answered: {governed}"
        assert governed.code == fate.code and fate.text.replace("{name}", name) in governed.text, governed
    elif isinstance(fate, Told):
        assert governed.result is not None, governed
        [content] = governed.result["content"]
        assert governed.result["isError"] and fate.text.replace("{name}", name) in content["text"], governed
    else:
        assert fate == Unanswered()
        assert re.search("timed out", governed.text, re.IGNORECASE), governed


def _without_times(outcome: Outcome) -> str:
    # Prometheus says when it measured, server-everything when it answered.
    text = json.dumps(outcome.result or outcome.text, sort_keys=True)
    return re.sub(r"\d{10}(\.\d+)?|\d+:\d\d:\d\d( [AP]M)?", "TIME", text)


def test_who_asks_first_finds_the_revision(meetings: Meetings) -> None:
    """The probe for 2026-07-28 comes through, and so does its refusal by a server that is older."""
    for agent in (name for name, about in AGENTS.items() if AUTO in about.modes):
        assert meetings.of(agent, AUTO, "everything-server").governed.revision == "2026-07-28"
        assert meetings.of(agent, AUTO, "server-everything").governed.revision == "2025-11-25"
        assert meetings.of(agent, LEGACY, "everything-server").governed.revision == "2025-11-25"


# --- The table --------------------------------------------------------------------------------

_SECTIONS: list[tuple[str, str, Fate]] = [
    ("A tool that the policy denies, with the author's reason", "everything-server", DENIED),
    ("A tool that the policy does not list", "everything-server", NOT_LISTED),
    ("A limit that is reached", "everything-server", LIMITED),
    ("A tool that is hidden", "everything-server", NO_TOOL),
    ('A denied tool with `"denials": {"as": "tool_result"}`', "tool results", Told(DENIED.text)),
    ("Any denial over the HTTP+SSE transport of 2024-11-05", "http+sse", Unanswered()),
]


def test_the_table_is_fresh(meetings: Meetings) -> None:
    fresh(0, _table(meetings))


def _table(meetings: Meetings) -> str:
    lines = [
        "# What agents are shown of a denial",
        "",
        "Generated by `test_clients.py` from what the SDKs did; do not edit. The text is what the error prints as, which is",
        "what most agent programs hand to the model. In every case the session lives on, and the next call is answered.",
    ]
    for title, case, fate in _SECTIONS:
        lines += ["", f"## {title}", "", "| SDK | revision | the call gives | text |", "|---|---|---|---|"]
        for agent, about in AGENTS.items():
            modes = [mode for mode in about.modes if mode in CASES[case].modes]
            lines += _rows(about.sdk, [meetings.of(agent, mode, case).governed for mode in modes], case, fate)
    return "\n".join(lines) + "\n"


def _rows(sdk: str, sessions: list[Shown], case: str, fate: Fate) -> list[str]:
    """A row for each way in which the SDK shows it, with the revisions in which it does."""
    at = [each for _step, each in CASES[case].steps].index(fate)
    revisions: dict[tuple[str, str], list[str]] = {}
    for shown in sessions:
        outcome = shown.outcomes[at]
        if outcome.result is None:
            way = (f"raises `{outcome.raised}`", stable(outcome.text))
        else:
            way = ("a result with `isError`", outcome.result["content"][0]["text"])
        found = revisions.setdefault(way, [])
        if shown.revision not in found:
            found.append(shown.revision)
    return [row(sdk, ", ".join(found), how, text) for (how, text), found in revisions.items()]
