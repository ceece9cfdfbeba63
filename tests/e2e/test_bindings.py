"""Which policy governs which request: two servers and three teams behind one listener, and every trick with hosts and paths."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import posixpath
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import rig
import yaml

from client import H1, H2, Response
from fleet import Change, Listener, Policy, bare
from gateway import Gateway, call, serving
from judge import error_of
from upstream import RAN, Arrival, Upstream

TABLE = Path(__file__).parent / "data" / "paths.yaml"

# Every policy allows a tool of its own name and `search`, so that calls tell which one they met.
NAMES = ["payments", "metrics_sre", "metrics_dev", "metrics", "special", "six", "rest"]


def governing(name: str) -> Policy:
    return {"version": "1", "default": "deny", "tools": {name: {}, "search": {}}}


BINDINGS: list[dict[str, Any]] = [
    {"match": {"host": "pay.example.com"}, "policy": "payments"},
    {"match": {"host": "[2001:db8::1]"}, "policy": "six"},
    {"match": {"host": "*.teams.example.com"}, "policy": "special"},
    {"match": {"path": "/prometheus/*", "identity": {"team": "sre"}}, "policy": "metrics_sre"},
    {"match": {"path": "/prometheus/*", "identity": {"team": "dev"}}, "policy": "metrics_dev"},
    {"match": {"path": "/prometheus/*"}, "policy": "metrics"},
    {"match": {"path": "/stripe/mcp"}, "policy": "payments"},
    {"match": {"path": "/team+a/caf%C3%A9/*"}, "policy": "special"},
    {"match": {"path": "/*"}, "policy": "rest"},
]
SETTINGS: Policy = {
    "requests": {"hold_headers": "always"},
    "identity": {"grant": {"header": "x-agent-id"}, "keys": {"team": {"header": "x-team"}}},
}
FULL: Policy = {"policies": {name: governing(name) for name in NAMES}, "bindings": BINDINGS, **SETTINGS}


def bound(*bindings: dict[str, Any], **settings: Any) -> Policy:
    names = dict.fromkeys(binding["policy"] for binding in bindings)
    return {"policies": {name: governing(name) for name in names}, "bindings": list(bindings), **SETTINGS, **settings}


ROUTED = bound(
    {"match": {"route": "stripe"}, "policy": "payments"},
    {"match": {"metadata": {"mcp.policy": {"name": "metrics", "stage": "prod"}}}, "policy": "metrics"},
)
ONLY = {"match": {"path": "/stripe/mcp"}, "policy": "payments"}


@dataclass
class Two:
    """Two servers, each with what has arrived there."""

    gateway: Gateway
    servers: dict[str, Upstream]
    seen: dict[str, int] = field(default_factory=dict)

    def arrivals(self) -> list[tuple[str, Arrival]]:
        """What has arrived anywhere since the last time."""
        found = []
        for name, server in self.servers.items():
            # The sentinel goes through the first server's port, and the worker is one.
            self.gateway.arrivals(0)
            server.settle()
            every = [each for each in server.arrivals() if each.path != "/sentinel"]
            found += [(name, each) for each in every[self.seen.get(name, 0) :]]
            self.seen[name] = len(every)
        return found


def slashes(action: str) -> Change:
    """Envoy's paths half normalised: dots resolved, slashes not merged, escaped ones left or undone."""

    def change(config: rig.Config) -> None:
        rig.hcm(config).update(merge_slashes=False, path_with_escaped_slashes_action=action)

    return change


@pytest.fixture(scope="module")
def two(upstream: Upstream) -> Iterator[Two]:
    with Upstream() as other:
        endpoint: rig.Config = {}

        def second_server(config: rig.Config) -> None:
            cluster = copy.deepcopy(rig.cluster(config))
            cluster["name"] = cluster["load_assignment"]["cluster_name"] = "metrics_server"
            endpoint.update(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"])
            endpoint["address"]["socket_address"]["port_value"] = other.port
            config["static_resources"]["clusters"].append(cluster)

        def routes(config: rig.Config) -> None:
            host = rig.hcm(config)["route_config"]["virtual_hosts"][0]
            to_metrics = {"cluster": "metrics_server", "timeout": "0s"}
            match = {"prefix": "/prometheus", "case_sensitive": False}
            host["routes"].insert(0, {"match": match, "route": to_metrics})

        def named_routes(config: rig.Config) -> None:
            host = rig.hcm(config)["route_config"]["virtual_hosts"][0]
            rest = host["routes"][0]
            metadata = {"filter_metadata": {"mcp.policy": {"name": "metrics", "stage": "prod"}}}
            half = {"filter_metadata": {"mcp.policy": {"name": "metrics", "stage": ["prod"]}}}
            host["routes"] = [
                {**rest, "match": {"prefix": "/pay"}, "name": "stripe"},
                {**rest, "match": {"prefix": "/metrics"}, "metadata": metadata},
                {**rest, "match": {"prefix": "/half"}, "metadata": half, "name": "stripe2"},
                rest,
            ]

        listeners = {
            "hardened": Listener(FULL, routes),
            "bare": Listener(FULL, bare, routes),
            "keeping": Listener(FULL, slashes("KEEP_UNCHANGED"), routes),
            "unescaping": Listener(FULL, slashes("UNESCAPE_AND_FORWARD"), routes),
            "routed": Listener(ROUTED, named_routes),
            "deny": Listener(bound(ONLY), bare),
            "pass": Listener(bound(ONLY, unmatched="pass"), bare),
            "open": Listener(bound(ONLY, requests={"pass": ["discovery"]}), bare),
        }
        with serving(upstream, listeners, change=second_server) as gateway:
            yield Two(gateway, {"main": upstream, "metrics": other})


_numbers = itertools.count(1000)


def send(two: Two, listener: str, target: str, host: str = "mcp.example.com", *, tool: str = "search", **how: Any) -> Response:
    """One POST with exactly this target and host."""
    body = call(tool, id=str(next(_numbers))).encode()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in how.pop("headers", {}).items()]
    fields += [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
    if how.get("http2"):
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", host.encode()), (b":path", target.encode())]
        with H2(two.gateway.port(listener)) as connection:
            return connection.receive(connection.request([*head, *fields], [body]))
    lines = [b"POST %b HTTP/1.1" % target.encode(), b"host: " + host.encode(), b"content-length: %d" % len(body)]
    lines += [name + b": " + value for name, value in fields]
    with H1(two.gateway.port(listener)) as connection:
        connection.send(b"\r\n".join([*lines, b"", b""]) + body)
        return connection.receive()


def policy_of(two: Two, listener: str, target: str, host: str = "mcp.example.com", **how: Any) -> str:
    """The policy that answers there: it denies what it does not list, and says its name."""
    response = send(two, listener, target, host, tool="no_such_tool", **how)
    if response.fault or b"jsonrpc" not in response.body:
        return "envoy"
    if RAN in response.body:
        return "passed"
    error = error_of(response)
    if error["reason"] == "path_ambiguous":
        assert response.status == 400
        return "refused"
    if error["reason"] == "unmatched":
        assert (response.status, error["code"]) == (200, 403)
        return "unmatched"
    assert error["reason"] == "tool_not_allowed"
    return str(error["data"]["policy"])


# --- The table ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    name: str
    target: str
    expected: dict[str, str]
    host: str = "mcp.example.com"
    http2: bool = False


def rows() -> list[Row]:
    found = []
    for row in yaml.safe_load(TABLE.read_text()):
        both = row.pop("outcome", None)
        expected = {way: row.pop(way, both) for way in ("hardened", "bare")}
        found.append(Row(expected=expected, **row))
    assert len({row.name for row in found}) == len(found), "a name stands twice"
    return found


ROWS = rows()


@pytest.mark.parametrize("way", ["hardened", "bare", "keeping", "unescaping"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_call_meets_its_own_policy(two: Two, row: Row, way: str) -> None:
    two.arrivals()
    found = policy_of(two, way, row.target, row.host, http2=row.http2)
    if way in row.expected:
        assert found == row.expected[way], f"{row.target} at {row.host!r}"
    # What a policy allows arrives, and no reading of it by any server belongs to another policy.
    response = send(two, way, row.target, row.host, http2=row.http2)
    arrived = two.arrivals()
    if found in NAMES:
        assert RAN in response.body, response
        [(server, arrival)] = arrived
        hosts = {value.decode("latin-1") for value in arrival.header("host")}
        belongs = {naive(path, host) for path in readings(arrival.target.decode("latin-1")) for host in hosts}
        assert belongs == {found}, f"{arrival.target!r} at {hosts}"
        assert server == ("metrics" if re.match("/prometheus", arrival.path, re.IGNORECASE) else "main")
    else:
        assert RAN not in response.body
        assert arrived == [], "nothing arrives of what is refused"


def naive(path: str, host: str) -> str:
    """The policy of the first binding that matches, read off the list."""
    host = re.sub(r":[^\]]*$", "", host.lower()).rstrip(".")
    for binding in BINDINGS:
        match = dict(binding["match"])
        if "identity" in match:
            continue
        pattern = urllib.parse.unquote(match.get("path", "*"))
        wanted = match.get("host", "*")
        if (fnmatchcase(host, wanted) if wanted.startswith("*") else host == wanted) and fnmatchcase(path, pattern):
            return str(binding["policy"])
    return "none"


def readings(target: str) -> set[str]:
    """What servers could take a target's path for: with case or without, with slashes merged, dots resolved, and so on."""
    path = re.sub(r"^https?://[^/]*", "", target, flags=re.IGNORECASE) or "/"
    found = {urllib.parse.unquote(path.split("?")[0].split("#")[0])}
    ways = [
        lambda text: urllib.parse.unquote(urllib.parse.unquote(text)),
        lambda text: text.replace("\\", "/"),
        lambda text: re.sub(r"/+", "/", text),
        lambda text: re.sub(r";[^/]*", "", text),
        lambda text: re.sub("^/+", "/", posixpath.normpath(text)),
        lambda text: text.split("?")[0].split("#")[0],
        lambda text: text.rstrip("/") or "/",
        str.casefold,
        str.strip,
    ]
    for _ in range(3):
        # A case-insensitive server compares with its own paths in any case; the bindings' are in lower case.
        found |= {way(path) for way in ways for path in found}
    # A prefix without its slash is what a server without trailing slashes makes of the prefix.
    exact = {urllib.parse.unquote(target.split("?")[0])}
    return {path if path + "/" not in exact else path + "/" for path in found}


def test_a_second_host_header_does_not_count(two: Two) -> None:
    """HTTP/2 has an authority, and a host header beside it belongs to nobody; HTTP/1 may have only one."""
    for listener in ("hardened", "bare"):
        two.arrivals()
        response = send(two, listener, "/other", http2=True, headers={"host": "pay.example.com"})
        arrived = two.arrivals()
        if RAN in response.body:
            [(_, arrival)] = arrived
            assert arrival.header("host") == [b"mcp.example.com"], "the server sees the host that was judged"
        else:
            assert arrived == []
        assert policy_of(two, listener, "/other", http2=True, headers={"host": "pay.example.com"}) in ("rest", "envoy")
        response = send(two, listener, "/other", headers={"Host": "pay.example.com"})
        assert RAN not in response.body and two.arrivals() == []
        # What a server might believe instead is not believed here.
        claims = {"x-forwarded-host": "pay.example.com", "x-original-url": "/stripe/mcp", "x-rewrite-url": "/stripe/mcp"}
        assert policy_of(two, listener, "/other", headers=claims) == "rest"


DETOURS = {
    "forwarded": "host=pay.example.com;proto=https",
    "x-forwarded-host": "pay.example.com",
    "x-forwarded-path": "/stripe",
    "x-forwarded-prefix": "/stripe",
    "x-forwarded-server": "pay.example.com",
    "x-forwarded-uri": "/stripe/mcp",
    "x-host": "pay.example.com",
    "x-http-host-override": "pay.example.com",
    "x-original-host": "pay.example.com",
    "x-original-uri": "/stripe/mcp",
    "x-original-url": "/stripe/mcp",
    "x-rewrite-url": "/stripe/mcp",
    "x-script-name": "/stripe",
}


@pytest.mark.parametrize("listener", ["hardened", "bare", "pass"])
def test_no_server_sees_another_place_than_was_judged(two: Two, listener: str) -> None:
    """On the listener `pass` it is a request that passes unread."""
    two.arrivals()
    for name, value in DETOURS.items():
        assert RAN in send(two, listener, "/other", headers={name: value}).body
        [(_, arrival)] = two.arrivals()
        assert arrival.header(name) == [], name
    own = {"x-forwarded-host": "mcp.example.com", "x-forwarded-proto": "https"}
    assert RAN in send(two, listener, "/other", headers=own).body
    [(_, arrival)] = two.arrivals()
    assert arrival.header("x-forwarded-host") == [b"mcp.example.com"], "it says nothing new"


# --- Teams, routes, unmatched -------------------------------------------------------------------


def test_three_teams_share_a_path(two: Two) -> None:
    for listener in ("hardened", "bare"):
        for team, policy in [("sre", "metrics_sre"), ("dev", "metrics_dev"), ("ops", "metrics"), (None, "metrics")]:
            headers = {"x-team": team} if team else {}
            two.arrivals()
            assert policy_of(two, listener, "/prometheus/mcp", headers=headers) == policy
            for tool in NAMES:
                response = send(two, listener, "/prometheus/mcp", tool=tool, headers=headers)
                assert (RAN in response.body) == (tool == policy), f"{team} calls {tool}"
            assert [server for server, _ in two.arrivals()] == ["metrics"]
            assert policy_of(two, listener, "/stripe/mcp", headers=headers) == "payments"
            # A team gets no other way to the path than anybody else.
            assert policy_of(two, listener, "/Prometheus/mcp", headers=headers) == "refused"
        for team in ("SRE", "sre,dev", "s%72e", "sre\u00a0", "[sre]", '["sre"]'):
            assert policy_of(two, listener, "/prometheus/mcp", headers={"x-team": team}) == "metrics"
        assert policy_of(two, listener, "/prometheus/mcp", headers={"x-team": " sre "}) == "metrics_sre"


def test_bindings_by_route_and_by_its_metadata(two: Two) -> None:
    for path, policy in [
        ("/pay/mcp", "payments"),
        ("/metrics/mcp", "metrics"),
        ("/half/mcp", "unmatched"),
        ("/other", "unmatched"),
        ("/metrics/../pay/mcp", "payments"),  # Envoy normalises it before it routes it.
    ]:
        assert policy_of(two, "routed", path) == policy, path
    for forged in ("xds.route_name", "route_name", "x-envoy-route-name", "x-envoy-decorator-operation"):
        assert policy_of(two, "routed", "/other", headers={forged: "stripe"}) == "unmatched"


def test_what_no_binding_matches_is_denied(two: Two) -> None:
    two.arrivals()
    for method in ("tools/call", "tools/list", "initialize", "ping"):
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": {"name": "x"}})
        response = _post(two, "deny", "/other", body)
        error = error_of(response)
        assert (response.status, error["code"], error["reason"]) == (200, 403, "unmatched"), method
        assert error["data"].get("policy") in (None, ""), "a reply names no other policy"
    answer = '{"jsonrpc":"2.0","id":1,"result":{}}'
    for unanswered in ('{"jsonrpc":"2.0","method":"notifications/initialized"}', answer, f"[{answer}]"):
        assert _post(two, "deny", "/other", unanswered).status == 202
    assert _post(two, "deny", "/other", "not JSON").status == 400
    assert two.arrivals() == []
    assert policy_of(two, "deny", "/stripe/mcp") == "payments"


def test_what_no_binding_matches_can_pass(two: Two) -> None:
    two.arrivals()
    for body in (call("anything"), "not JSON", ""):
        assert RAN in _post(two, "pass", "/other", body).body or not body
    assert len(two.arrivals()) == 3, "it passes unread"
    assert policy_of(two, "pass", "/stripe/mcp") == "payments"
    # Only what is surely elsewhere is elsewhere.
    for path in ("/stripe/MCP", "/stripe/mcp/", "//stripe/mcp", "/stripe//mcp", "/x/../stripe/mcp", "/stripe%2fmcp", "/stripe/mcp;x"):
        assert policy_of(two, "pass", path) == "refused", path
    assert two.arrivals() == []


LIST = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "search"}, {"name": "secret"}]}}


async def listing(_arrival: Arrival, reply: Any) -> None:
    """A stream that brings a list, as the oldest transport does and resumed streams may."""
    await reply.stream()
    reply.write(b"data: " + json.dumps(LIST).encode() + b"\n\n")
    reply.end()


@pytest.mark.parametrize(("listener", "path", "expected"), [
    ("deny", "/stripe/mcp", "filtered"),
    ("deny", "/other", "unmatched"),
    ("deny", "//stripe/mcp", "path_ambiguous"),
    ("pass", "/stripe/mcp", "filtered"),
    ("pass", "/other", "whole"),
    ("pass", "//stripe/mcp", "path_ambiguous"),
    ("pass", "/stripe/mcp/", "path_ambiguous"),
    ("pass", "/STRIPE/mcp", "path_ambiguous"),
    ("pass", "/x/../stripe/mcp", "path_ambiguous"),
])  # fmt: skip
def test_a_stream_shows_what_its_policy_shows(two: Two, listener: str, path: str, expected: str) -> None:
    """A server that forgives a path must not become one whose lists nobody filters; who gets no stream gets an answer."""
    two.servers["main"].answer(path, listing)
    two.arrivals()
    response = _bodiless(two, listener, "GET", path, "accept: text/event-stream")
    if expected in ("filtered", "whole"):
        names = re.findall(rb'"name": ?"(\w+)"', response.body)
        assert names == {"filtered": [b"search"], "whole": [b"search", b"secret"]}[expected], response
        return
    assert (response.status, error_of(response)["reason"]) == ({"unmatched": 404}.get(expected, 400), expected), response
    assert two.arrivals() == []


SHAPES = [
    ("GET", "accept: text/event-stream"),
    ("GET", "accept: text/html"),
    ("HEAD", "accept: */*"),
    ("OPTIONS", "accept: */*"),
    ("OPTIONS", "origin: http://a.test\r\naccess-control-request-method: DELETE"),
    ("DELETE", "mcp-session-id: 1"),
    ("DELETE", "accept: */*"),
]


@pytest.mark.parametrize(("method", "header"), SHAPES)
def test_no_method_reaches_what_no_binding_names(two: Two, method: str, header: str) -> None:
    two.arrivals()
    for path in ("/docs/index.html", "/notes/7", "/.well-known/oauth-protected-resource", "/docs//index.html"):
        assert _bodiless(two, "deny", method, path, header).status in (400, 404), path
    for path in ("//stripe/mcp", "/stripe/MCP", "/x/../stripe/mcp", "/stripe/mcp;x"):
        assert _bodiless(two, "pass", method, path, header).status == 400, path
    assert two.arrivals() == []


def test_a_row_of_the_table_by_every_method(two: Two) -> None:
    """What a POST is refused for its path, no other method gets past."""
    for row in ROWS:
        for way in ("hardened", "bare"):
            if row.http2 or row.expected[way] not in ("refused", "unmatched"):
                continue
            for method, header in SHAPES:
                two.arrivals()
                response = _bodiless(two, way, method, row.target, header, row.host)
                assert response.fault or response.status >= 400, f"{row.name}: {method}: {response}"
                assert two.arrivals() == [], f"{row.name}: {method}"


def test_json_that_is_no_list_passes_encoded_too(two: Two) -> None:
    """Such as OAuth's metadata, which clients fetch with a GET."""
    body = gzip.compress(b'{"resource":"https://mcp.example.com/stripe/mcp"}')

    async def metadata(_arrival: Arrival, reply: Any) -> None:
        await reply.whole(200, body, headers=[(b"content-encoding", b"gzip")])

    two.servers["main"].answer("/.well-known/oauth-protected-resource", metadata)
    for listener in ("pass", "open"):
        response = _bodiless(two, listener, "GET", "/.well-known/oauth-protected-resource", "accept: application/json")
        assert (response.status, response.body) == (200, body)


def _bodiless(two: Two, listener: str, method: str, path: str, header: str, host: str = "mcp.example.com") -> Response:
    with H1(two.gateway.port(listener)) as connection:
        connection.send(f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{header}\r\n\r\n".encode("latin-1"))
        return connection.receive(method)


def _post(two: Two, listener: str, path: str, body: str) -> Response:
    with H1(two.gateway.port(listener)) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: mcp.example.com\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.send(head.encode() + body.encode())
        return connection.receive()
