"""Session ids sealed to their callers: what the client has opens nothing for anybody else, and the server sees its own."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import rig

from client import H1, H2, Response, post
from dynamic import GOOD, Dynamic
from fleet import Change, Fleet, Listener, Policy, bare
from gateway import Gateway, call, serving, until
from judge import error_of
from upstream import RAN, Arrival, Reply, Upstream

FIRST = "the-first-secret-of-the-session-seals"
SECOND = "the-second-secret-of-the-session-seals"
VARIABLES = ("MCP_POLICY_SESSION_SECRET", "MCP_POLICY_SESSION_SECRET_OLD")

PINNED: Policy = {
    "version": "1",
    "default": "allow",
    "requests": {"hold_headers": "always"},
    "identity": {"grant": {"header": "x-agent-id"}},
    "sessions": {"pin": True},
    "tools": {"few": {"limits": [{"counter": "few", "window": "month", "max": 2, "scope": "session"}]}},
}
BOUND: Policy = {
    "policies": {"p": {"version": "1", "default": "allow"}},
    "bindings": [{"match": {"path": "/mcp"}, "policy": "p"}],
    "unmatched": "pass",
    **{key: PINNED[key] for key in ("requests", "identity", "sessions")},
}


def secrets(*values: str, variables: tuple[str, ...] = VARIABLES) -> Change:
    """The secrets in the VM's environment."""

    def change(config: rig.Config) -> None:
        key_values = dict(zip(variables, values, strict=False))
        rig.plugin(config)["vm_config"]["environment_variables"] = {"key_values": key_values}

    return change


def plugin_named(name: str) -> Change:
    def change(config: rig.Config) -> None:
        rig.plugin(config)["name"] = name

    return change


def server(ids: Iterator[str]) -> Any:
    """An MCP server with sessions: it issues ids, refuses those that it did not, and repeats them in its answers."""
    known: set[str] = set()

    async def answer(arrival: Arrival, reply: Reply) -> None:
        message = arrival.message()
        stated = [value.decode() for value in arrival.header("mcp-session-id")]
        if isinstance(message, dict) and message.get("method") == "initialize":
            own = next(ids)
            known.add(own)
            result = {"jsonrpc": "2.0", "id": message["id"], "result": {"ran": "ran", "session": own}}
            header = [(b"mcp-session-id", own.encode())]
            if "sse" in json.dumps(message):
                reply.start(200, [(b"content-type", b"text/event-stream"), *header])
                reply.write(b"event: message\ndata: " + json.dumps(result).encode() + b"\n\n")
                reply.end()
            else:
                await reply.json(result, headers=header)
            return
        if len(stated) != 1 or stated[0] not in known:
            await reply.json({"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "no such session"}}, 404)
            return
        header = [(b"mcp-session-id", stated[0].encode())]
        if arrival.method == b"DELETE":
            known.discard(stated[0])
            await reply.whole(200, b"", headers=header)
        elif arrival.method == b"GET":
            reply.start(200, [(b"content-type", b"text/event-stream"), *header])
            reply.write(b'data: {"jsonrpc":"2.0","method":"notifications/ran"}\n\n')
            reply.end()
        else:
            own_id = message.get("id") if isinstance(message, dict) else None
            await reply.json({"jsonrpc": "2.0", "id": own_id, "result": "ran"}, headers=header)

    return answer


@dataclass
class Sessions:
    """Clients of a listener by name."""

    port: Callable[[str], int]
    upstream: Upstream
    gateway: Gateway | None = None

    def request(self, listener: str, agent: str, session: str | bytes | list[str] | None = None, **how: Any) -> Response:
        """One request; by default a call."""
        method = how.get("method", "POST")
        body = how.get("body", call(how.get("tool", "search"))) if method == "POST" else ""
        sessions = session if isinstance(session, list) else [] if session is None else [session]
        lines = [f"{method} {how.get('path', '/mcp')} HTTP/1.1", "host: mcp.test", f"x-agent-id: {agent}"]
        lines += ["accept: application/json, text/event-stream"]
        lines += [f"content-length: {len(body)}", "content-type: application/json"] if method == "POST" else []
        head = "\r\n".join(lines).encode()
        for each in sessions:
            head += b"\r\nmcp-session-id: " + (each.encode() if isinstance(each, str) else each)
        with H1(self.port(listener)) as connection:
            connection.send(head + b"\r\n\r\n" + body.encode())
            return connection.receive(method)

    def initialize(self, listener: str, agent: str, kind: str = "json") -> tuple[str, str]:
        """Starts a session: the id that the client sees, and the one that the server has."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"clientInfo": {"name": kind}}})
        response = self.request(listener, agent, body=body)
        assert response.status == 200 and RAN in response.body, response
        seen = response.header("mcp-session-id")
        assert seen
        return seen, json.loads(response.body.decode().split("data: ")[-1])["result"]["session"]

    def served(self, since: int) -> list[tuple[bytes, list[bytes]]]:
        """Method and session ids of what has arrived."""
        assert self.gateway
        return [(each.method, each.header("mcp-session-id")) for each in self.gateway.arrivals(since)]


@pytest.fixture(scope="module")
def sessions(upstream: Upstream) -> Iterator[Sessions]:
    numbers = (f"server-session-{number}-%/+=" for number in itertools.count())
    upstream.answer("/mcp", server(numbers))
    both = Listener(PINNED, secrets(SECOND, FIRST), plugin_named("pinned"))
    listeners = {
        "pinned": Listener(PINNED, secrets(FIRST)),
        # The same listener before, during and after its key is replaced: seals go by the plugin's name.
        "rotated": both,
        "retired": Listener(PINNED, secrets(SECOND), plugin_named("pinned")),
        "elsewhere": Listener(PINNED, secrets(FIRST), plugin_named("elsewhere")),
        "own names": Listener({**PINNED, "sessions": {"pin": True, "secrets": ["A", "B"]}}, secrets(FIRST, variables=("A",))),
        "bound": Listener(BOUND, secrets(FIRST), bare),
        "unpinned": Listener({**PINNED, "sessions": {"trusted": True}}),
        "untrusted": Listener({key: value for key, value in PINNED.items() if key != "sessions"}),
    }
    with serving(upstream, listeners) as gateway:
        yield Sessions(gateway.port, upstream, gateway)
        written = gateway.envoy.log() + gateway.envoy.stdout_path.read_text()
        assert FIRST not in written and SECOND not in written


@pytest.mark.parametrize("kind", ["json", "sse"])
def test_the_client_has_a_sealed_id_and_the_server_its_own(sessions: Sessions, kind: str) -> None:
    sealed, own = sessions.initialize("pinned", "alice", kind)
    assert sealed != own and own not in sealed and sealed.isascii() and sealed.isprintable()
    before = sessions.upstream.count()
    for _ in range(2):
        response = sessions.request("pinned", "alice", sealed)
        assert RAN in response.body and response.header("mcp-session-id") == sealed, "the same in every answer"
    response = sessions.request("pinned", "alice", sealed, method="GET")
    assert RAN[1:-1] in response.body and response.header("mcp-session-id") == sealed
    assert sessions.request("pinned", "alice", sealed, method="DELETE").status == 200
    raw = own.encode()
    assert sessions.served(before) == [(b"POST", [raw]), (b"POST", [raw]), (b"GET", [raw]), (b"DELETE", [raw])]
    # The server has ended it: its own 404 comes through.
    response = sessions.request("pinned", "alice", sealed)
    assert response.status == 404 and b"no such session" in response.body
    # A client without a session is the server's business.
    assert b"no such session" in sessions.request("pinned", "alice").body


def changed(sealed: str, at: int) -> str:
    return sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]


def stolen(sessions: Sessions) -> dict[str, tuple[str, str, Any]]:
    """Listener, agent and session id of everything that must not open."""
    sealed, own = sessions.initialize("pinned", "alice")
    encoded, tag = sealed.split(".")
    other, other_own = sessions.initialize("pinned", "bob")
    wrong = {
        "another grant's": ("pinned", "mallory", sealed),
        "another grant's, as anonymous": ("pinned", "", sealed),
        "a tag of another session": ("pinned", "alice", f"{encoded}.{other.split('.')[1]}"),
        "another session under its tag": ("pinned", "alice", f"{other.split('.')[0]}.{tag}"),
        "the server's own": ("pinned", "alice", own),
        "the server's own, of another": ("pinned", "mallory", other_own),
        "made up": ("pinned", "alice", "made-up"),
        "made up like one": ("pinned", "alice", "bWFkZS11cA.AAAAAAAAAAAAAAAAAAAAAA"),
        "empty": ("pinned", "alice", ""),
        "without tag": ("pinned", "alice", encoded),
        "with an empty tag": ("pinned", "alice", encoded + "."),
        "with half a tag": ("pinned", "alice", f"{encoded}.{tag[:11]}"),
        "only its tag": ("pinned", "alice", "." + tag),
        "padded": ("pinned", "alice", sealed + "="),
        "with more": ("pinned", "alice", sealed + "A"),
        "twice in one": ("pinned", "alice", f"{sealed},{sealed}"),
        "not ASCII": ("pinned", "alice", sealed.encode() + b"\xff"),
        "very long": ("pinned", "alice", "A" * 30000 + "." + tag),
        "sealed elsewhere": ("elsewhere", "alice", sealed),
        "sealed with a retired key": ("retired", "alice", sealed),
        "of a listener that seals nothing": ("pinned", "alice", sessions.initialize("unpinned", "alice")[0]),
    }
    for at in range(1, len(sealed), 5):
        wrong[f"cut at {at}"] = ("pinned", "alice", sealed[:at])
        wrong[f"changed at {at}"] = ("pinned", "alice", changed(sealed, at))
    # The last letter of base64 without padding has bits that count for nothing, for a lenient decoder.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in alphabet:
        if letter != sealed[-1]:
            wrong[f"ending in {letter}"] = ("pinned", "alice", sealed[:-1] + letter)
    return wrong


@pytest.mark.wasm_only("a VM has an environment of its own, and a new one with a new configuration; the module reads Envoy's")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_an_id_that_is_not_the_callers_opens_nothing(sessions: Sessions, method: str) -> None:
    wrong = stolen(sessions)
    before = sessions.upstream.count()
    for name, (listener, agent, session) in wrong.items():
        response = sessions.request(listener, agent, session, method=method)
        assert (response.status, response.fault) == (404, ""), f"{name}: {response}"
        error = error_of(response, sse=False)
        assert (error["code"], error["reason"], error["id"]) == (-32001, "session_unknown", "null"), name
        assert error["message"].startswith("Session not found")
    assert sessions.served(before) == []


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_of_two_ids_none_is_chosen(sessions: Sessions, method: str) -> None:
    sealed, own = sessions.initialize("pinned", "alice")
    before = sessions.upstream.count()
    for pair in ([sealed, sealed], [sealed, own], [own, sealed], ["", sealed]):
        response = sessions.request("pinned", "alice", pair, method=method)
        assert (response.status, error_of(response)["reason"]) == (400, "repeated_header")
    assert sessions.served(before) == []


@pytest.mark.wasm_only("a VM has an environment of its own, and a new one with a new configuration; the module reads Envoy's")
def test_keys_are_replaced_without_ending_sessions(sessions: Sessions) -> None:
    sealed, _ = sessions.initialize("pinned", "alice")
    response = sessions.request("rotated", "alice", sealed)
    assert RAN in response.body
    renewed = response.header("mcp-session-id")
    assert renewed and renewed != sealed, "the server repeats the id, and the new key seals it"
    for listener, session, opens in [
        ("rotated", renewed, True),
        ("retired", renewed, True),
        ("retired", sealed, False),
        ("pinned", renewed, False),
    ]:
        assert (RAN in sessions.request(listener, "alice", session).body) == opens
    sealed, own = sessions.initialize("own names", "alice")
    assert sealed != own and RAN in sessions.request("own names", "alice", sealed).body


def test_http2_is_no_way_around(sessions: Sessions) -> None:
    sealed, own = sessions.initialize("pinned", "alice")
    body = call("search").encode()
    usual = [(b":scheme", b"http"), (b":authority", b"mcp.test"), (b":path", b"/mcp"), (b"content-type", b"application/json")]

    def ask(*fields: tuple[bytes, bytes]) -> Response:
        with H2(sessions.port("pinned")) as connection:
            return connection.receive(connection.request([(b":method", b"POST"), *usual, *fields], [body]))

    agent, session = (b"x-agent-id", b"alice"), (b"mcp-session-id", sealed.encode())
    before = sessions.upstream.count()
    assert RAN in ask(agent, session).body
    assert sessions.served(before) == [(b"POST", [own.encode()])]
    assert ask(agent, session, session).status == 400
    assert ask((b"x-agent-id", b"bob"), session).status == 404
    assert ask(agent, (b"mcp-session-id", own.encode())).status == 404


def test_a_server_that_gives_two_ids_gives_one(sessions: Sessions) -> None:
    async def two(_arrival: Arrival, reply: Reply) -> None:
        await reply.json({"jsonrpc": "2.0", "id": 7, "result": "ran"}, headers=[(b"mcp-session-id", b"a"), (b"mcp-session-id", b"b")])

    async def odd(_arrival: Arrival, reply: Reply) -> None:
        await reply.json({"jsonrpc": "2.0", "id": 7, "result": "ran"}, headers=[(b"mcp-session-id", b"a b\xff")])

    sessions.upstream.answer("/two", two)
    sessions.upstream.answer("/odd", odd)
    sealed = sessions.request("pinned", "alice", path="/two").header("mcp-session-id")
    assert sealed and base64.urlsafe_b64decode(sealed.split(".")[0] + "==") == b"a"
    # What cannot be sealed is not handed out.
    assert sessions.request("pinned", "alice", path="/odd").header("mcp-session-id") is None


def test_a_forgiving_path_is_no_way_around(sessions: Sessions) -> None:
    """Where unmatched paths pass, an id must not reach the server by a path that only a strict reader takes for another."""
    sealed, own = sessions.initialize("bound", "alice")
    for path in ("//mcp", "/mcp/", "/MCP", "/x/../mcp"):
        sessions.upstream.answer(path, server(iter([])))
        before = sessions.upstream.count()
        for method in ("GET", "DELETE"):
            response = sessions.request("bound", "mallory", own, method=method, path=path)
            assert (response.status, error_of(response)["reason"]) == (400, "path_ambiguous"), f"{method} {path}"
        assert sessions.served(before) == []
    assert RAN in sessions.request("bound", "alice", sealed).body


def test_limits_of_a_session_are_not_evaded_by_inventing_ids(sessions: Sessions) -> None:
    def few(listener: str, agent: str, session: str | None) -> str:
        response = sessions.request(listener, agent, session, tool="few")
        if RAN in response.body or b"no such session" in response.body:
            return "passed"
        return str(error_of(response)["reason"])

    one, _ = sessions.initialize("pinned", "carol")
    other, _ = sessions.initialize("pinned", "carol")
    assert [few("pinned", "carol", one) for _ in range(3)] == ["passed", "passed", "limit_reached"]
    # A session that the server gave out has a count of its own; one that it did not, none.
    assert [few("pinned", "carol", other) for _ in range(3)] == ["passed", "passed", "limit_reached"]
    assert few("pinned", "carol", "invented") == "session_unknown"
    assert [few("pinned", "carol", None) for _ in range(3)] == ["passed", "passed", "limit_reached"], "no session is one count"
    # Where nobody vouches for ids, all of a caller's are one.
    assert [few("untrusted", "carol", f"invented-{number}") for number in range(3)] == ["passed", "passed", "limit_reached"]
    assert [few("unpinned", "carol", f"vouched-{number}") for number in range(3)] == ["passed"] * 3


# --- Secrets ------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Policy, Change, str]] = {
    "no secret": (PINNED, secrets(), "the environment of the VM has no `MCP_POLICY_SESSION_SECRET`"),
    "short": (PINNED, secrets("s3cret-that-is-short"), "`MCP_POLICY_SESSION_SECRET` has 20 bytes, at least 32 are needed"),
    "empty": (PINNED, secrets(""), "`MCP_POLICY_SESSION_SECRET` has 0 bytes"),
    "short old one": (PINNED, secrets(FIRST, "s3cret-old"), "`MCP_POLICY_SESSION_SECRET_OLD` has 10 bytes"),
    "empty old one": (PINNED, secrets(FIRST, ""), "`MCP_POLICY_SESSION_SECRET_OLD` has 0 bytes"),
    "another name": ({**PINNED, "sessions": {"pin": True, "secrets": ["OTHER"]}}, secrets(FIRST), "has no `OTHER`"),
    "in the policy": (
        {**PINNED, "sessions": {"pin": True, "secrets": ["s3cret in the policy, which is pasted around"]}},
        secrets(FIRST),
        "the secret itself belongs in",
    ),
}


@pytest.mark.wasm_only("a VM has an environment of its own, and a new one with a new configuration; the module reads Envoy's")
@pytest.mark.parametrize("case", REFUSED)
def test_without_a_good_secret_the_configuration_is_refused(dynamic: Dynamic, case: str) -> None:
    policy, change, reason = REFUSED[case]
    log = dynamic.refuse(policy, change)
    assert reason in log, log
    written = dynamic.envoy.log() + dynamic.envoy.stdout_path.read_text()
    assert not [secret for secret in (FIRST, "s3cret") if secret in written]
    assert error_of(post(dynamic.port, call("delete_account")))["reason"] == "tool_denied", "the old configuration stays"


@pytest.mark.wasm_only("a VM has an environment of its own, and a new one with a new configuration; the module reads Envoy's")
def test_a_new_secret_needs_no_restart(dynamic: Dynamic, upstream: Upstream) -> None:
    """Another environment is another VM for Envoy, though its counters are the same."""
    upstream.answer("/mcp", server(f"id-{number}" for number in itertools.count()))
    sessions = Sessions(lambda _: dynamic.port, upstream)

    def renewed(sealed: str) -> str | None:
        return sessions.request("dynamic", "alice", sealed).header("mcp-session-id")

    assert dynamic.push(PINNED, secrets(FIRST)) == "success"
    until(lambda: _seals(sessions), "the first secret")
    sealed, _ = sessions.initialize("dynamic", "alice")
    assert renewed(sealed) == sealed
    assert dynamic.push(PINNED, secrets(SECOND, FIRST)) == "success"
    until(lambda: renewed(sealed) not in (None, sealed), "the second secret")
    replaced = renewed(sealed)
    assert replaced and renewed(replaced) == replaced
    assert dynamic.push(PINNED, secrets(SECOND)) == "success"
    until(lambda: sessions.request("dynamic", "alice", sealed).status == 404, "the end of the first secret")
    assert renewed(replaced) == replaced
    assert dynamic.push(GOOD) == "success"


def _seals(sessions: Sessions) -> bool:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})
    return "." in (sessions.request("dynamic", "alice", body=body).header("mcp-session-id") or "")


def test_a_secret_can_come_from_envoys_own_environment(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is in no configuration, and in no dump of one."""

    def from_host(config: rig.Config) -> None:
        rig.plugin(config)["vm_config"]["environment_variables"] = {"host_env_keys": [VARIABLES[0]]}

    monkeypatch.setenv(VARIABLES[0], FIRST)
    upstream.answer("/mcp", server(f"id-{number}" for number in itertools.count()))
    with serving(upstream, {"pinned": Listener(PINNED, from_host)}) as gateway:
        sessions = Sessions(gateway.port, upstream)
        sealed, own = sessions.initialize("pinned", "alice")
        assert sealed != own and RAN in sessions.request("pinned", "alice", sealed).body
        assert FIRST not in gateway.envoy.admin("/config_dump")


# --- The SDK ------------------------------------------------------------------------------------


@contextmanager
def sdk_server() -> Iterator[int]:
    """A server of the MCP SDK with sessions, on a port of its own."""
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    app = MCPServer("pinned")

    @app.tool()
    def double(number: int) -> int:
        """Twice the number."""
        return 2 * number

    [port] = rig.free_ports(1)
    served = uvicorn.Server(uvicorn.Config(app.streamable_http_app(), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=served.run, daemon=True)
    thread.start()
    try:
        until(lambda: served.started, "the server of the SDK")
        yield port
    finally:
        served.should_exit = True
        thread.join(10)


def test_the_sdk_works_through_sealed_sessions() -> None:
    with sdk_server() as port, Upstream() as unused:
        fleet = Fleet(port)
        fleet.add("pinned", Listener(PINNED, secrets(FIRST)))
        with fleet.run():
            url = f"http://127.0.0.1:{fleet.port('pinned')}/mcp"
            seen = asyncio.run(_session(url))
            # What the SDK's client had is nobody else's.
            sealed = seen["ids"].pop()
            response = Sessions(fleet.port, unused).request("pinned", "mallory", sealed)
    assert seen["tools"] == ["double"] and seen["answers"] == ["42", "84"]
    assert not seen["ids"], "one id for the whole session"
    # The server's id, a dot, and a tag of 16 bytes.
    assert len(sealed.split(".")) == 2 and len(sealed.split(".")[1]) == 22
    assert seen["methods"] >= {"POST", "DELETE"} and 404 not in seen["statuses"]
    assert response.status == 404


async def _session(url: str) -> dict[str, Any]:
    """A session of the SDK's client, and what went over the wire."""
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    seen: dict[str, Any] = {"ids": set(), "methods": set(), "statuses": set()}

    async def note(response: Any) -> None:
        seen["methods"].add(response.request.method)
        seen["statuses"].add(response.status_code)
        seen["ids"] |= {value for value in [response.headers.get("mcp-session-id")] if value}

    headers = {"x-agent-id": "alice"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers, event_hooks={"response": [note]}, timeout=20) as http:
        async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]
            results = [await client.call_tool("double", {"number": number}) for number in (21, 42)]
            seen["answers"] = [result.content[0].text for result in results]
    return seen
