"""What a gateway file comes to on a real Envoy: TLS, names and paths of servers, logins, browsers, and what the page says of bridges and waypoints."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rig
import yaml
from mcp import Client

import cli
from client import H1, Response, post, post_bytes
from credentials import Authority
from fleet import Listener, assert_healthy, held, without_hold
from gateway import Gateway, call, serving, until
from judge import error_of
from real import SUPERGATEWAY
from servers import CLIENTS, NODE, environment, serving_python
from test_oauth import visit
from test_render import schema, validate
from upstream import RAN, Arrival, Reply, Upstream

PAGE = rig.ROOT / "envoy" / "GATEWAY.md"
POLICY = {"version": "1", "default": "deny", "tools": {"search": {}, "delete_account": {"action": "deny", "reason": "No."}}}
NAME = "orders.test"


def blocks(kind: str) -> list[str]:
    """The fenced blocks of the page, of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def block(having: str) -> Any:
    """The only block of YAML that has this text."""
    [found] = [block for block in blocks("yaml") if having in block]
    return yaml.safe_load(found)


@contextmanager
def running(directory: Path, gateway: dict[str, Any], *changes: Any, policies: dict[str, Any] | None = None) -> Iterator[rig.Envoy]:
    """An Envoy with this gateway file, and policies beside it."""
    for name, policy in (policies or {"p.json": POLICY}).items():
        (directory / name).write_text(json.dumps(policy))
    file = directory / "gateway.json"
    file.write_text(json.dumps(gateway))
    cli.run("validate", file)
    listen, admin = rig.free_ports(2)
    where = ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}", *cli.FILTER]
    config = yaml.safe_load(cli.run("render", file, "--for", cli.ENVOY, *where).stdout)
    for change in changes:
        change(config)
    with rig.Envoy(config) as envoy:
        yield envoy
        assert_healthy(envoy)


def asked(envoy: rig.Envoy, path: str, tool: str = "search", *fields: tuple[str, str], host: str = "mcp.test") -> Response:
    with H1(envoy.port) as connection:
        connection.send(post_bytes(call(tool), [("host", host), *fields], path=path))
        return connection.receive()


# --- TLS --------------------------------------------------------------------------------------


class Seen:
    """A recording server over TLS, and the names by which it was asked for."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory, "ours")
        self.names: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue("server", dns=["localhost", NAME]))
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.upstream = Upstream(tls=context)

    @property
    def ca(self) -> str:
        return str(self.authority.file)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Seen]:
    seen = Seen(tmp_path)
    with seen.upstream:
        yield seen


def to(server: dict[str, Any]) -> dict[str, Any]:
    return {"version": "1", "servers": {"orders": {"policy": "p.json", **server}}}


def test_a_server_behind_tls(secure: Seen, tmp_path: Path) -> None:
    url = f"https://localhost:{secure.upstream.port}/v1/mcp"
    with running(tmp_path, to({"url": url, "ca": secure.ca})) as envoy:
        before = secure.upstream.count()
        assert RAN in asked(envoy, "/orders/mcp?a=1").body
        [arrival] = secure.upstream.arrivals(before)
        assert arrival.target == b"/v1/mcp?a=1"
        assert arrival.header("host") == [f"localhost:{secure.upstream.port}".encode()]
        assert secure.names == ["localhost"]
        assert error_of(asked(envoy, "/orders/mcp", "delete_account"))["reason"] == "tool_denied"
        assert error_of(asked(envoy, "/v1/mcp"))["reason"] == "unmatched"


def test_a_name_of_its_own(secure: Seen, tmp_path: Path) -> None:
    """By its address, with the name that it is asked for, and with the host that it reads."""
    url = f"https://127.0.0.1:{secure.upstream.port}/mcp"
    more = {"ca": secure.ca, "sni": NAME, "host_header": "shown.test"}
    with running(tmp_path, to({"url": url, "path": "/here", **more})) as envoy:
        before = secure.upstream.count()
        assert RAN in asked(envoy, "/here").body
        [arrival] = secure.upstream.arrivals(before)
        assert (arrival.path, arrival.header("host"), secure.names) == ("/mcp", [b"shown.test"], [NAME])


@pytest.mark.parametrize(
    ("host", "more"),
    [("localhost", {}), ("127.0.0.1", {"ca": True}), ("localhost", {"ca": True, "sni": "other.test"})],
    ids=["of no authority that the system knows", "for another address", "for another name"],
)
def test_a_certificate_that_is_not_right(secure: Seen, tmp_path: Path, host: str, more: dict[str, Any]) -> None:
    server = {"url": f"https://{host}:{secure.upstream.port}/mcp", **more}
    if "ca" in more:
        server["ca"] = secure.ca
    with running(tmp_path, to(server)) as envoy:
        before = secure.upstream.count()
        assert asked(envoy, "/orders/mcp").status == 503
        assert not secure.upstream.arrivals(before), "nothing is sent to a server that is not the right one"
        assert sum(envoy.stats(r"^cluster\.orders\.ssl\.fail_verify_(san|error)$").values()) > 0


def test_one_server_by_its_url(secure: Seen, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(POLICY))
    listen, admin = rig.free_ports(2)
    where = ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}", *cli.FILTER]
    url = f"https://localhost:{secure.upstream.port}"
    rendered = cli.run("render", tmp_path / "p.json", "--for", cli.ENVOY, "--upstream", url, "--ca", secure.ca, *where)
    assert "plain" not in rendered.stderr
    with rig.Envoy(yaml.safe_load(rendered.stdout)) as envoy:
        assert RAN in asked(envoy, "/mcp").body
        assert secure.upstream.arrivals(0)[-1].header("host") == [url.removeprefix("https://").encode()]


# --- Routes -----------------------------------------------------------------------------------


def test_which_server_is_reached_by_which_name(tmp_path: Path) -> None:
    """By path on every host, and by a host of its own; policies go with the servers."""
    with Upstream() as one, Upstream() as other:
        servers = {
            "one": {"url": f"http://127.0.0.1:{one.port}/mcp", "policy": "p.json", "callers": [{"identity": {"team": "sre"}, "policy": "sre.json"}]},
            "other": {"url": f"http://127.0.0.1:{other.port}/api", "policy": "other.json", "host": "other.test", "keep_host": True},
        }
        gateway = {"version": "1", "servers": servers, "identity": {"keys": {"team": {"header": "x-team"}}}}
        policies = {
            "p.json": POLICY,
            "sre.json": {"version": "1", "default": "allow"},
            "other.json": {"version": "1", "default": "deny", "tools": {"find": {}}},
        }
        with running(tmp_path, gateway, policies=policies) as envoy:
            for host in ("mcp.test", "other.test:80", "OTHER.test"):
                assert RAN in asked(envoy, "/one/mcp", host=host).body
                assert one.arrivals(0)[-1].path == "/mcp"
            assert error_of(asked(envoy, "/one/mcp", "wipe"))["data"]["policy"] == "p"
            assert RAN in asked(envoy, "/one/mcp", "wipe", ("x-team", "sre")).body
            assert RAN in asked(envoy, "/api", "find", host="other.test:8080").body
            arrived = other.arrivals(0)[-1]
            assert (arrived.path, arrived.header("host")) == ("/api", [b"other.test:8080"])
            assert error_of(asked(envoy, "/api", host="other.test"))["data"]["policy"] == "other"
            counts = one.count(), other.count()
            for path, host in [("/api", "mcp.test"), ("/other/mcp", "mcp.test"), ("/mcp", "mcp.test"), ("/", "other.test"), ("/mcp", "other.test")]:
                assert error_of(asked(envoy, path, host=host))["reason"] == "unmatched", (path, host)
            assert (one.count(), other.count()) == counts


@pytest.mark.wasm_only("the page's commands start the filter")
def test_the_file_of_the_page(tmp_path: Path) -> None:
    """It is valid, and Envoy takes what comes of it."""
    gateway = block("name: agents")
    for server in gateway["servers"].values():
        for policy in [server["policy"], *(each["policy"] for each in server.get("callers", []))]:
            (tmp_path / policy).parent.mkdir(exist_ok=True)
            (tmp_path / policy).write_text(json.dumps(POLICY))
    file = tmp_path / "gateway.yaml"
    [text] = [each for each in blocks("yaml") if "name: agents" in each]
    file.write_text(text)
    assert "gateway.yaml: valid" in cli.run("validate", file).stdout
    config = cli.run("render", file, "--for", cli.ENVOY, *cli.FILTER).stdout
    assert "vm_id: mcp_policy_agents" in config
    authority = Authority(tmp_path, "internal")
    config = config.replace("/etc/envoy/internal-ca.pem", str(authority.file))
    done = validate(config, tmp_path, {})
    assert done.returncode == 0, done.stdout + done.stderr


# --- What people stumble over -----------------------------------------------------------------


def test_a_server_that_guards_against_dns_rebinding(tmp_path: Path) -> None:
    """A real server of the SDK refuses hosts that it does not know; by a URL it reads its own, whatever the agent wrote."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    with serving_python(tmp_path) as port:
        statuses = {}
        for kept in (False, True):
            server = {"url": f"http://127.0.0.1:{port}/mcp", "policy": "p.json", "keep_host": kept}
            with running(tmp_path, {"version": "1", "servers": {"every": server}}) as envoy:
                text = json.dumps({**body, "params": params})
                statuses[kept] = post(envoy.port, text, [("host", "gateway.example.com")], path="/every/mcp").status
        assert statuses == {False: 200, True: 421}


@pytest.mark.parametrize("having", ["pass: [discovery, oauth]", "unmatched: pass"])
def test_a_server_that_is_its_own_authorization_server(tmp_path: Path, having: str) -> None:
    """A real FastMCP, whose client logs in through the gateway, and is governed then."""
    found = [yaml.safe_load(each) for each in blocks("yaml") if "guarded:" in each and having in each]
    [gateway] = found
    [port] = rig.free_ports(1)
    server = gateway["servers"]["guarded"]
    server["url"] = server["url"].replace("8000", str(port))
    with ExitStack() as stack:
        envoy = stack.enter_context(running(tmp_path, gateway, policies={"guarded.yaml": POLICY}))
        url = f"http://localhost:{envoy.port}"
        argv = [sys.executable, str(Path(__file__).with_name("oauth_server.py")), str(port), url]
        process = stack.enter_context(rig.Process(argv, tmp_path, name="oauth", env=environment(tmp_path)))
        process.wait_until(lambda: rig.listens(port))
        tools, answer, denied = asyncio.run(visit(f"{url}/mcp"))
        assert sorted(tools) == ["delete_account", "search"] and answer == "found x" and "No." in denied


def test_a_server_that_names_another_address_as_its_own(tmp_path: Path) -> None:
    """An agent that checks it does not log in through the gateway, and its call does not hang."""
    [gateway] = [yaml.safe_load(each) for each in blocks("yaml") if "guarded:" in each and "pass: [discovery, oauth]" in each]
    [port] = rig.free_ports(1)
    server = gateway["servers"]["guarded"]
    server["url"] = server["url"].replace("8000", str(port))
    argv = [sys.executable, str(Path(__file__).with_name("oauth_server.py")), str(port), "https://elsewhere.test"]
    with running(tmp_path, gateway, policies={"guarded.yaml": POLICY}) as envoy:
        with rig.Process(argv, tmp_path, name="oauth", env=environment(tmp_path)) as process:
            process.wait_until(lambda: rig.listens(port))
            with pytest.raises(BaseException) as failed:
                asyncio.run(asyncio.wait_for(visit(f"http://localhost:{envoy.port}/mcp"), 30))
            assert not isinstance(failed.value, TimeoutError), failed.value


ORIGIN = ("origin", "http://localhost:6274")


def test_browsers(tmp_path: Path) -> None:
    def cors(config: rig.Config) -> None:
        rig.hcm(config)["http_filters"].insert(0, *block("envoy.extensions.filters.http.cors.v3.Cors }"))
        for host in rig.hcm(config)["route_config"]["virtual_hosts"]:
            host.update(block("CorsPolicy"))

    async def with_cors(_arrival: Arrival, reply: Reply) -> None:
        own = [(b"access-control-allow-origin", b"*")]
        await reply.json({"jsonrpc": "2.0", "id": 7, "result": {"ran": True}}, headers=own)

    with Upstream() as upstream:
        servers = {name: {"url": f"http://127.0.0.1:{upstream.port}/{name}", "policy": "p.json"} for name in ("plain", "own")}
        upstream.answer("/own", with_cors)
        with running(tmp_path, {"version": "1", "servers": servers}, cors) as envoy:
            with H1(envoy.port) as connection:
                head = b"OPTIONS /plain/mcp HTTP/1.1\r\nhost: a\r\norigin: http://localhost:6274\r\naccess-control-request-method: POST\r\n\r\n"
                connection.send(head)
                preflight = connection.receive()
            assert preflight.status == 200 and preflight.header("access-control-allow-methods") == "GET, POST, DELETE"
            assert upstream.count() == 0, "preflights end at Envoy"
            for tool in ("search", "delete_account"):
                assert asked(envoy, "/plain/mcp", tool, ORIGIN).header("access-control-allow-origin") == ORIGIN[1]
            foreign = asked(envoy, "/plain/mcp", "delete_account", ("origin", "http://evil.test"))
            assert foreign.header("access-control-allow-origin") is None
            # A server that does CORS itself does not get in the way.
            assert asked(envoy, "/own/mcp", "search", ORIGIN).header("access-control-allow-origin") == ORIGIN[1]


def test_servers_that_pack_their_answers(tmp_path: Path) -> None:
    listing = b'{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"search"},{"name":"hidden"}]}}'

    async def packed(_arrival: Arrival, reply: Reply) -> None:
        await reply.whole(200, gzip.compress(listing), headers=[(b"content-encoding", b"gzip")])

    def decompressor(config: rig.Config) -> None:
        rig.hcm(config)["http_filters"].insert(-1, *block("Decompressor"))

    with Upstream() as upstream:
        upstream.answer("/mcp", packed)
        gateway = to({"url": f"http://127.0.0.1:{upstream.port}/mcp"})
        body = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}'
        with running(tmp_path, gateway) as envoy:
            assert b"list_unreadable" in post(envoy.port, body, path="/orders/mcp").body
        with running(tmp_path, gateway, decompressor) as envoy:
            answer = post(envoy.port, body, path="/orders/mcp").body
            assert b'"search"' in answer and b"hidden" not in answer, answer


# --- Bridges ----------------------------------------------------------------------------------


def command_lines(pid: int) -> list[bytes]:
    """Of the processes that a process has started, and of those that they have. Any may end while it is looked at."""
    found: list[bytes] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    found.append(Path(f"/proc/{child}/cmdline").read_bytes())
                    found += command_lines(int(child))
    return found


def servers_of(pid: int) -> int:
    """How many of them are the server behind the bridge."""
    lines = command_lines(pid)
    return sum(b"mcp-server-time" in line and not line.startswith((b"sh\0", b"/bin/sh\0")) for line in lines)


def listens_beyond_loopback(port: int) -> bool:
    """Whether a port is open on other addresses than 127.0.0.1 and ::1."""
    local = ("0100007F", "00000000000000000000000001000000")
    lines = [line.split() for file in ("tcp", "tcp6") for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]]
    addresses = [line[1].split(":")[0] for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port]
    assert addresses
    return any(address not in local for address in addresses)


TIME = str(Path(sys.executable).with_name("mcp-server-time"))
BRIDGES = {
    "mcp-proxy": ([str(CLIENTS / "bin" / "mcp-proxy"), "--named-server", "time", TIME], "/servers/time/mcp", 1, False),
    "supergateway, stateful": (
        [str(NODE), SUPERGATEWAY, "--stdio", TIME, "--outputTransport", "streamableHttp", "--logLevel", "none", "--stateful"],
        "/mcp",
        2,
        True,
    ),
    "supergateway": ([str(NODE), SUPERGATEWAY, "--stdio", TIME, "--outputTransport", "streamableHttp", "--logLevel", "none"], "/mcp", 0, True),
}


@pytest.mark.parametrize("name", BRIDGES)
def test_what_bridges_start_and_where_they_listen(tmp_path: Path, name: str) -> None:
    """As the page's table has it: with two agents connected, and through the gateway."""
    argv, path, expected, is_open = BRIDGES[name]
    [port] = rig.free_ports(1)
    env = environment(tmp_path, PATH="/usr/bin:/bin")
    policies = {"p.json": {"version": "1", "default": "deny", "tools": {"get_current_time": {}}}}
    gateway = {"version": "1", "servers": {"time": {"url": f"http://127.0.0.1:{port}{path}", "policy": "p.json"}}}
    with rig.Process([*argv, "--port", str(port)], tmp_path, name="bridge", env=env) as bridge, running(tmp_path, gateway, policies=policies) as envoy:
        bridge.wait_until(lambda: rig.listens(port))
        assert listens_beyond_loopback(port) is is_open

        async def two_agents() -> None:
            url = f"http://127.0.0.1:{envoy.port}/time/mcp"
            async with Client(url, mode="legacy") as one, Client(url, mode="legacy") as other:
                for agent in (one, other):
                    assert [tool.name for tool in (await agent.list_tools()).tools] == ["get_current_time"]
                    result = await agent.call_tool("get_current_time", {"timezone": "UTC"})
                    assert "UTC" in result.content[0].text
                # One that is started for a request ends soon after its answer.
                until(lambda: servers_of(bridge.pid) == expected, f"{expected} servers")

        asyncio.run(two_agents())


# --- Ambient ----------------------------------------------------------------------------------


@pytest.mark.wasm_only("a WasmPlugin has the filter")
def test_a_waypoint(upstream: Upstream, tmp_path: Path) -> None:
    """What `render` writes for a waypoint is Istio's, and its configuration does without header hold what the page says."""
    file = tmp_path / "p.json"
    file.write_text(json.dumps(POLICY))
    place = ["--namespace", "shop", "--service", "shop"]
    plugin = yaml.safe_load(cli.run("render", file, "--for", "istio-wasmplugin", *place).stdout)
    jsonschema.Draft202012Validator(schema("WasmPlugin")).validate(plugin)
    assert plugin["spec"]["targetRefs"] == [{"group": "", "kind": "Service", "name": "shop"}]
    assert not {"selector", "match"} & plugin["spec"].keys()
    listeners = {"waypoint": Listener(plugin["spec"]["pluginConfig"], without_hold), "sidecar": Listener(held(POLICY))}
    with serving(upstream, listeners) as gateway:
        assert RAN in gateway.call("waypoint", "search").body
        denied = in_two_pieces(gateway, "waypoint")
        assert error_of(denied[0])["reason"] == "tool_denied"
        [arrival] = denied[1]
        assert arrival.header("authorization") == [b"Bearer of-an-agent"] and not arrival.body and not arrival.complete
        held_back = in_two_pieces(gateway, "sidecar")
        assert error_of(held_back[0])["reason"] == "tool_denied" and not held_back[1]


def in_two_pieces(gateway: Gateway, listener: str) -> tuple[Response, list[Arrival]]:
    """A call that is denied, whose body comes a moment after its head; and what of it reached the server."""
    before = gateway.upstream.count()
    request = post_bytes(call("delete_account"), [("authorization", "Bearer of-an-agent")])
    head, _, body = request.partition(b"\r\n\r\n")
    with H1(gateway.port(listener)) as connection:
        connection.send(head + b"\r\n\r\n", body[:10])
        if listener == "waypoint":
            until(lambda: gateway.upstream.count() > before, "the headers to arrive")
        connection.send(body[10:])
        return connection.receive(), gateway.arrivals(before)
