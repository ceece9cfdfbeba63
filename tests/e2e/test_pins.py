"""Tools that are pinned to a definition, on the real Envoy: a server that changes one word between two lists, on pages, for clients, over workers."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from client import H1, post
from fleet import Listener, Policy, held
from gateway import Gateway, call, serving, until
from judge import error_of
from upstream import Arrival, Reply, Upstream

LIST = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}'
WORKERS = 4


def tool(name: str, word: str) -> dict[str, Any]:
    """A tool with this word in its description."""
    schema = {"type": "object", "properties": {"id": {"type": "string", "maxLength": 64}}}
    return {"name": name, "description": f"Gets a {word} customer.", "inputSchema": schema, "annotations": {"readOnlyHint": True}}


GOOD, EVIL, FREE = tool("get", "known"), tool("get", "paying"), tool("free", "any")


def digest(definition: dict[str, Any]) -> str:
    """The digest as anybody can make it: these definitions have no number that RFC 8785 would write in another way."""
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha-256:" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


PINNED: Policy = {"version": "1", "name": "pinned", "default": "deny", "tools": {"get": {"definition": digest(GOOD)}, "free": {}}}
FIRST: Policy = {"version": "1", "name": "first", "default": "allow", "pins": "first_use"}
TWO: Policy = {
    "policies": {"p": {key: value for key, value in PINNED.items() if key != "name"}},
    "bindings": [{"match": {"path": f"/{server}/*"}, "policy": "p"} for server in ("one", "two")],
}


class Server:
    """What the upstream lists, at each path."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def lists(self, path: str, *tools: Any, events: bool = False, gate: Any = None) -> None:
        """Scripts a path: an element that is a text is one tool, as bytes; others are tools, or pages of tools for events."""

        def listed(each: Any) -> str:
            texts = [part if isinstance(part, str) else json.dumps(part) for part in (each if isinstance(each, list) else [each])]
            return '{"jsonrpc":"2.0","id":7,"result":{"tools":[' + ",".join(texts) + "]}}"

        async def handler(arrival: Arrival, reply: Reply) -> None:
            message = arrival.message()
            if isinstance(message, dict) and message.get("method") == "tools/call":
                await reply.json({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": "ran"}]}})
            elif events or arrival.method == b"GET":
                await reply.stream()
                for page in tools:
                    reply.write(f"data: {listed(page)}\n\n".encode())
                    await reply.taken()
                reply.end()
            else:
                await reply.whole(200, listed(list(tools)).encode())

        self.upstream.answer(path, handler)


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    listeners = {
        "pinned": Listener(held({**PINNED, "audit": {"to": ["log"]}})),
        "first": Listener(held(FIRST)),
        "two": Listener(held(TWO)),
        "no filter": Listener(None),
    }
    with serving(upstream, listeners, concurrency=WORKERS) as gateway:
        yield gateway


@pytest.fixture
def server(gateway: Gateway) -> Server:
    """A server that defines all as it is pinned, before and after."""
    server = Server(gateway.upstream)
    for listener, path in (("pinned", "/mcp"), ("two", "/one/mcp"), ("two", "/two/mcp")):
        server.lists(path, GOOD, FREE)
        assert names(gateway, listener, path) == ["get", "free"]
    return server


def listing(gateway: Gateway, listener: str, path: str = "/mcp", body: str = LIST) -> str:
    """What a client gets of a list."""
    response = post(gateway.port(listener), body, [], path=path)
    assert response.status == 200 and not response.fault, response
    return response.body.decode()


def names(gateway: Gateway, listener: str, path: str = "/mcp") -> list[str]:
    """The tools that a client sees."""
    return [each["name"] for each in json.loads(listing(gateway, listener, path))["result"]["tools"]]


def called(gateway: Gateway, listener: str, name: str = "get", path: str = "/mcp") -> str:
    """What becomes of a call: `ran`, or the reason of its denial. Only what runs gets to the server."""
    before = gateway.upstream.count()
    response = post(gateway.port(listener), call(name), [], path=path)
    if b'"ran"' in response.body:
        return "ran"
    gateway.upstream.settle()
    assert gateway.upstream.count() == before, "a denied call got to the server"
    return str(error_of(response)["reason"])


def everywhere(gateway: Gateway, listener: str, expected: str, path: str = "/mcp") -> None:
    """Calls on connections of their own, of which every worker gets some."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(called_once(gateway, listener, path))) for _ in range(6 * WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * len(threads)


def called_once(gateway: Gateway, listener: str, path: str) -> str:
    """The same without a look at the server, where others call too."""
    response = post(gateway.port(listener), call("get"), [], path=path)
    return "ran" if b'"ran"' in response.body else str(error_of(response)["reason"])


def test_one_word_between_two_lists(gateway: Gateway, server: Server) -> None:
    """For every client and every worker, until the pinned definition is back."""
    everywhere(gateway, "pinned", "ran")
    server.lists("/mcp", EVIL, FREE)
    assert "paying" in listing(gateway, "no filter"), "the server says it"
    assert names(gateway, "pinned") == ["free"]
    everywhere(gateway, "pinned", "definition_changed")
    assert called(gateway, "pinned", "free") == "ran"
    assert called(gateway, "pinned", "GET") == "name_not_exact"
    server.lists("/mcp", FREE)
    assert names(gateway, "pinned") == ["free"]
    everywhere(gateway, "pinned", "definition_changed")
    server.lists("/mcp", GOOD, FREE)
    assert names(gateway, "pinned") == ["get", "free"]
    everywhere(gateway, "pinned", "ran")


def test_what_is_told(gateway: Gateway, server: Server) -> None:
    """The access log, the audit line, the metric and the warning."""
    envoy = gateway.envoy

    def withheld() -> float:
        wanted = [line for line in envoy.admin("/stats/prometheus").splitlines() if "mcp_policy_lists_total{" in line]
        return sum(float(line.rpartition(" ")[2]) for line in wanted if 'mcp_cause="definition_changed"' in line or '"definition_changed"' in line)

    def denied() -> float:
        wanted = [line for line in envoy.admin("/stats/prometheus").splitlines() if "mcp_policy_decisions_total{" in line]
        return sum(float(line.rpartition(" ")[2]) for line in wanted if '"definition_changed"' in line and '"/tools/get/definition"' in line)

    before = withheld(), denied(), len(envoy.access_log())
    server.lists("/mcp", EVIL)
    for _ in range(3):
        assert names(gateway, "pinned") == []
    assert called(gateway, "pinned") == "definition_changed"
    until(lambda: (withheld(), denied()) == (before[0] + 1, before[1] + 1), "the metrics")

    def told() -> list[tuple[str, str, str, str]]:
        wanted = ("mcp_decision", "mcp_reason", "mcp_rule", "mcp_tool")
        lines = [tuple(line.get(key) or "" for key in wanted) for line in envoy.access_log()[before[2] :]]
        return [line for line in lines if line[1] == "definition_changed"]  # type: ignore[misc]

    expected = [(decision, "definition_changed", "/tools/get/definition", "get") for decision in ("withheld", "deny")]
    until(lambda: told() == expected, "the access log")
    until(lambda: '"tool":"get"' in envoy.log(), "the audit line")
    log = envoy.log()
    assert "withheld the tool `get` of a list under policy `pinned`: its definition is not the one that is pinned" in log
    assert any('"decision":"deny","reason":"definition_changed"' in line and '"tool":"get"' in line for line in log.splitlines())


@pytest.mark.parametrize("where", ["page", "event", "get", "other request", "batch", "order", "key", "number", "look-alike"])
def test_no_way_shows_it(gateway: Gateway, server: Server, where: str) -> None:
    """Other pages, events, streams, requests and spellings."""
    evil, good = json.dumps(EVIL), json.dumps(GOOD)
    denied = "definition_changed"
    if where == "page":
        # Pages are answers of their own; the second one has the change.
        assert "known" in listing(gateway, "pinned")
        server.lists("/mcp", evil)
        out = listing(gateway, "pinned", body=LIST.replace('"tools/list"', '"tools/list","params":{"cursor":"2"}'))
    elif where == "event":
        server.lists("/mcp", [GOOD], [EVIL], events=True)
        out = listing(gateway, "pinned")
        assert "known" in out
    elif where == "get":
        server.lists("/mcp", [EVIL])
        with H1(gateway.port("pinned"), 8.0) as connection:
            connection.send(b"GET /mcp HTTP/1.1\r\nhost: mcp.test\r\naccept: text/event-stream\r\n\r\n")
            out = connection.receive("GET").body.decode()
    elif where == "other request":
        server.lists("/mcp", evil)
        out = listing(gateway, "pinned", body=LIST.replace("tools/list", "ping"))
    elif where == "batch":
        server.lists("/mcp", good, evil)
        out = listing(gateway, "pinned", body=f"[{LIST}]")
        assert "known" in out
    elif where == "order":
        server.lists("/mcp", json.dumps(dict(reversed(EVIL.items()))))
        out = listing(gateway, "pinned")
    elif where == "key":
        server.lists("/mcp", good.replace('"description"', '"Description": "paying", "description"'))
        out = listing(gateway, "pinned")
    elif where == "number":
        server.lists("/mcp", good.replace("64", "64.000000000000000000001").replace("known", "paying"))
        out = listing(gateway, "pinned")
    else:
        server.lists("/mcp", evil.replace('"get"', '"ge\\u200bt"'), evil.replace('"get"', '"GET"'))
        out, denied = listing(gateway, "pinned"), "ran"
    assert "paying" not in out, out
    assert called(gateway, "pinned") == denied


def test_another_spelling_is_the_same_definition(gateway: Gateway, server: Server) -> None:
    text = json.dumps(dict(reversed(GOOD.items())), indent=2).replace("64", "6.4e1").replace("known", "\\u006bnown")
    server.lists("/mcp", text.replace("{", '{"_meta": {"version": 2},', 1))
    assert names(gateway, "pinned") == ["get"]
    assert called(gateway, "pinned") == "ran"


def test_each_binding_is_a_server(gateway: Gateway, server: Server) -> None:
    server.lists("/one/mcp", EVIL)
    assert names(gateway, "two", "/one/mcp") == []
    everywhere(gateway, "two", "definition_changed", "/one/mcp")
    everywhere(gateway, "two", "ran", "/two/mcp")


def test_first_use(gateway: Gateway, server: Server) -> None:
    """Many clients ask at once while the server defines the tool in two ways: one of them holds from then on."""
    path = "/mcp"
    definitions = [tool("raced", word) for word in ("one", "two")]
    seen: set[str] = set()

    def ask(number: int) -> None:
        seen.update(each["description"] for each in json.loads(listing(gateway, "first", f"{path}/{number % 2}"))["result"]["tools"])

    for number, definition in enumerate(definitions):
        server.lists(f"{path}/{number}", definition)
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1, seen
    first = next(each for each in definitions if each["description"] in seen)
    other = next(each for each in definitions if each is not first)
    server.lists(path, other)
    assert names(gateway, "first") == []
    assert called(gateway, "first", "raced") == called(gateway, "first", "RACED") == "definition_changed"
    server.lists(path, first)
    assert names(gateway, "first") == ["raced"]
    assert called(gateway, "first", "raced") == "ran"


def test_an_update_that_pins_the_new_definition(upstream: Upstream) -> None:
    """What was seen outlives the policy; what is pinned is the policy's."""
    server = Server(upstream)
    server.lists("/mcp", EVIL)
    reviewed = copy.deepcopy(PINNED)
    reviewed["tools"]["get"]["definition"] = digest(EVIL)
    listeners = {"old": Listener(held(PINNED)), "new": Listener(held(reviewed))}
    with serving(upstream, listeners) as gateway:
        assert names(gateway, "old") == [] and called(gateway, "old") == "definition_changed"
        assert names(gateway, "new") == ["get"] and called(gateway, "new") == "ran"


def test_a_thousand_pinned_tools(gateway: Gateway, upstream: Upstream) -> None:
    """All of them on one list, of which a few change; and what that costs is no more than what a list costs."""
    tools = [tool(f"tool_{number}", "known") for number in range(1000)]
    policy = {"version": "1", "name": "thousand", "default": "deny", "tools": {each["name"]: {"definition": digest(each)} for each in tools}}
    changed = {7, 500, 999}
    server = Server(upstream)
    with serving(upstream, {"thousand": Listener(held(policy))}) as many:
        server.lists("/mcp", *tools)
        assert len(names(many, "thousand")) == 1000
        server.lists("/mcp", *[tool(each["name"], "paying") if number in changed else each for number, each in enumerate(tools)])
        shown = names(many, "thousand")
        assert shown == [each["name"] for number, each in enumerate(tools) if number not in changed]
        assert called(many, "thousand", "tool_7") == "definition_changed"
        assert called(many, "thousand", "tool_8") == "ran"

