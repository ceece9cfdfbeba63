"""Agents with real SDKs before real servers: what each is shown of a policy, and that nothing else changes.

Every session runs twice, without the filter and with it, and the two are compared. What the agents are shown
of a denial is kept in clients.md; MCP_POLICY_BLESS=1 rewrites it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import rig

from agents import AGENTS, AUTO, HTTP_SSE, LEGACY, NEWEST, Call, Outcome, Session, Shown, run
from fleet import Policy
from servers import Route, Routes, governing, serving_prometheus, serving_python, serving_typescript

TABLE = Path(__file__).with_name("clients.md")

# What becomes of a call: it is answered as without the filter, or with an error of this code and text.
ALLOWED = "allowed"
DENIED = (403, "Pictures are for people.")
UNLISTED = (403, "Tool `{tool}` is not allowed by policy.")
LIMITED = (429, "Limit reached for tool `{tool}`: at most 2 per month; retry in ")
HIDDEN = (-32602, "Unknown tool: {tool}")
# Over HTTP+SSE an answer counts only on the stream that the client listens on, and that is another request.
UNANSWERED = "unanswered"


@dataclass(frozen=True)
class Server:
    """A server, the policy before it, what an agent calls in one session, and what must come of it."""

    policy: Policy
    modes: tuple[str, ...]
    calls: tuple[tuple[Call, Any], ...]
    # The tools that the policy lets an agent see; the server has more.
    visible: frozenset[str]
    patience: float = 20


def _calls(*rows: tuple[str, dict[str, Any], Any]) -> tuple[tuple[Call, Any], ...]:
    return tuple((Call(tool, arguments), fate) for tool, arguments, fate in rows)


_EVERYTHING: Policy = {
    "version": "1",
    "default": "deny",
    "hide": ["get-env"],
    "tools": {
        "echo": {},
        "get-env": {},
        "get-sum": {"limits": [{"counter": "sums", "window": "month", "max": 2}]},
        "get-tiny-image": {"action": "deny", "reason": DENIED[1]},
    },
}
_PROMETHEUS: Policy = json.loads((rig.ROOT / "policies" / "prometheus.json").read_text())

SERVERS = {
    # Event streams with ids, and nothing newer than 2025-11-25.
    "server-everything": Server(
        _EVERYTHING,
        (LEGACY, AUTO),
        _calls(
            ("echo", {"message": "hi"}, ALLOWED),
            ("get-tiny-image", {}, DENIED),
            ("get-sum", {"a": 1, "b": 2}, ALLOWED),
            ("get-env", {}, HIDDEN),
            ("get-sum", {"a": 3, "b": 4}, ALLOWED),
            ("get-sum", {"a": 5, "b": 6}, LIMITED),
            ("get-structured-content", {"location": "Chicago"}, UNLISTED),
            ("echo", {"message": "still here"}, ALLOWED),
        ),
        frozenset({"echo", "get-sum", "get-tiny-image"}),
    ),
    # The transport of 2024-11-05: calls are answered with 202, and their results come on one long stream.
    "server-everything-sse": Server(
        _EVERYTHING,
        (HTTP_SSE,),
        _calls(
            ("echo", {"message": "hi"}, ALLOWED),
            ("get-tiny-image", {}, UNANSWERED),
            ("get-sum", {"a": 1, "b": 2}, ALLOWED),
        ),
        frozenset({"echo", "get-sum", "get-tiny-image"}),
        patience=3,
    ),
    # JSON in 2026-07-28, event streams before and for progress.
    "everything-server": Server(
        {
            "version": "1",
            "default": "deny",
            "hide": ["test_audio_*"],
            "tools": {
                "test_simple_text": {},
                "test_error_handling": {},
                "test_audio_content": {},
                "test_tool_with_progress": {"limits": [{"counter": "progress", "window": "month", "max": 2}]},
                "test_image_content": {"action": "deny", "reason": DENIED[1]},
            },
        },
        (LEGACY, AUTO, NEWEST),
        _calls(
            ("test_simple_text", {}, ALLOWED),
            ("test_image_content", {}, DENIED),
            ("test_tool_with_progress", {}, ALLOWED),
            ("test_audio_content", {}, HIDDEN),
            ("test_tool_with_progress", {}, ALLOWED),
            ("test_tool_with_progress", {}, LIMITED),
            ("test_multiple_content_types", {}, UNLISTED),
            ("test_error_handling", {}, ALLOWED),
            ("test_simple_text", {}, ALLOWED),
        ),
        frozenset({"test_simple_text", "test_error_handling", "test_tool_with_progress", "test_image_content"}),
    ),
    # The shipped policy, with a limit that a test can reach and a tool that is hidden.
    "prometheus": Server(
        {
            **_PROMETHEUS,
            "hide": ["get_metric_metadata"],
            "tools": {
                **_PROMETHEUS["tools"],
                "execute_query": {
                    **_PROMETHEUS["tools"]["execute_query"],
                    "limits": [{"counter": "few_queries", "window": "month", "max": 2}],
                },
            },
        },
        (LEGACY, AUTO, NEWEST),
        _calls(
            ("execute_query", {"query": "up"}, ALLOWED),
            (
                "get_targets",
                {},
                (403, "Scrape targets show the addresses of internal hosts. Ask the platform team."),
            ),
            ("get_metric_metadata", {"metric": "up"}, HIDDEN),
            (
                "execute_query",
                {"query": '{__name__=~".+"}'},
                (403, 'This query selects every metric at once. Name one metric, for example up{job="api"}.'),
            ),
            ("execute_query", {"query": "prometheus_build_info"}, ALLOWED),
            ("execute_query", {"query": "up"}, LIMITED),
            ("health_check", {}, UNLISTED),
            ("list_metrics", {"limit": 5}, ALLOWED),
        ),
        frozenset({"execute_query", "execute_range_query", "list_metrics", "get_targets"}),
    ),
}


@dataclass(frozen=True)
class Compared:
    """The same session without the filter and with it."""

    plain: Shown
    governed: Shown


class Meetings:
    """The servers with an Envoy before them; each agent meets each server once."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    @cache
    def of(self, agent: str, mode: str, server: str) -> Compared:
        """What this agent is shown of that server."""
        calls = [call for call, _fate in SERVERS[server].calls]
        # A token of its own, so that each has the limits to itself.
        sessions = [
            Session(self._routes.url(route), mode, f"{agent}-{mode}", calls, SERVERS[server].patience)
            for route in (f"plain_{server}", server)
        ]
        return Compared(*run(AGENTS[agent], sessions))


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
        for name, port in ports.items():
            path = "/sse" if HTTP_SSE in SERVERS[name].modes else "/mcp"
            routes[f"plain_{name}"] = Route(port, path=path)
            routes[name] = Route(port, SERVERS[name].policy, path)
        yield Meetings(stack.enter_context(governing(routes)))


MEETINGS = [
    (agent, mode, server)
    for server in SERVERS
    for agent in AGENTS
    for mode in AGENTS[agent].modes
    if mode in SERVERS[server].modes
]


@pytest.mark.parametrize(("agent", "mode", "server"), MEETINGS)
def test_the_tools_that_it_sees(meetings: Meetings, agent: str, mode: str, server: str) -> None:
    """Those that the policy shows, in the server's words and order."""
    met = meetings.of(agent, mode, server)
    shown = [tool for tool in met.plain.tools if tool["name"] in SERVERS[server].visible]
    assert len(shown) == len(SERVERS[server].visible), "the server lacks a tool that the policy shows"
    assert met.governed.tools == shown
    assert met.governed.tools_again == [tool["name"] for tool in shown]


@pytest.mark.parametrize(("agent", "mode", "server"), MEETINGS)
def test_what_becomes_of_its_calls(meetings: Meetings, agent: str, mode: str, server: str) -> None:
    """Allowed calls are answered as without the filter, before and after denied ones; the others tell why not."""
    met = meetings.of(agent, mode, server)
    assert met.governed.revision == met.plain.revision
    rows = zip(SERVERS[server].calls, met.plain.outcomes, met.governed.outcomes, strict=True)
    for (call, fate), plain, governed in rows:
        assert plain.result is not None, f"{call} does not work without the filter either: {plain}"
        if fate == ALLOWED:
            assert _without_times(governed) == _without_times(plain), call
        elif fate == UNANSWERED:
            assert re.search("timed out", governed.text, re.IGNORECASE), governed
        else:
            code, text = fate
            assert governed.result is None, f"{call} was answered: {governed.result}"
            assert governed.code == code and text.replace("{tool}", call.tool) in governed.text, governed


def _without_times(outcome: Outcome) -> str:
    # Prometheus says when it measured.
    return re.sub(r"\d{10}\.\d+", "TIME", json.dumps(outcome.result, sort_keys=True))


# --- The table --------------------------------------------------------------------------------

_SECTIONS = [
    ("A tool that the policy denies, with the author's reason", "everything-server", DENIED),
    ("A tool that the policy does not list", "everything-server", UNLISTED),
    ("A limit that is reached", "everything-server", LIMITED),
    ("A tool that is hidden", "everything-server", HIDDEN),
    ("Any denial, over the HTTP+SSE transport of 2024-11-05", "server-everything-sse", UNANSWERED),
]


def test_the_table_is_fresh(meetings: Meetings) -> None:
    text = _table(meetings)
    if os.environ.get("MCP_POLICY_BLESS"):
        TABLE.write_text(text)
    assert TABLE.exists() and text == TABLE.read_text(), f"MCP_POLICY_BLESS=1 rewrites {TABLE.name}; review the diff"


def _table(meetings: Meetings) -> str:
    lines = [
        "# What agents are shown of a denial",
        "",
        "Generated by `test_clients.py` from what the SDKs did; do not edit. The text is what the error prints as, which is",
        "what most agent programs hand to the model. In every case the session lives on, and the next call is answered.",
    ]
    for title, server, fate in _SECTIONS:
        lines += ["", f"## {title}", "", "| SDK | revision | raised | text |", "|---|---|---|---|"]
        for agent, about in AGENTS.items():
            modes = [mode for mode in about.modes if mode in SERVERS[server].modes]
            lines += _rows(about.sdk, [meetings.of(agent, mode, server).governed for mode in modes], server, fate)
    return "\n".join(lines) + "\n"


def _rows(sdk: str, sessions: list[Shown], server: str, fate: Any) -> list[str]:
    """A row for each way in which the SDK shows it, with the revisions in which it does."""
    at = [each for _call, each in SERVERS[server].calls].index(fate)
    revisions: dict[tuple[str, str], list[str]] = {}
    for shown in sessions:
        outcome = shown.outcomes[at]
        found = revisions.setdefault((str(outcome.raised), _stable(outcome.text)), [])
        if shown.revision not in found:
            found.append(shown.revision)
    return [f"| {sdk} | {', '.join(found)} | `{raised}` | {_cell(text)} |" for (raised, text), found in revisions.items()]


def _stable(text: str) -> str:
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", text)
    return re.sub(r"(retry in |\"retryAfterMs\":|\"windowSeconds\":)\d+", r"\1…", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
