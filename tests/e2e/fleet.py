"""Many listeners on one Envoy, each a copy of the shipped one with its own port, policy and changes.

fleet = Fleet(upstream.port)
fleet.add("guarded", Listener(policy))
fleet.add("control", Listener(None))          # the same listener without the filter
with fleet.run() as envoy:
    client.post(fleet.port("guarded"), body)
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rig

Policy = dict[str, Any]
Change = Callable[[rig.Config], object]

# What Envoy and the filter write when a VM dies. A trap on a request is a denial of service at best.
TRAPS = re.compile(
    r"wasm trap|panicked at|Function: proxy_\w+ failed|Uncaught RuntimeError|unreachable executed", re.IGNORECASE
)


class Listener:
    """What one listener is to be: the plugin configuration (None: no filter) and changes to the shipped one."""

    def __init__(self, policy: Policy | str | None, *changes: Change) -> None:
        self.policy = policy
        self.changes = changes


class Fleet:
    """A configuration under construction, then a running Envoy."""

    def __init__(self, upstream_port: int) -> None:
        [admin] = rig.free_ports(1)
        self.config = rig.render(None, 1, admin, upstream_port, wasm=rig.WASM)
        self._template = rig.listener(self.config)
        self.config["static_resources"]["listeners"] = []
        self._ports: dict[str, int] = {}

    def add(self, name: str, wanted: Listener) -> None:
        """Adds a listener on a port of its own."""
        self.config["static_resources"]["listeners"].append(self.listener(name, wanted))

    def listener(self, name: str, wanted: Listener) -> rig.Config:
        """The configuration of a listener. One that was made before keeps its port."""
        if name not in self._ports:
            [self._ports[name]] = rig.free_ports(1)
        listener = copy.deepcopy(self._template)
        # What rig's functions and the changes take is a configuration with one listener.
        alone: rig.Config = {"static_resources": {**self.config["static_resources"], "listeners": [listener]}}
        listener["name"] = name
        listener["address"]["socket_address"]["port_value"] = self._ports[name]
        if wanted.policy is None:
            without_filter(alone)
        elif rig.WASM is not None:
            text = wanted.policy if isinstance(wanted.policy, str) else json.dumps(wanted.policy, ensure_ascii=False)
            rig.plugin(alone)["configuration"]["value"] = text
            # Counters belong to the plugin of this name, so listeners count apart.
            rig.plugin(alone)["name"] = name
        for change in wanted.changes:
            change(alone)
        return listener

    def port(self, name: str) -> int:
        """Where a listener listens."""
        return self._ports[name]

    @contextmanager
    def run(self, concurrency: int = 1) -> Iterator[rig.Envoy]:
        """Runs Envoy, and checks at the end that it and every filter VM lived through it all."""
        with rig.Envoy(self.config, concurrency=concurrency) as envoy:
            yield envoy
            assert_healthy(envoy)


def assert_healthy(envoy: rig.Envoy) -> None:
    """No VM trapped or was loaded anew, and the process serves."""
    assert envoy.admin("/ready").startswith("LIVE")
    failures = {name: count for name, count in envoy.stats(r"^wasm\..*(vm_reload|fail)").items() if count}
    assert not failures, f"a filter VM died and was loaded anew: {failures}\n{envoy.log_tail(60)}"
    traps = [line for line in envoy.log().splitlines() if TRAPS.search(line)]
    assert not traps, "a filter VM trapped:\n" + "\n".join(traps[:10])


def held(policy: Policy, how: str = "always") -> Policy:
    """The policy with `requests.hold_headers`, unless it says itself."""
    return {**policy, "requests": {"hold_headers": how, **policy.get("requests", {})}}


# --- Changes to a listener --------------------------------------------------------------------


def without_filter(config: rig.Config) -> None:
    """Takes the filter out."""
    rig.hcm(config)["http_filters"] = [each for each in rig.hcm(config)["http_filters"] if each["name"] != "mcp_policy"]


def without_hold(config: rig.Config) -> None:
    """What an Istio WasmPlugin gives: the filter, but not the right to hold headers."""
    rig.plugin(config).pop("allow_on_headers_stop_iteration", None)


def with_native_buffer(config: rig.Config) -> None:
    """Envoy's own buffer filter after ours."""
    buffer = {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 1048576}
    rig.hcm(config)["http_filters"].insert(-1, {"name": "envoy.filters.http.buffer", "typed_config": buffer})


def with_trailers(config: rig.Config) -> None:
    """HTTP/1 trailers, which Envoy drops unless told otherwise."""
    rig.hcm(config)["http_protocol_options"] = {"enable_trailers": True}


def bare(config: rig.Config) -> None:
    """None of the shipped hardening: the filter has to hold on its own."""
    for name in ("use_remote_address", "normalize_path", "merge_slashes", "path_with_escaped_slashes_action"):
        rig.hcm(config).pop(name, None)
    rig.hcm(config).pop("common_http_protocol_options", None)


def mesh(config: rig.Config) -> None:
    """Callers count as internal, as in a mesh: Envoy obeys the x-envoy- headers that they send."""
    loopback = {"address_prefix": "127.0.0.0", "prefix_len": 8}
    rig.hcm(config)["internal_address_config"] = {"cidr_ranges": [loopback]}


def answering(status: int, body: str) -> Change:
    """Lets the router itself answer what passes the filter: faster than any upstream."""

    def change(config: rig.Config) -> None:
        direct = {"match": {"prefix": "/"}, "direct_response": {"status": status, "body": {"inline_string": body}}}
        media = {"key": "content-type", "value": "application/json"}
        direct["response_headers_to_add"] = [{"header": media, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
        rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"] = [direct]

    return change


def to_server(name: str, port: int) -> Change:
    """Leads to another server, with a cluster and statistics of this name."""

    def change(config: rig.Config) -> None:
        cluster = copy.deepcopy(rig.cluster(config))
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = port
        cluster["name"] = cluster["load_assignment"]["cluster_name"] = name
        config["static_resources"]["clusters"].append(cluster)
        rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = name
        rig.hcm(config)["stat_prefix"] = name

    return change


def with_approver(config: rig.Config) -> None:
    """A cluster `approver`, which is the upstream again."""
    [server] = [each for each in config["static_resources"]["clusters"] if each["name"] == "mcp_server"]
    cluster = copy.deepcopy(server)
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = "approver"
    config["static_resources"]["clusters"].append(cluster)


def with_secret(config: rig.Config) -> None:
    """A secret for `sessions.pin`."""
    secret = {"MCP_POLICY_SESSION_SECRET": "a secret of the end-to-end tests, long enough"}
    rig.plugin(config)["vm_config"]["environment_variables"] = {"key_values": secret}


def deserted(config: rig.Config) -> None:
    """A server that is down: nobody listens where the route leads."""
    [port] = rig.free_ports(1)
    to_server(f"nobody_{port}", port)(config)


def silent(config: rig.Config) -> None:
    """No access log."""
    rig.hcm(config)["access_log"] = []


def websocket(config: rig.Config) -> None:
    """Upgrades to a websocket pass Envoy."""
    rig.hcm(config)["upgrade_configs"] = [{"upgrade_type": "websocket"}]


def bringing_much(config: rig.Config) -> None:
    """A connection brings eight times `max_body_bytes` of the policy `short` at once, and Envoy has just the room that it needs."""
    rig.listener(config)["per_connection_buffer_limit_bytes"] = 32768
    [host] = rig.hcm(config)["route_config"]["virtual_hosts"]
    host["request_body_buffer_limit"] = 4096 + 32768 + 16384


VARIANTS: dict[str, list[Change]] = {
    "shipped": [],
    "bare": [bare],
    "mesh": [mesh],
    "trailers": [with_trailers],
    "websocket": [websocket],
    "bringing much": [bringing_much],
}
