"""The cases of policies/attacks: what is sent, what must become of it, and the policy without the lines that stop it.

policies/attacks/README.md describes their form.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rig
import yaml

from client import Response, post
from fleet import Policy, held
from gateway import Gateway, call
from judge import error_of
from upstream import Arrival, Reply

ATTACKS = rig.ROOT / "policies" / "attacks"
STOPPED, RUNS = "stopped", "runs"
_NEWEST = "2026-07-28"
_META = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}, "io.modelcontextprotocol/protocolVersion": _NEWEST}
_YES = {"mcp-policy/approval": {"action": "accept", "content": {"approve": True}}}


@dataclass(frozen=True)
class AttackCase:
    """An attack, with the policy that stops it."""

    name: str
    title: str
    policy: Policy
    lines: list[str]
    steps: list[dict[str, Any]]

    @property
    def governed(self) -> Policy:
        """The policy as it is loaded."""
        return held(self.policy)

    def without(self, *lines: str) -> Policy | None:
        """The policy without some of the lines that stop the attack; no filter at all where it is the filter that does."""
        if self.lines == ["filter"]:
            return None
        policy = copy.deepcopy(self.policy)
        for pointer in sorted(lines, reverse=True):
            remove(policy, pointer)
        return held(policy)

    def __str__(self) -> str:
        return self.name


def remove(document: Any, pointer: str) -> None:
    """Takes out what a JSON Pointer names."""
    *steps, last = [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]
    for step in steps:
        document = document[int(step) if isinstance(document, list) else step]
    del document[int(last) if isinstance(document, list) else last]


def cases() -> list[AttackCase]:
    """All of policies/attacks."""
    return [_case(path) for path in sorted(ATTACKS.glob("*.yaml"))]


def _case(path: Path) -> AttackCase:
    read = yaml.safe_load(path.read_text())
    return AttackCase(path.stem, read["title"], read["policy"], read["lines"], read["steps"])


@dataclass
class AttackedServer:
    """A server with sessions that lists what a step says, and runs whatever reaches it."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    _sessions: int = 0

    async def answer(self, arrival: Arrival, reply: Reply) -> None:
        """Answers as an MCP server."""
        message = arrival.message()
        method = message.get("method") if isinstance(message, dict) else None
        stated = [(b"mcp-session-id", value) for value in arrival.header("mcp-session-id")]
        if method == "initialize":
            self._sessions += 1
            result: Any = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "attacked", "version": "1"}}
            stated = [(b"mcp-session-id", f"session-{self._sessions}".encode())]
        elif method == "tools/list":
            result = {"tools": self.tools}
        else:
            result = "ran"
        if isinstance(message, list):
            await reply.json([{"jsonrpc": "2.0", "id": each["id"], "result": "ran"} for each in message], headers=stated)
        else:
            await reply.json({"jsonrpc": "2.0", "id": message.get("id") if isinstance(message, dict) else None, "result": result}, headers=stated)


@dataclass
class Happened:
    """What became of a step: what the client read, and what reached the server."""

    response: Response
    arrivals: list[Arrival]

    @property
    def reason(self) -> str | None:
        """Why it was refused, if it was; `asked` where somebody is asked first."""
        if b'"input_required"' in self.response.body:
            return "asked"
        if b'"error"' not in self.response.body:
            return None
        error = error_of(self.response)
        # What is hidden tells no reason.
        return str(error["data"]["reason"]) if "data" in error else None


class Attacker:
    """Plays the steps of one case before one listener."""

    def __init__(self, gateway: Gateway, listener: str, server: AttackedServer) -> None:
        self._gateway, self._listener, self._server = gateway, listener, server
        self._sessions: dict[str, str] = {}
        self._approved: str | None = None

    def play(self, step: dict[str, Any]) -> Happened:
        """Sends what a step says."""
        before = self._gateway.upstream.count()
        response = self._send(step)
        return Happened(response, [each for each in self._gateway.arrivals(before) if each.body])

    def _send(self, step: dict[str, Any]) -> Response:
        headers = dict(step.get("headers", {}))
        if "caller" in step:
            headers |= {"x-agent-id": step["caller"], "authorization": f"Bearer {step['caller'].replace(' ', '-')}"}
        if "session" in step:
            headers["mcp-session-id"] = self._sessions[step["session"]]
        if "post" in step:
            return self._post(step["post"], headers)
        if "open" in step:
            body = {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}}
            response = self._post(json.dumps(body), headers)
            self._sessions[step["open"]] = response.header("mcp-session-id") or ""
            return response
        if "list" in step:
            self._server.tools = step["list"]
            return self._post('{"jsonrpc":"2.0","id":7,"method":"tools/list"}', headers)
        wanted = step["call"]
        tool, arguments = wanted["tool"], json.dumps(wanted.get("arguments", {}), ensure_ascii=False)
        if step.get("approve") or step.get("replay"):
            return self._with_approval(step, tool, arguments, headers)
        return self._post(call(tool, arguments), headers)

    def _with_approval(self, step: dict[str, Any], tool: str, arguments: str, headers: dict[str, str]) -> Response:
        """A call of a client that can ask its user. `approve`: who says yes; `replay`: with the answer to an earlier question."""
        headers |= {"mcp-protocol-version": _NEWEST, "mcp-method": "tools/call", "mcp-name": tool}

        def body(more: str) -> str:
            params = f'{more}"name":{json.dumps(tool)},"arguments":{arguments},"_meta":{json.dumps(_META)}'
            return f'{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{params}}}}}'

        if step.get("approve"):
            question = self._post(body(""), headers)
            result = json.loads(question.body)["result"]
            if not (isinstance(result, dict) and result.get("resultType") == "input_required"):
                return question
            self._approved = result["requestState"]
        given = "" if self._approved is None else f'"inputResponses":{json.dumps(_YES)},"requestState":{json.dumps(self._approved)},'
        return self._post(body(given), headers)

    def _post(self, body: str, headers: dict[str, str]) -> Response:
        return post(self._gateway.port(self._listener), body, list(headers.items()))
