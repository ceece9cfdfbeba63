"""Traces: Envoy's own tracer tells a real collector what was decided, configured as envoy/README.md prints it."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import json
import os
import re
import secrets
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import demo
import pytest
import rig
import yaml

from client import post
from fleet import Fleet, Listener, held
from gateway import call, until

README = rig.ROOT / "envoy" / "README.md"
pytestmark = pytest.mark.skipif(sys.version_info >= (3, 14), reason="rotel, the collector, is not built for this Python yet")
POLICY = held(json.loads((rig.ROOT / "policies" / "copy-image-set.json").read_text()))


def printed(key: str) -> rig.Config:
    """The block of YAML in the README's section about traces that has this key."""
    section = README.read_text().split("\n## Traces\n")[1].split("\n## ")[0]
    blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)]
    [found] = [block for block in blocks if key in block]
    return found


# --- The collector ----------------------------------------------------------------------------


@dataclass
class Span:
    """What the collector says of one span."""

    trace: str
    parent: str
    id: str
    name: str
    kind: str
    tags: dict[str, str] = field(default_factory=dict)


class Collector(rig.Process):
    """Rotel, an OpenTelemetry collector: it takes OTLP over gRPC, and here it writes down each span that it got."""

    def __init__(self, directory: Path) -> None:
        found = importlib.util.find_spec("rotel")
        if found is None or found.origin is None:
            raise rig.RigError("no rotel: run `envoy/tools.sh venv`")
        self.port, http = rig.free_ports(2)
        ports = ["--otlp-grpc-endpoint", f"127.0.0.1:{self.port}", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
        files = ["--pid-file", str(directory / "rotel.pid"), "--log-file", str(directory / "rotel.log")]
        said = ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
        agent = Path(found.origin).with_name("rotel-agent")
        # It is linked with libpython, which need not be where the system looks for libraries.
        env = {**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
        super().__init__([str(agent), "start", *ports, *files, *said], directory, name="rotel", env=env)

    def spans(self) -> list[Span]:
        """All spans so far, whole ones only."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.stdout_path.read_text())
        spans = []
        for block in re.split(r"^Span #\d+\n", text, flags=re.MULTILINE)[1:]:
            lines = block.split("ResourceSpans #")[0].splitlines()
            fields = {name: value for line in lines[:5] for name, value in re.findall(r"^\s*([^:]+?)\s*:\s*(.*)", line)}
            span = Span(fields["Trace ID"], fields["Parent ID"], fields["ID"], fields["Name"], fields["Kind"])
            span.tags = {name: value for line in lines for name, value in re.findall(r"^\s+-> (\S+): Str\((.*)\)$", line)}
            spans.append(span)
        return spans


@dataclass
class Traced:
    """An Envoy with a tracer, before a real MCP server, and the collector behind it."""

    collector: Collector
    fleet: Fleet

    def spans(self, trace: str, count: int) -> list[Span]:
        """The spans of a trace, as soon as there are so many."""

        def found() -> list[Span]:
            return [span for span in self.collector.spans() if span.trace == trace]

        until(lambda: len(found()) >= count, f"{count} spans of {trace}: {self.collector.spans()}")
        return found()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """The shipped configuration with the blocks of the README, and no other change but ports and patience."""
    directory = tmp_path_factory.mktemp("traced")
    tracing = printed("tracing")
    collector = Collector(directory)
    [images] = rig.free_ports(1)
    [cluster] = tracing["clusters"]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = collector.port

    def with_tracing(config: rig.Config) -> None:
        rig.hcm(config)["tracing"] = tracing["tracing"]

    def without_callers(config: rig.Config) -> None:
        rig.hcm(config).update(printed("early_header_mutation_extensions"))

    def rarely(config: rig.Config) -> None:
        rig.hcm(config)["tracing"] = {**copy.deepcopy(tracing["tracing"]), "random_sampling": {"value": 0}}

    fleet = Fleet(images)
    fleet.config["static_resources"]["clusters"] += tracing["clusters"]
    # Spans are sent every five seconds if nothing is said.
    flush = {"name": "flush", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 50}}
    fleet.config["layered_runtime"] = {"layers": [flush]}
    fleet.add("traced", Listener(POLICY, with_tracing))
    fleet.add("own", Listener(POLICY, with_tracing, without_callers))
    fleet.add("rare", Listener(POLICY, rarely))
    server = rig.Process([sys.executable, demo.__file__, "image-server", str(images)], directory, name="images")
    with collector, server, fleet.run():
        collector.wait_until(lambda: rig.listens(collector.port))
        server.wait_until(lambda: rig.listens(images))
        yield Traced(collector, fleet)


async def two_calls(url: str, traceparent: str) -> list[demo.Reply]:
    """An agent with the MCP SDK calls what it may and what it may not, as a part of a trace of its own."""
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    http = httpx2.AsyncClient(headers={"traceparent": traceparent}, trust_env=False)
    async with http, Client(streamable_http_client(url, http_client=http)) as agent:
        allowed = await demo.call(agent, "copy_image_set", {"name": "a", "region": "b"})
        return [allowed, await demo.call(agent, "delete_image_set", {"name": "a"})]


def new_trace() -> tuple[str, str]:
    return secrets.token_hex(16), secrets.token_hex(8)


def told(span: Span) -> dict[str, str]:
    """What it says of the decision, without the digest of the policy."""
    return {name: value for name, value in span.tags.items() if name.startswith(("mcp", "gen_ai")) and not name.endswith("digest")}


# --- What it got ------------------------------------------------------------------------------


def test_the_spans_of_an_agents_calls_say_what_was_decided(traced: Traced) -> None:
    trace, parent = new_trace()
    replies = asyncio.run(two_calls(f"http://localhost:{traced.fleet.port('traced')}/mcp", f"00-{trace}-{parent}-01"))
    assert [reply.error is None for reply in replies] == [True, False]

    def called(tool: str, kind: str) -> list[Span]:
        spans = traced.spans(trace, 1)
        return [each for each in spans if each.tags.get("gen_ai.tool.name") == tool and each.kind == kind]

    until(lambda: bool(called("copy_image_set", "SPAN_KIND_CLIENT") and called("delete_image_set", "SPAN_KIND_SERVER")), "both calls")
    [allowed], [denied] = called("copy_image_set", "SPAN_KIND_SERVER"), called("delete_image_set", "SPAN_KIND_SERVER")
    assert allowed.tags["mcp_policy.digest"] == denied.tags["mcp_policy.digest"]
    assert told(allowed) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "copy_image_set",
        "mcp_policy.decision": "allow",
        "mcp_policy.name": "default",
    }
    assert told(denied) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "delete_image_set",
        "mcp_policy.decision": "deny",
        "mcp_policy.reason": "tool_not_allowed",
        "mcp_policy.rule": "/default",
        "mcp_policy.name": "default",
    }
    # Both hang below the agent's own span, and what the server does below Envoy's. What was denied has no such part.
    assert allowed.parent == denied.parent == parent
    assert (allowed.name, denied.name) == ("mcp allow", "mcp deny")
    [onward] = called("copy_image_set", "SPAN_KIND_CLIENT")
    assert onward.parent == allowed.id
    assert called("delete_image_set", "SPAN_KIND_CLIENT") == []


def test_a_refusal_has_a_span_too(traced: Traced) -> None:
    trace, parent = new_trace()
    post(traced.fleet.port("traced"), call("copy_image_set"), [("traceparent", f"00-{trace}-{parent}-01"), ("content-type", "text/plain")])
    [span] = traced.spans(trace, 1)
    assert span.name == "mcp refuse" and span.tags["mcp_policy.reason"] == "content_type"
    assert "gen_ai.tool.name" not in span.tags


def test_a_caller_decides_whether_it_is_traced_unless_its_header_is_taken_off(traced: Traced) -> None:
    hidden, seen = new_trace()[0], new_trace()[0]
    for name in ("traced", "own"):
        for trace, sampled in ((hidden, "00"), (seen, "01")):
            fields = [("traceparent", f"00-{trace}-{new_trace()[1]}-{sampled}")]
            post(traced.fleet.port(name), call(f"{name}_{sampled}"), fields)

    def by_tool() -> dict[str, str]:
        return {span.tags.get("gen_ai.tool.name", ""): span.trace for span in traced.collector.spans()}

    until(lambda: {"own_00", "own_01", "traced_01"} <= by_tool().keys(), "three spans")
    found = by_tool()
    assert found["traced_01"] == seen and "traced_00" not in found
    assert not {found["own_00"], found["own_01"]} & {hidden, seen}


def test_sampling_is_of_all_calls_whatever_the_caller_wants(traced: Traced) -> None:
    trace, after = new_trace()[0], new_trace()[0]
    post(traced.fleet.port("rare"), call("rare"))
    post(traced.fleet.port("rare"), call("rare"), [("traceparent", f"00-{trace}-{new_trace()[1]}-01")])
    post(traced.fleet.port("traced"), call("after"), [("traceparent", f"00-{after}-{new_trace()[1]}-01")])
    traced.spans(after, 1)
    assert not [each for each in traced.collector.spans() if each.tags.get("gen_ai.tool.name") == "rare"]
