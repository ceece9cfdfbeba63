"""What of Envoy's own stands around the filter: other filters, retries and redirects of the operator's, interim answers, ends that never come.

Nothing hangs, nothing hidden passes, and a call that surely never left is not counted where only successes count.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rig

from client import H1, Response, post_bytes
from fleet import Change, Listener, deserted, held, to_server, websocket
from gateway import Gateway, call, serving
from judge import error_of
from processor import Processor
from upstream import RAN, Arrival, Reply, Upstream, ran

ONCE: dict[str, Any] = held(
    {
        "version": "1",
        "default": "allow",
        "tools": {"search": {"limits": [{"counter": "c", "window": "month", "max": 1, "count": "successes"}]}},
    }
)
HIDING: dict[str, Any] = held({"version": "1", "default": "allow", "hide": ["secret_tool"], "tools": {}})
LISTING = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}'
LIST = b'{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"secret_tool"},{"name":"search"}]}}'
KEPT = b'{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"search"}]}}'
HTTP = "type.googleapis.com/envoy.extensions.filters.http"
GZIP = "type.googleapis.com/envoy.extensions.compression.gzip"


def beside(name: str, config: dict[str, Any], *, after: bool) -> Change:
    """Another filter before ours, or after it."""

    def change(listener: rig.Config) -> None:
        filters = rig.hcm(listener)["http_filters"]
        at = next(at for at, each in enumerate(filters) if each["name"] == "mcp_policy")
        filters.insert(at + after, {"name": name, "typed_config": config})

    return change


def decompressor(**more: object) -> dict[str, Any]:
    library = {"name": "gzip", "typed_config": {"@type": f"{GZIP}.decompressor.v3.Gzip"}}
    return {"@type": f"{HTTP}.decompressor.v3.Decompressor", "decompressor_library": library, **more}


def compressor(**more: object) -> dict[str, Any]:
    library = {"name": "gzip", "typed_config": {"@type": f"{GZIP}.compressor.v3.Gzip"}}
    return {"@type": f"{HTTP}.compressor.v3.Compressor", "compressor_library": library, **more}


LUA = {
    "@type": f"{HTTP}.lua.v3.Lua",
    "default_source_code": {
        "inline_string": "function envoy_on_response(h) for chunk in h:bodyChunks() do end local t = h:trailers() if t then t:add('x-lua', '1') end end"
    },
}
ABORT = {
    "@type": f"{HTTP}.fault.v3.HTTPFault",
    "abort": {"http_status": 503, "percentage": {"numerator": 100, "denominator": "HUNDRED"}},
}


def route(**more: object) -> Change:
    """Changes the only route's action."""

    def change(listener: rig.Config) -> None:
        routes = rig.hcm(listener)["route_config"]["virtual_hosts"][0]["routes"]
        routes[0]["route"].update(more)

    return change


def routes(*instead: dict[str, Any]) -> Change:
    """Other routes."""

    def change(listener: rig.Config) -> None:
        rig.hcm(listener)["route_config"]["virtual_hosts"][0]["routes"] = list(instead)

    return change


def overflowing(port: int) -> Change:
    """A cluster that lets nothing through."""

    def change(listener: rig.Config) -> None:
        to_server("full", port)(listener)
        cluster = listener["static_resources"]["clusters"][-1]
        cluster["circuit_breakers"] = {"thresholds": [{"max_pending_requests": 0, "max_connections": 0}]}

    return change


def retries(on: str, count: int = 2) -> Change:
    return route(retry_policy={"retry_on": on, "num_retries": count, "retry_back_off": {"base_interval": "0.001s"}})


def direct(status: int) -> Change:
    return routes({"match": {"prefix": "/"}, "direct_response": {"status": status}})


def processed(port: int, mode: str, *, after: bool) -> Change:
    """An external processor that sees headers and bodies, whole (`BUFFERED`) or as they come (`STREAMED`)."""
    name = f"processor_{port}"
    config = {
        "@type": f"{HTTP}.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": name}, "timeout": "5s"},
        "message_timeout": "5s",
        "processing_mode": {"request_body_mode": mode, "response_body_mode": mode, "response_trailer_mode": "SEND"},
    }

    def change(listener: rig.Config) -> None:
        clusters = listener["static_resources"]["clusters"]
        if all(each["name"] != name for each in clusters):
            cluster = copy.deepcopy(rig.cluster(listener))
            endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            endpoint["address"]["socket_address"]["port_value"] = port
            cluster["name"] = cluster["load_assignment"]["cluster_name"] = name
            options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
            options["explicit_http_config"] = {"http2_protocol_options": {}}
            cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
            clusters.append(cluster)
        beside("ext_proc", config, after=after)(listener)

    return change


def connecting(listener: rig.Config) -> None:
    """Envoy ends tunnels itself, and hands what is in them to the server."""
    rig.hcm(listener)["upgrade_configs"] = [{"upgrade_type": "CONNECT"}]
    rig.hcm(listener)["http2_protocol_options"]["allow_connect"] = True
    to = {"cluster": "mcp_server", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}
    usual = rig.hcm(listener)["route_config"]["virtual_hosts"][0]["routes"][0]
    routes({"match": {"connect_matcher": {}}, "route": to}, usual)(listener)


def nowhere(listener: rig.Config) -> None:
    """A route to a cluster that is not there."""
    rig.hcm(listener)["route_config"]["validate_clusters"] = False
    route(cluster="nowhere")(listener)


# Answers of Envoy's own; each comes twice, since what was given back is there again.
NEVER_SENT: dict[str, tuple[Change, int]] = {
    "nobody listens": (deserted, 503),
    "no route": (routes(), 404),
    "a direct response": (direct(503), 503),
    "a redirect by the route": (routes({"match": {"prefix": "/"}, "redirect": {"path_redirect": "/x"}}), 301),
    "no cluster": (nowhere, 503),
    "a fault that is injected": (beside("fault", ABORT, after=True), 503),
}
AROUND: dict[str, tuple[Change, ...]] = {
    "a decompressor after": (beside("decompressor", decompressor(), after=True),),
    "a decompressor before": (beside("decompressor", decompressor(), after=False),),
    "a compressor after": (beside("compressor", compressor(), after=True),),
    "a compressor before": (beside("compressor", compressor(), after=False),),
    "lua after": (beside("lua", LUA, after=True),),
    "lua before": (beside("lua", LUA, after=False),),
    "websockets": (websocket,),
}
PROCESSORS = [f"a processor {where}, {mode}" for where in ("after", "before") for mode in ("BUFFERED", "STREAMED")]


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    listeners = {name: Listener(ONCE, change) for name, (change, _) in NEVER_SENT.items()}
    with contextlib.ExitStack() as opened:
        yield from _serve(upstream, listeners, opened)


def _serve(upstream: Upstream, listeners: dict[str, Listener], opened: contextlib.ExitStack) -> Iterator[Gateway]:
    # Nobody takes connections from its queue, which is full: the next one's first packet is dropped.
    deaf = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        waiting = opened.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(deaf.getsockname())
    listeners["connect time-out"] = Listener(ONCE, to_server("deaf", deaf.getsockname()[1]))
    leaving = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    threading.Thread(target=_leave, args=(leaving,), daemon=True).start()
    listeners["leaves"] = Listener(ONCE, to_server("leaving", leaving.getsockname()[1]), retries("reset,connect-failure", 1))
    listeners["overflow"] = Listener(ONCE, overflowing(upstream.port))
    listeners["retries"] = Listener(ONCE, retries("5xx,reset"))
    policy = {"max_internal_redirects": 1, "redirect_response_codes": [303, 307]}
    listeners["redirects"] = Listener(ONCE, route(internal_redirect_policy=policy))
    listeners.update({name: Listener(HIDING, *changes) for name, changes in AROUND.items()})
    packing = compressor(request_direction_config={"common_config": {"enabled": {"default_value": True, "runtime_key": "x"}}})
    processor, replacing = opened.enter_context(Processor()), opened.enter_context(Processor(call("secret_tool").encode()))
    for name in PROCESSORS:
        listeners[name] = Listener(HIDING, processed(processor.port, name.rsplit(" ", 1)[1], after=" after," in name))
    for where in ("after", "before"):
        listeners[f"replaced {where}"] = Listener(HIDING, processed(replacing.port, "BUFFERED", after=where == "after"))
    listeners["tunnels"], listeners["tunnels, no filter"] = Listener(ONCE, connecting), Listener(None, connecting)
    hedged = {"hedge_policy": {"hedge_on_per_try_timeout": True}}
    trying = {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"}
    listeners["hedged"] = Listener(ONCE, route(retry_policy=trying, **hedged))
    listeners["requests compressed"] = Listener(HIDING, beside("compressor", packing, after=False))
    with serving(upstream, listeners) as gateway:
        yield gateway


@pytest.mark.parametrize("name", NEVER_SENT)
def test_what_never_left_is_given_back(gateway: Gateway, name: str) -> None:
    _, status = NEVER_SENT[name]
    before = gateway.upstream.count()
    assert [gateway.call(name).status for _ in range(3)] == [status] * 3
    assert not gateway.arrivals(before)


def test_a_connection_that_takes_too_long_is_given_back(gateway: Gateway) -> None:
    answers = [gateway.call("connect time-out") for _ in range(2)]
    assert [each.status for each in answers] == [503] * 2 and all(b"timeout" in each.body for each in answers), answers


def test_an_overflow_is_given_back(gateway: Gateway) -> None:
    assert [gateway.call("overflow").status for _ in range(3)] == [503] * 3


def test_a_retried_call_is_not_given_back(gateway: Gateway) -> None:
    """One count, as many runs as the operator's policy allows; the last answer's word is for the last try alone."""

    async def hang_up(arrival: Arrival, reply: Reply) -> None:
        reply.reset()

    gateway.upstream.answer("/reset", hang_up)
    before = gateway.upstream.count()
    assert gateway.call("retries", path="/reset").status == 503
    assert len(gateway.arrivals(before)) == 3
    assert error_of(gateway.call("retries"))["reason"] == "limit_reached"


def _leave(server: socket.socket) -> None:
    """Takes one request, then nobody listens any more."""
    connection, _ = server.accept()
    while b"tools/call" not in connection.recv(65536):
        pass
    server.close()
    connection.close()


def test_a_last_try_that_was_never_sent_gives_nothing_back(gateway: Gateway) -> None:
    """The first one was: a server that goes down once gave each call on its way back, whether it had run or not."""
    first = gateway.call("leaves")
    assert first.status == 503 and b"connection failure" in first.body, first
    assert error_of(gateway.call("leaves"))["reason"] == "limit_reached"


@pytest.mark.parametrize("code", [307, 303])
def test_a_call_that_envoy_redirects(gateway: Gateway, code: int) -> None:
    """With 307 it comes anew, and counts once; after 303 it is done, and stays counted."""

    async def elsewhere(arrival: Arrival, reply: Reply) -> None:
        await reply.whole(code, b"", headers=[(b"location", b"http://mcp.test/mcp")])

    gateway.upstream.answer(f"/moved/{code}", elsewhere)
    who = {"authorization": f"Bearer moved-{code}"}
    first = gateway.call("redirects", path=f"/moved/{code}", **who)
    assert not first.hung
    if code == 307:
        assert RAN in first.body, first
    assert error_of(gateway.call("redirects", **who))["reason"] == "limit_reached"


async def packed(arrival: Arrival, reply: Reply) -> None:
    """A list, gzip'ed whether or not the client can read it."""
    reply.start(200, [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")])
    reply.write(gzip.compress(LIST))
    reply.end()


async def plain(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, LIST)


async def hinted(arrival: Arrival, reply: Reply) -> None:
    reply.transport.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    await reply.whole(200, LIST)


async def broken(arrival: Arrival, reply: Reply) -> None:
    reply.start(200, [(b"content-type", b"application/json")])
    reply.write(LIST[:60])
    await reply.taken()
    reply.reset()


async def empty(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, b"")


ANSWERS: dict[str, Callable[..., Any]] = {"packed": packed, "plain": plain, "hinted": hinted, "broken": broken, "empty": empty}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("around", [*AROUND, *PROCESSORS])
def test_a_list_among_other_filters(gateway: Gateway, around: str, answer: str) -> None:
    gateway.upstream.answer(f"/{answer}", ANSWERS[answer])
    fields = [("expect", "100-continue"), ("accept-encoding", "gzip")]
    with H1(gateway.port(around), 5) as connection:
        connection.send(post_bytes(LISTING, fields, path=f"/{answer}"))
        response: Response = connection.receive()
    assert not response.hung, response
    whole = answer in ("plain", "hinted")
    assert not whole or (around == "a compressor before") == (response.header("content-encoding") == "gzip"), response
    if response.header("content-encoding") == "gzip":
        # Only what stands before the filter may pack what has passed it.
        assert around == "a compressor before", response
        response.body = gzip.decompress(response.body)
    assert b"secret_tool" not in response.body
    if answer in ("plain", "hinted") or (answer, around) == ("packed", "a decompressor after"):
        assert response.status == 200 and response.body == KEPT, response
        assert 100 in response.interim
    if answer == "broken":
        assert response.fault or response.status >= 500, response


@pytest.mark.parametrize("where", ["after", "before"])
def test_a_body_that_a_processor_replaces(gateway: Gateway, where: str) -> None:
    """What it makes of a request before the filter is what the filter judges. What it does behind it nobody judges."""
    before = gateway.upstream.count()
    # As long as what it becomes, for its length has gone out by then.
    response = gateway.call(f"replaced {where}", "search_tool")
    arrivals = gateway.arrivals(before)
    if where == "before":
        assert error_of(response)["reason"] == "tool_hidden" and not arrivals, response
    else:
        assert RAN in response.body and b"secret_tool" in arrivals[0].body, response


def test_a_request_compressed_before_the_filter_is_refused(gateway: Gateway) -> None:
    before = gateway.upstream.count()
    response = gateway.call("requests compressed", arguments='{"text":"' + "a" * 200 + '"}')
    assert response.status == 415 and error_of(response)["reason"] == "content_encoding", response
    assert not gateway.arrivals(before)


def test_a_hedged_call_counts_once_and_runs_twice(gateway: Gateway) -> None:
    came: list[Arrival] = []

    async def second_time(arrival: Arrival, reply: Reply) -> None:
        came.append(arrival)
        if len(came) == 1:
            await reply.gone.wait()
        else:
            await ran(arrival, reply)

    gateway.upstream.answer("/hedged", second_time)
    response = gateway.call("hedged", path="/hedged")
    assert RAN in response.body and len(came) == 2, response
    assert error_of(gateway.call("hedged"))["reason"] == "limit_reached"


@pytest.mark.parametrize("listener", ["tunnels", "tunnels, no filter"])
def test_no_tunnel_leads_past_the_filter(gateway: Gateway, listener: str) -> None:
    """What is in a tunnel that Envoy ends goes to the server as it is."""
    before = gateway.upstream.count()
    with H1(gateway.port(listener), 5) as connection:
        connection.send(b"CONNECT mcp.test:80 HTTP/1.1\r\nhost: mcp.test:80\r\n\r\n", post_bytes(call("secret_tool")))
        response = Response()
        with contextlib.suppress(EOFError):
            connection.head(response)
        passed = response.status == 200
        if passed:
            connection.head(response)
    assert passed == (listener != "tunnels") and (passed or response.status >= 400), response
    assert len(gateway.arrivals(before)) == passed


def test_an_upgrade_is_refused(gateway: Gateway) -> None:
    """Its body would never end."""
    with H1(gateway.port("websockets"), 5) as connection:
        connection.send(b"GET /mcp HTTP/1.1\r\nhost: mcp.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        response = connection.receive("GET")
    assert not response.hung and b"body_not_allowed" in response.body, response


def test_a_client_that_half_closes_is_answered(gateway: Gateway) -> None:
    gateway.upstream.answer("/plain", plain)
    with H1(gateway.port("lua after"), 5) as connection:
        connection.send(post_bytes(call("search"), path="/mcp"))
        connection.finish()
        response = connection.receive()
    assert not response.hung, response
