"""Approval by the user, with real SDK clients before a real server: who can be asked is asked once and the call runs once; who cannot is told.

What the agents are shown of it is kept in clients.md; MCP_POLICY_BLESS=1 rewrites it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rig

from agents import AGENTS, FASTMCP, LEGACY, NEWEST, Agent, Outcome, Session, Shown, Step, run
from fleet import Fleet, Listener, Policy, to_server
from gateway import until
from servers import environment
from table import fresh, row, stable
from test_approvals import SECRET, VARIABLES
from test_sessions import secrets

ASKED: Policy = {
    "version": "1",
    "default": "deny",
    "requests": {"hold_headers": "always"},
    "tools": {
        "close_account": {"action": "require_approval", "approval": "user", "reason": "Closing cannot be undone."},
        "book": {"action": "require_approval", "approval": "user"},
        "look": {},
    },
}
OLDER: Policy = {**ASKED, "tools": {**ASKED["tools"], "greet": {}}, "approvals": {"legacy": True}}
CLIENTS: dict[str, Agent] = {**AGENTS, "fastmcp": FASTMCP}
MODERN = [name for name, about in CLIENTS.items() if NEWEST in about.modes]
OLD = [name for name, about in CLIENTS.items() if LEGACY in about.modes]
LOOK = Step("tool", "look", {"id": 7})


@dataclass(frozen=True)
class Seen:
    """What a session came to: for the agent, and what the server wrote down of its calls."""

    shown: Shown
    calls: list[str]
    answers: list[str]


class Bank:
    """The server with an Envoy before it; each agent has each conversation once."""

    def __init__(self, fleet: Fleet, envoy: rig.Envoy, directory: Path) -> None:
        self._fleet = fleet
        self._envoy = envoy
        self._directory = directory

    @cache
    def of(self, agent: str, mode: str, answer: str, tool: str = "close_account") -> Seen:
        """Calls the tool, and then one that needs nobody."""
        arguments = {"seats": 2} if tool == "book" else {"id": 7}
        steps = [Step("tool", tool, arguments), LOOK]
        return self._met(agent, Session(self._url("bank"), mode, f"{agent}-{mode}-{answer}", ["tools"], steps, answer=answer))

    @cache
    def older(self, agent: str, answer: str) -> Seen:
        """Makes the same call twice, then one in which the server asks, and one that needs nobody, where older clients are asked.

        Whoever is asked thinks until the client has come back once to see what became of its call.
        """
        path = f"/mcp?{agent}-{answer}"

        def came_back() -> bool:
            lines = [line for line in self._envoy.access_log() if line["path"] == path]
            return any(line["http_method"] == "GET" and line["upstream"] is None for line in lines)

        close = Step("tool", "close_account", {"id": 7})
        with gate(came_back) as url:
            steps = [close, close, Step("tool", "greet"), LOOK]
            return self._met(agent, Session(self._url("older", path), LEGACY, f"{agent}-{answer}", ["tools"], steps, answer=answer, gate=url))

    def _url(self, listener: str, path: str = "/mcp") -> str:
        return f"http://localhost:{self._fleet.port(listener)}{path}"

    def _met(self, agent: str, session: Session) -> Seen:
        before = {name: len(self._lines(name)) for name in ("calls", "answers")}
        [shown] = run(CLIENTS[agent], [session])
        # What follows is written by the server after the client has read its last answer.
        until(lambda: len(self._lines("answers")) - before["answers"] == len(self._lines("calls")) - before["calls"], "the answers")
        return Seen(shown, self._lines("calls")[before["calls"] :], self._lines("answers")[before["answers"] :])

    def _lines(self, name: str) -> list[str]:
        file = self._directory / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def gate(condition: Callable[[], bool]) -> Iterator[str]:
    """A URL that is answered when the condition holds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            until(condition, "what the gate waits for")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    directory = tmp_path_factory.mktemp("asking")
    [port] = rig.free_ports(1)
    program = Path(__file__).with_name("products") / "asking.py"
    argv = [str(rig.TOOLS / "venv" / "bin" / "python"), str(program), str(directory), str(port)]
    fleet = Fleet(port)
    for name, policy in (("bank", ASKED), ("older", OLDER)):
        fleet.add(name, Listener(policy, secrets(SECRET, variables=VARIABLES), to_server(name, port)))
    with rig.Process(argv, directory, name="asking", env=environment(directory)) as server:
        server.wait_until(lambda: rig.listens(port))
        with fleet.run(2) as envoy:
            yield Bank(fleet, envoy, directory)
            assert SECRET not in envoy.log() and "mp1." not in envoy.log()


def ran(seen: Seen, tool: str = "close_account") -> list[dict[str, Any]]:
    """The calls of a tool that the server got."""
    calls = [json.loads(text) for text in seen.calls]
    return [call["params"] for call in calls if call["params"]["name"] == tool]


def text_of(outcome: Outcome) -> str:
    assert outcome.result is not None, outcome
    return str(outcome.result["content"][0]["text"])


@pytest.mark.parametrize("agent", MODERN)
def test_a_yes_runs_the_call_once_and_the_server_sees_nothing_of_it(bank: Bank, agent: str) -> None:
    seen = bank.of(agent, NEWEST, "accept")
    [question] = seen.shown.asked
    assert question.splitlines() == [
        "Closing cannot be undone.",
        "Policy `default` asks for your approval of this one call.",
        "Tool: close_account",
        'Arguments: {"id":7}',
    ]
    assert [text_of(outcome) for outcome in seen.shown.outcomes] == ["closed 7", "looked at 7"]
    [params] = ran(seen)
    assert params["arguments"] == {"id": 7} and not {"inputResponses", "requestState"} & params.keys()
    assert not any("mp1." in text or "mcp-policy" in text for text in [*seen.calls, *seen.answers])


@pytest.mark.parametrize("agent", MODERN)
@pytest.mark.parametrize("answer", ["decline", "cancel"])
def test_a_no_is_told_to_the_agent(bank: Bank, agent: str, answer: str) -> None:
    seen = bank.of(agent, NEWEST, answer)
    declined, after = seen.shown.outcomes
    assert declined.result is None and declined.code == 403 and "not approved" in declined.text, declined
    assert len(seen.shown.asked) == 1 and ran(seen) == [] and text_of(after) == "looked at 7"


@pytest.mark.parametrize("agent", MODERN)
def test_a_client_that_can_show_no_form_is_told_that_approval_is_required(bank: Bank, agent: str) -> None:
    required(bank.of(agent, NEWEST, ""))


@pytest.mark.parametrize("agent", OLD)
@pytest.mark.parametrize("answer", ["", "accept"])
def test_a_client_of_an_older_revision_is_told_that_approval_is_required(bank: Bank, agent: str, answer: str) -> None:
    seen = bank.of(agent, LEGACY, answer)
    assert seen.shown.revision == "2025-11-25"
    required(seen)


def required(seen: Seen) -> None:
    refused, after = seen.shown.outcomes
    assert refused.result is None and refused.code == 428 and "Closing cannot be undone." in refused.text, refused
    assert seen.shown.asked == [] and ran(seen) == [] and text_of(after) == "looked at 7"


@pytest.mark.parametrize("agent", OLD)
def test_a_client_of_an_older_revision_calls_again_after_a_yes(bank: Bank, agent: str) -> None:
    seen = bank.older(agent, "accept")
    assert seen.shown.revision == "2025-11-25"
    question, _own = seen.shown.asked
    assert question.splitlines()[2:] == ["Tool: close_account", 'Arguments: {"id":7}']
    given, closed, _greeted, looked = seen.shown.outcomes
    assert given.result is None and given.code == 428 and "Approved. Call again with the same arguments." in given.text, given
    assert text_of(closed) == "closed 7" and text_of(looked) == "looked at 7"
    [params] = ran(seen)
    assert params["arguments"] == {"id": 7}
    assert not any("mp1." in text or "mcp-policy" in text for text in [*seen.calls, *seen.answers])


@pytest.mark.parametrize("agent", OLD)
def test_a_client_of_an_older_revision_is_told_of_a_no(bank: Bank, agent: str) -> None:
    seen = bank.older(agent, "decline")
    # Nobody is asked again for a while; and of the two questions one is the server's.
    assert len(seen.shown.asked) == 2
    refused(seen)


@pytest.mark.parametrize("agent", OLD)
def test_a_client_of_an_older_revision_that_can_show_no_form_says_no(bank: Bank, agent: str) -> None:
    seen = bank.older(agent, "")
    # rmcp asks its agent's handler whatever it has declared; the agent says no.
    assert seen.shown.asked == [] or agent == "rmcp"
    refused(seen)


def refused(seen: Seen) -> None:
    first, second, _greeted, looked = seen.shown.outcomes
    for declined in (first, second):
        assert declined.result is None and declined.code == 403 and "not approved" in declined.text, declined
    assert ran(seen) == [] and text_of(looked) == "looked at 7"


@pytest.mark.parametrize("agent", OLD)
@pytest.mark.parametrize(("answer", "text"), [("accept", "hello Ada"), ("decline", "hello")])
def test_the_servers_own_questions_reach_clients_of_older_revisions(bank: Bank, agent: str, answer: str, text: str) -> None:
    seen = bank.older(agent, answer)
    assert seen.shown.asked[1:] == ["Whom shall I greet?"] and text_of(seen.shown.outcomes[2]) == text


@pytest.mark.parametrize("agent", MODERN)
def test_the_servers_own_conversation_goes_on_and_its_state_comes_back_as_it_was(bank: Bank, agent: str) -> None:
    seen = bank.of(agent, NEWEST, "accept", "book")
    assert [question.splitlines()[-1] for question in seen.shown.asked] == ['Arguments: {"seats":2}', "Which name?", "Which colour?"]
    assert text_of(seen.shown.outcomes[0]) == "2 seats for Ada, Ada"
    legs = ran(seen, "book")
    said = [result_in(text).get("requestState") for text in seen.answers]
    assert len(legs) == 3 and said[:2] == [leg.get("requestState") for leg in legs[1:]] and None not in said[:2]
    assert [list(leg.get("inputResponses", {})) for leg in legs] == [[], ["name"], ["colour"]]
    assert not any("mp1." in text or "mcp-policy" in text for text in [*seen.calls, *seen.answers])


def result_in(text: str) -> dict[str, Any]:
    """The result of an answer, which may be an event."""
    data = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    return dict(json.loads(data[-1] if data else text)["result"])


# --- The table --------------------------------------------------------------------------------

_SECTIONS = [
    ("A call that the user has to approve, and does", NEWEST, "accept"),
    ("… and declines", NEWEST, "decline"),
    ("… and the client can show no form", NEWEST, ""),
    ("… and the client is of an older revision", LEGACY, "accept"),
]

_OLDER_SECTIONS = [
    ("… and the client is of an older revision and is asked (`approvals.legacy`), and the user does", "accept"),
    ("… and declines there", "decline"),
    ("… and the client can show no form there", ""),
]


def cells(outcome: Outcome) -> tuple[str, str]:
    """How a call ended, and the text."""
    if outcome.result is not None:
        return "a result", stable(text_of(outcome))
    return f"raises `{outcome.raised}`", stable(outcome.text)


def test_the_table_is_fresh(bank: Bank) -> None:
    lines = ["", "# What agents are shown of an approval", "", "Generated by `test_approvals_clients.py`, in the same way."]
    for title, mode, answer in _SECTIONS:
        lines += ["", f"## {title}", "", "| SDK | revision | forms shown | the call gives | text |", "|---|---|---|---|---|"]
        for name, about in CLIENTS.items():
            if mode in about.modes:
                shown = bank.of(name, mode, answer).shown
                lines.append(row(about.sdk, shown.revision, str(len(shown.asked)), *cells(shown.outcomes[0])))
    for title, answer in _OLDER_SECTIONS:
        lines += ["", f"## {title}", ""]
        lines += ["| SDK | revision | the call gives | text | the same call again gives | text |", "|---|---|---|---|---|---|"]
        for name in OLD:
            shown = bank.older(name, answer).shown
            first, second, *_ = shown.outcomes
            lines.append(row(CLIENTS[name].sdk, shown.revision, *cells(first), *cells(second)))
    fresh(1, "\n".join(lines) + "\n")
