"""What is so of the native module alone: the ABI that it was built for, panics, and configurations of routes.

Everything else that it does, the other files ask of it as of the filter: `make module-e2e`.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rig

import cli
from client import H1, Response, post
from fleet import Fleet, Listener, Policy, held, with_approver, with_trailers
from gateway import Gateway, call, serving, until
from judge import error_of
from upstream import RAN, Arrival, Reply, Upstream

pytestmark = pytest.mark.skipif(rig.SHELL != "module", reason="MCP_POLICY_SHELL=module runs this")

# A build that panics where a test asks for it, which no release does.
DEBUG = Path(os.environ.get("MCP_POLICY_MODULE_DEBUG", rig.ROOT / "target" / "debug" / "libmcp_policy.so"))
POLICY = held({"version": "1", "default": "deny", "tools": {"search": {"limits": [{"counter": "c", "window": "month", "max": 1000}]}}})
ABI = "v0.2.0"


def symbols(file: Path) -> tuple[set[str], set[str]]:
    """The names in an ELF file's dynamic table (`elf.h`): those that it has, and those that it wants."""
    data = file.read_bytes()
    [table], [size, count] = struct.unpack_from("<Q", data, 0x28), struct.unpack_from("<HH", data, 0x3A)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * at) for at in range(count)]
    dynamic = next(head for head in heads if head[1] == 11)
    texts = heads[dynamic[6]]
    has: set[str] = set()
    wants: set[str] = set()
    for at in range(dynamic[4], dynamic[4] + dynamic[5], 24):
        name, _, _, section = struct.unpack_from("<IBBH", data, at)
        begin = texts[4] + name
        text = data[begin : data.index(0, begin)].decode()
        (has if section else wants).add(text)
    return has, wants


def envoy_binary() -> Path:
    [binary] = rig.TOOLS.glob("venv/lib/python3*/site-packages/envoy/_bin/envoy")
    return binary


def test_every_function_that_is_declared_is_envoys_and_no_other_is_called() -> None:
    text = (rig.ROOT / "src" / "module" / "abi.rs").read_text()
    declared = set(re.findall(r'link_name = "(envoy_\w+)"', text))
    assert len(declared) > 30 and declared <= symbols(envoy_binary())[0]
    has, wants = symbols(rig.MODULE)
    assert {name for name in wants if name.startswith("envoy_")} == declared
    assert {name for name in has if not name.startswith("envoy_dynamic_module_on_")} == set(), "nothing else is shown"


def test_an_envoy_of_another_abi_is_refused(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy itself only logs it."""
    other = tmp_path / "envoy"
    program = envoy_binary().read_bytes()
    assert program.count(f"{ABI}\0".encode()) == 1
    other.write_bytes(program.replace(f"{ABI}\0".encode(), b"v0.3.0\0"))
    other.chmod(0o755)
    monkeypatch.setenv("ENVOY", str(other))
    fleet = Fleet(upstream.port)
    fleet.add("governed", Listener(POLICY))
    with pytest.raises(rig.RigError) as refused, fleet.run():
        pass
    assert f"this Envoy does not speak version {ABI} of the ABI" in str(refused.value)


def validate(config: rig.Config, directory: Path, code: int, *said: str) -> None:
    """Has Envoy read a configuration, and let go of it again."""
    file = directory / "envoy.json"
    file.write_text(json.dumps(rig.in_shell(config)))
    done = subprocess.run([*rig.find_envoy(), "--mode", "validate", "-c", file], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == code and all(text in told for text in said), told


def test_validating_takes_and_refuses_as_a_start_does(tmp_path: Path) -> None:
    for policy, code, said in [(POLICY, 0, "OK"), ({**POLICY, "tool": {}}, 1, "did you mean `tools`")]:
        validate(rig.render(policy, *rig.free_ports(3), wasm=rig.WASM), tmp_path, code, said)


@pytest.fixture
def debug() -> Iterator[None]:
    """With the build that panics where a test asks for it."""
    with _debug():
        yield


@contextmanager
def _debug() -> Iterator[None]:
    if not DEBUG.is_file():
        pytest.skip(f"{DEBUG} is not there: `make module-e2e` builds it")
    kept, rig.MODULE = rig.MODULE, DEBUG
    try:
        yield
    finally:
        rig.MODULE = kept


WAITING = held({
    "version": "1",
    "default": "deny",
    "tools": {"search": {"action": "require_approval", "approval": "approver"}},
    "approvals": {"cooldown": 0, "wait": "5s", "approver": {"cluster": "approver", "timeout": "5s"}},
})


@pytest.fixture(scope="module")
def panicking() -> Iterator[Gateway]:
    with _debug(), Upstream() as upstream:
        fleet = Fleet(upstream.port)
        with_approver(fleet.config)
        _with_response_trailers(fleet.config)
        fleet.add("governed", Listener(POLICY, with_trailers))
        fleet.add("waiting", Listener(WAITING))
        # What no request can ask for, the name of the configuration does.
        for hook in ("new", "destroy", "scheduled"):
            fleet.add(f"panics in {hook}", Listener(POLICY))
        with rig.Envoy(fleet.config, concurrency=1) as envoy:
            yield Gateway(fleet, envoy, upstream, None)  # type: ignore[arg-type]


def _with_response_trailers(config: rig.Config) -> None:
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {"@type": f"type.googleapis.com/{kind}", "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}
    for cluster in config["static_resources"]["clusters"]:
        cluster["typed_extension_protocol_options"] = {kind: options}


def _with_trailers(gateway: Gateway, hook: str) -> Response:
    head = f"POST /trailers HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nx-mcp-policy-panic: {hook}\r\n\r\n"
    body = call("search").encode()
    with H1(gateway.port("governed")) as connection:
        connection.send(head.encode() + b"%x\r\n%b\r\n0\r\nx-end: 1\r\n\r\n" % (len(body), body))
        return connection.receive()


def _panicked(gateway: Gateway, logged: int) -> None:
    """The panic is told, and the next request is served."""
    until(lambda: "panicked" in gateway.envoy.log()[logged:], "the log of the panic")
    assert RAN in gateway.call("governed").body, "the next request"


@pytest.mark.parametrize(
    "hook",
    ["request_headers", "request_body", "request_trailers", "response_headers", "response_body", "response_trailers", "closed"],
)
def test_a_panic_is_answered_and_ends_nothing_else(panicking: Gateway, hook: str) -> None:
    async def ending(_: Arrival, reply: Reply) -> None:
        reply.start(200, [(b"content-type", b"application/json")])
        reply.write(json.dumps({"jsonrpc": "2.0", "id": 7, "result": {"ran": RAN.decode()}}).encode())
        reply.end([(b"x-end", b"1")])

    panicking.upstream.answer("/trailers", ending)
    since, logged = panicking.upstream.count(), len(panicking.envoy.log())
    if "trailers" in hook:
        response = _with_trailers(panicking, hook)
    else:
        response = panicking.call("governed", "search", x_mcp_policy_panic=hook)
    if hook.startswith("request"):
        assert response.status == 500 and error_of(response)["reason"] == "host_failure"
        assert panicking.upstream.count() == since, "nothing of it reached the server"
    elif hook == "closed":
        assert RAN in response.body, "all was said before"
    elif hook == "response_trailers":
        assert response.fault, "the body that was judged has gone, and the end does not come"
    else:
        assert RAN not in response.body, "nothing of what is not judged passes"
    _panicked(panicking, logged)


@pytest.mark.parametrize("hook", ["tick", "answered"])
def test_a_panic_while_a_call_waits_is_answered(panicking: Gateway, hook: str) -> None:
    gate = panicking.upstream.gate()

    async def say(_: Arrival, reply: Reply) -> None:
        if hook == "tick":
            await gate.passed()
        await reply.whole(200, b'{"decision":true}')

    panicking.upstream.answer("/access/v1/evaluation", say)
    since, logged = panicking.upstream.count(), len(panicking.envoy.log())
    response = panicking.call("waiting", "search", x_mcp_policy_panic=hook)
    gate.open()
    assert response.status == 500 and error_of(response)["reason"] == "host_failure"
    assert not [each for each in panicking.upstream.arrivals(since) if each.path == "/mcp"], "nothing of it reached the server"
    _panicked(panicking, logged)


@pytest.mark.parametrize("hook", ["new", "destroy", "scheduled"])
def test_a_panic_beside_what_passes_lets_nothing_pass_unjudged(panicking: Gateway, hook: str) -> None:
    # That of `scheduled` came with the start of Envoy.
    logged = 0 if hook == "scheduled" else len(panicking.envoy.log())
    response = panicking.call(f"panics in {hook}")
    if hook == "new":
        # Envoy itself answers where there is nothing of ours to ask.
        assert response.status == 500 and not response.body
    else:
        assert RAN in response.body
    _panicked(panicking, logged)


@pytest.mark.usefixtures("debug")
def test_a_panic_over_a_configuration_refuses_it(tmp_path: Path) -> None:
    for hook, code in [("filter_config", 1), ("config_destroy", 0)]:
        config = rig.render(POLICY, *rig.free_ports(3), wasm=rig.WASM)
        rig.plugin(config)["name"] = f"panics in {hook}"
        validate(config, tmp_path, code, f"a test asked for it in {hook}")


@pytest.mark.usefixtures("debug")
def test_a_panic_over_the_configuration_of_a_route_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", str(rig.MODULE.parent))
    config = rig.render(POLICY, *rig.free_ports(3), wasm=rig.WASM)
    [route] = rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"]
    route["typed_per_filter_config"] = {"mcp_policy": of_route("panics in route_config", POLICY)}
    validate(config, tmp_path, 1, "a test asked for it in route_config")


def of_route(name: str, policy: Policy) -> rig.Config:
    """A configuration for a route, which names a module: Envoy looks for `libmcp_policy.so` in a folder that its environment names."""
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(policy)}
    module = rig.as_module({"name": name, "configuration": text})
    return {
        "@type": module["@type"].replace("DynamicModuleFilter", "DynamicModuleFilterPerRoute"),
        "dynamic_module_config": {"name": "mcp_policy", "do_not_close": True},
        "per_route_config_name": name,
        "filter_config": text,
    }


def test_a_route_has_a_configuration_of_its_own(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    stricter = held({"version": "1", "name": "strict", "default": "deny", "tools": {"search": {"action": "deny"}}})

    def change(config: rig.Config) -> None:
        [route] = rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"]
        own = {"mcp_policy": of_route("route", stricter)}
        strict = {"match": {"prefix": "/strict"}, "route": route["route"], "typed_per_filter_config": own}
        rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"] = [strict, route]

    monkeypatch.setenv("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", str(rig.MODULE.parent))
    with serving(upstream, {"governed": Listener(POLICY, change)}) as gateway:
        assert RAN in gateway.call("governed").body
        denied = error_of(gateway.call("governed", path="/strict/mcp"))
        assert denied["reason"] == "tool_denied"


def doctor(config: rig.Config, directory: Path, expect: int, *codes: str) -> None:
    """What `mcp-policy doctor` finds in what Envoy reads."""
    file = directory / "envoy.json"
    file.write_text(json.dumps(config))
    [examined] = json.loads(cli.run("doctor", file, "--format", "json", expect=expect).stdout)
    assert [problem["code"] for problem in examined["problems"]] == list(codes), examined


def test_the_doctor_knows_a_name_under_which_a_route_s_policy_holds_nowhere(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stricter = held({"version": "1", "name": "strict", "default": "deny", "tools": {"search": {"action": "deny"}}})
    monkeypatch.setenv("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", str(rig.MODULE.parent))
    for name, holds in [("mcp_policy", True), ("mcp-policy", False)]:
        config = rig.render({**POLICY, "requests": {**POLICY["requests"], "paths": ["/mcp"]}}, *rig.free_ports(2), upstream.port)
        [route] = rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"]
        route["typed_per_filter_config"] = {name: of_route("route", stricter)}
        doctor(rig.in_shell(config), tmp_path, *([0] if holds else [1, "P401"]))
        with rig.Envoy(config) as envoy:
            answer = post(envoy.port, call("search"))
            assert (RAN not in answer.body) == holds, answer


def test_the_doctor_knows_metrics_under_other_names(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rig.in_shell(rig.render(POLICY, *rig.free_ports(2), upstream.port))
    del config["layered_runtime"]
    doctor(config, tmp_path, 0, "P417")
    monkeypatch.setattr(rig, "in_shell", lambda part: part)
    with rig.Envoy(config) as envoy:
        assert RAN in post(envoy.port, call("search")).body
        until(lambda: "\nenvoy_wasmcustom_mcp_policy_decisions_total{" in envoy.admin("/stats/prometheus"), "another name")
        assert "\nmcp_policy_decisions_total{" not in envoy.admin("/stats/prometheus")


def test_the_doctor_knows_a_module_without_which_calls_pass(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rig.in_shell(rig.render(POLICY, *rig.free_ports(2), upstream.port))
    uri = {"uri": "http://127.0.0.1/libmcp_policy.so", "cluster": "mcp_server", "timeout": "1s"}
    [module] = [each for each in rig.hcm(config)["http_filters"] if each["name"] == "mcp_policy"]
    module["typed_config"]["dynamic_module_config"]["module"] = {"remote": {"http_uri": uri, "sha256": "0" * 64}}
    doctor(config, tmp_path, 1, "P404")
    monkeypatch.setattr(rig, "in_shell", lambda part: part)
    with rig.Envoy(config) as envoy:
        until(lambda: RAN in post(envoy.port, call("drop_tables")).body, "a call that nobody judges")


def test_counts_outlive_configurations(upstream: Upstream, dynamic: object) -> None:
    """The module stays loaded, and with it what it has counted."""
    from dynamic import Dynamic

    assert isinstance(dynamic, Dynamic)
    policy = held({"version": "1", "default": "deny", "tools": {"search": {"limits": [{"counter": "kept", "window": "month", "max": 2}]}}})
    assert dynamic.push(policy) == "success"
    until(lambda: RAN in post(dynamic.port, call("search")).body, "the first call")
    assert dynamic.push({**policy, "description": "another"}) == "success"
    until(lambda: error_of(post(dynamic.port, call("other")))["reason"] == "tool_not_allowed", "the second configuration")
    reasons = [RAN in post(dynamic.port, call("search")).body for _ in range(3)]
    assert reasons == [True, False, False]
