"""What `mcp-policy doctor` says of a configuration, and what the same configuration then does in Envoy.

The tables of all faults are in `tests/data/doctor`, which `tests/suite/doctor.rs` holds. Here are those that Envoy shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rig

import cli
from client import H1, Response, post
from gateway import call
from judge import error_of
from rig import Config
from upstream import Upstream

POLICY = {"version": "1", "default": "deny", "tools": {"search": {}}, "requests": {"hold_headers": "always", "paths": ["/mcp"]}}


def configuration(upstream: Upstream, *changes: Callable[[Config], object], **policy: object) -> Config:
    """The shipped configuration with this policy, changed."""
    config = rig.render({**POLICY, **policy}, *rig.free_ports(2), upstream.port)
    for change in changes:
        change(config)
    return config


def codes(config: Config, tmp_path: Path, expect: int) -> list[str]:
    """What the doctor finds, as `error P401`."""
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(rig.in_shell(config)))
    [examined] = json.loads(cli.run("doctor", file, "--format", "json", expect=expect).stdout)
    assert all(problem["help"] and problem["line"] for problem in examined["problems"]), examined
    return [f"{problem['severity']} {problem['code']}" for problem in examined["problems"]]


@contextmanager
def running(config: Config) -> Iterator[rig.Envoy]:
    with rig.Envoy(config) as envoy:
        yield envoy


def refused(config: Config) -> str:
    """What Envoy says when it does not start."""
    with pytest.raises(rig.RigError) as refusal, running(config):
        pass
    return str(refusal.value)


def without_flag(config: Config) -> None:
    del rig.plugin(config)["allow_on_headers_stop_iteration"]


def small_buffer(config: Config) -> None:
    rig.listener(config)["per_connection_buffer_limit_bytes"] = 1 << 19
    del rig.hcm(config)["route_config"]["virtual_hosts"][0]["request_body_buffer_limit"]


def insert(config: Config, at: int, name: str, **fields: object) -> None:
    kinds = {"cors": "cors.v3.Cors", "compressor": "compressor.v3.Compressor"}
    typed = {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{kinds[name]}", **fields}
    rig.hcm(config)["http_filters"].insert(at, {"name": f"envoy.filters.http.{name}", "typed_config": typed})


def browsers(config: Config) -> None:
    """A route whose answers browsers may read."""
    route = rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"][0]
    route["typed_per_filter_config"] = {
        "envoy.filters.http.cors": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": [{"exact": "https://app.example.com"}],
            "allow_methods": "POST",
        }
    }


def is_shown(port: int) -> bool:
    """Whether a browser shows its page a denial."""
    denial = post(port, call("drop_tables"), [("origin", "https://app.example.com")])
    assert error_of(denial)["code"] == 403
    return denial.header("access-control-allow-origin") is not None


def test_a_sound_configuration_is_clean_also_as_envoy_has_it(upstream: Upstream, tmp_path: Path) -> None:
    config = configuration(upstream)
    assert codes(config, tmp_path, expect=0) == []
    with running(config) as envoy:
        assert post(envoy.port, call("search")).status == 200
        dump = tmp_path / "dump.json"
        dump.write_text(envoy.admin("/config_dump"))
        assert "nothing is missing around the filter" in cli.run("doctor", dump).stdout


@pytest.mark.wasm_only("headers can always wait for the module")
def test_the_flag_is_missing(upstream: Upstream, tmp_path: Path) -> None:
    config = configuration(upstream, without_flag)
    assert codes(config, tmp_path, expect=1) == ["error P405"]
    with running(config) as envoy:
        assert post(envoy.port, call("search")).status == 503


def test_the_buffer_is_too_small(upstream: Upstream, tmp_path: Path) -> None:
    # Longer than Envoy waits for, and shorter than the policy would.
    long = call("search", json.dumps({"text": "x" * 700_000}))
    config = configuration(upstream, small_buffer)
    assert codes(config, tmp_path, expect=1) == ["error P409"]
    with running(config) as envoy:
        answer = post(envoy.port, long)
        assert (answer.status, answer.body) == (413, b"Payload Too Large")
    with running(configuration(upstream)) as envoy:
        assert post(envoy.port, long).status == 200


def test_browsers_see_denials(upstream: Upstream, tmp_path: Path) -> None:
    before = configuration(upstream, browsers, lambda config: insert(config, 0, "cors"))
    assert codes(before, tmp_path, expect=0) == []
    with running(before) as envoy:
        assert is_shown(envoy.port)
    after = configuration(upstream, browsers, lambda config: insert(config, 1, "cors"))
    assert codes(after, tmp_path, expect=1) == ["error P408"]
    with running(after) as envoy:
        assert not is_shown(envoy.port)
    nowhere = configuration(upstream, browsers)
    assert codes(nowhere, tmp_path, expect=1) == ["error P408"]


def test_a_route_switches_it_off(upstream: Upstream, tmp_path: Path) -> None:
    def off(config: Config) -> None:
        route = rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"][0]
        kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
        route["typed_per_filter_config"] = {"mcp_policy": {"@type": kind, "disabled": True}}

    config = configuration(upstream, off)
    assert codes(config, tmp_path, expect=1) == ["error P403"]
    with running(config) as envoy:
        since = upstream.count()
        post(envoy.port, call("drop_tables"))
        assert len(upstream.arrivals(since)) == 1


def test_envoy_does_not_start_with_a_policy_that_is_refused(upstream: Upstream, tmp_path: Path) -> None:
    policy = configuration(upstream, default="denny")
    assert codes(policy, tmp_path, expect=1) == ["error P402"]
    assert "denny" in refused(policy)


def test_envoy_does_not_start_without_a_secret(upstream: Upstream, tmp_path: Path) -> None:
    secret = configuration(upstream, sessions={"pin": True})
    # The environment that the module reads is in no file: there the doctor only says that it has not seen it.
    assert codes(secret, tmp_path, expect=int(rig.SHELL == "wasm")) == (["error P412"] if rig.SHELL == "wasm" else [])
    assert "secret" in refused(secret)


@pytest.mark.wasm_only("a Struct and a file of Wasm from a server are the filter's")
def test_what_envoy_does_not_even_start_with(upstream: Upstream, tmp_path: Path) -> None:
    def struct(config: Config) -> None:
        rig.plugin(config)["configuration"] = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": POLICY}

    assert codes(configuration(upstream, struct), tmp_path, expect=1) == ["error P402"]
    assert "Struct" in refused(configuration(upstream, struct))

    def remote(config: Config) -> None:
        uri = {"uri": "http://127.0.0.1/mcp_policy.wasm", "cluster": "mcp_server", "timeout": "1s"}
        rig.plugin(config)["vm_config"]["code"] = {"remote": {"http_uri": uri}}

    assert codes(configuration(upstream, remote), tmp_path, expect=1) == ["error P416"]
    assert "sha256" in refused(configuration(upstream, remote)).lower()
