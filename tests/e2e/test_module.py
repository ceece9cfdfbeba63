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
from pathlib import Path

import pytest
import rig

from client import post
from fleet import Fleet, Listener, held
from gateway import Gateway, call, serving, until
from judge import error_of
from upstream import RAN, Upstream

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


def test_validating_takes_and_refuses_as_a_start_does(tmp_path: Path) -> None:
    for policy, code, said in [(POLICY, 0, "OK"), ({**POLICY, "tool": {}}, 1, "did you mean `tools`")]:
        config = rig.in_shell(rig.render(policy, *rig.free_ports(3), wasm=rig.WASM))
        file = tmp_path / "envoy.json"
        file.write_text(json.dumps(config))
        done = subprocess.run([*rig.find_envoy(), "--mode", "validate", "-c", file], capture_output=True, text=True, check=False)
        assert done.returncode == code and said in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.fixture(scope="module")
def panicking() -> Iterator[Gateway]:
    if not DEBUG.is_file():
        pytest.skip(f"{DEBUG} is not there: `make module-e2e` builds it")
    kept, rig.MODULE = rig.MODULE, DEBUG
    try:
        with Upstream() as upstream:
            fleet = Fleet(upstream.port)
            fleet.add("governed", Listener(POLICY))
            with rig.Envoy(fleet.config, concurrency=1) as envoy:
                yield Gateway(fleet, envoy, upstream, None)  # type: ignore[arg-type]
    finally:
        rig.MODULE = kept


@pytest.mark.parametrize("hook", ["request_headers", "request_body", "response_headers", "response_body", "closed"])
def test_a_panic_is_answered_and_ends_nothing_else(panicking: Gateway, hook: str) -> None:
    since, logged = panicking.upstream.count(), len(panicking.envoy.log())
    response = panicking.call("governed", "search", x_mcp_policy_panic=hook)
    if hook.startswith("request"):
        assert response.status == 500 and error_of(response)["reason"] == "host_failure"
        assert panicking.upstream.count() == since, "nothing of it reached the server"
    elif hook == "closed":
        assert RAN in response.body, "all was said before"
    else:
        assert RAN not in response.body, "nothing of what is not judged passes"
    until(lambda: "panicked" in panicking.envoy.log()[logged:], "the log of the panic")
    assert RAN in panicking.call("governed").body, "the next request"


def test_a_route_has_a_configuration_of_its_own(upstream: Upstream) -> None:
    stricter = rig.as_module({"name": "route", "configuration": {
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": json.dumps(held({"version": "1", "name": "strict", "default": "deny", "tools": {"search": {"action": "deny"}}})),
    }})

    def change(config: rig.Config) -> None:
        [route] = rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"]
        kind = stricter["@type"].replace("DynamicModuleFilter", "DynamicModuleFilterPerRoute")
        own = {
            "@type": kind,
            "dynamic_module_config": {"name": "mcp_policy", "do_not_close": True},
            "per_route_config_name": stricter["filter_name"],
            "filter_config": stricter["filter_config"],
        }
        strict = {"match": {"prefix": "/strict"}, "route": route["route"], "typed_per_filter_config": {"mcp_policy": own}}
        rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"] = [strict, route]

    # A route names a module: Envoy looks for `libmcp_policy.so` in this folder.
    os.environ["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"] = str(rig.MODULE.parent)
    try:
        with serving(upstream, {"governed": Listener(POLICY, change)}) as gateway:
            assert RAN in gateway.call("governed").body
            denied = error_of(gateway.call("governed", path="/strict/mcp"))
            assert denied["reason"] == "tool_denied"
    finally:
        del os.environ["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"]


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
