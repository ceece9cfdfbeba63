"""`mcp-policy scan` against real servers, over every transport; and from a scan to a denial by a real Envoy."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rig
import yaml
from mcp import Client, MCPError

import cli
import servers

SERVER = Path(__file__).parent / "mcp_server.py"

TOOLS: list[dict[str, Any]] = [
    {"name": "list_orders", "description": "Lists orders.", "inputSchema": {"type": "object"}},
    {"name": "get_order", "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}},
    {"name": "create_note", "description": "Adds a note.\nSecond line.", "inputSchema": {"type": "object"}},
    {"name": "delete_order", "description": "Deletes.", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {
        "name": "refund_order",
        "inputSchema": {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 500}}, "required": ["amount"]},
    },
    {"name": "run_report", "inputSchema": {"type": "object", "properties": {"sql": {"type": "string"}}}},
]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scan") / "tools.json"
    file.write_text(json.dumps(TOOLS))
    return file


@contextmanager
def serving(tools: Path, directory: Path, *options: str) -> Iterator[int]:
    """The SDK's server over HTTP; yields its port."""
    [port] = rig.free_ports(1)
    argv = [sys.executable, str(SERVER), str(tools), "http", str(port), *options]
    with rig.Process(argv, directory, name=f"server-{port}") as process:
        process.wait_until(lambda: rig.listens(port))
        yield port


def names(policy: str) -> list[str]:
    return list(yaml.safe_load(policy)["tools"])


ALL = [tool["name"] for tool in TOOLS]


@pytest.mark.parametrize("options", [[], ["--page", "1"], ["--page", "4"]], ids=" ".join)
def test_streamable_http(tools: Path, tmp_path: Path, options: list[str]) -> None:
    with serving(tools, tmp_path, *options) as port:
        assert sorted(names(cli.run("scan", f"http://127.0.0.1:{port}/mcp").stdout)) == sorted(ALL)


@pytest.mark.parametrize("path", ["/sse"])
def test_sse(tools: Path, tmp_path: Path, path: str) -> None:
    with serving(tools, tmp_path, "--sse", "--page", "4") as port:
        assert sorted(names(cli.run("scan", f"http://127.0.0.1:{port}{path}").stdout)) == sorted(ALL)


def test_stdio(tools: Path) -> None:
    assert sorted(names(cli.run("scan", "--", sys.executable, SERVER, tools, "stdio").stdout)) == sorted(ALL)


def test_prometheus() -> None:
    """A server that people run, as they run it."""
    done = cli.run(
        "scan", "--as", "table", "--", Path(sys.executable).with_name("prometheus-mcp-server"), env={"PROMETHEUS_URL": "http://127.0.0.1:9"}
    )
    assert "execute_query" in done.stdout and "list_metrics" in done.stdout
    assert done.stdout.splitlines()[1].startswith("critical")


def test_servers_of_other_sdks(tmp_path: Path) -> None:
    """The TypeScript SDK's server-everything over its three transports, and the Python SDK's everything-server."""
    everything = str(servers.NPM / "server-everything" / "dist" / "index.js")
    found = [names(cli.run("scan", "--", servers.NODE, everything, "stdio").stdout)]
    for transport, path in (("streamableHttp", "/mcp"), ("sse", "/sse")):
        with servers.serving_typescript(tmp_path, transport) as port:
            found.append(names(cli.run("scan", f"http://127.0.0.1:{port}{path}").stdout))
    assert found[0] == found[1] == found[2] and {"echo", "get-env"} <= set(found[0]), found
    with servers.serving_python(tmp_path) as port:
        assert "test_simple_text" in names(cli.run("scan", f"http://127.0.0.1:{port}/mcp").stdout)


def test_credentials(tools: Path, tmp_path: Path) -> None:
    with serving(tools, tmp_path, "--token", "s3cret") as port:
        url = f"http://127.0.0.1:{port}/mcp"
        refused = cli.run("scan", url, expect=2)
        assert "asks for credentials" in refused.stderr and not refused.stdout
        env = {"TOKEN": "s3cret", "HEADER": "Bearer s3cret"}
        for how in (["--bearer-env", "TOKEN"], ["--header-env", "authorization=HEADER"], ["--header", "Authorization: Bearer s3cret"]):
            assert len(names(cli.run("scan", url, *how, env=env).stdout)) == len(ALL)
        unset = cli.run("scan", url, "--bearer-env", "NOT_SET_AT_ALL", expect=2)
        assert "the variable `NOT_SET_AT_ALL` is not set" in unset.stderr


def test_what_goes_wrong_ends_in_one_line(tools: Path, tmp_path: Path) -> None:
    with socket.socket() as silent, serving(tools, tmp_path, "--page", "1", "--forever") as endless:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        [nobody] = rig.free_ports(1)
        for arguments, said in [
            (["http://127.0.0.1:%d/mcp" % silent.getsockname()[1], "--timeout", "1"], "no answer within 1 s"),
            (["http://127.0.0.1:%d/mcp" % nobody], "Connection refused"),
            (["http://127.0.0.1:%d/nothing" % endless], "HTTP 404"),
            (["http://127.0.0.1:%d/mcp" % endless], "tools/list never ends"),
            (["https://127.0.0.1:%d/mcp" % endless], "cannot connect"),
            (["--", "/nonexistent/server"], "No such file"),
            (["--", "sh", "-c", "echo no key >&2; exit 3"], "it wrote: no key"),
            (["--timeout", "1", "--", "sleep", "1000"], "no answer within 1 s"),
            (["--timeout", "2", "--", "yes"], "no answer within 2 s"),
            (["--timeout", "2", "--", "cat", "/dev/zero"], "no answer within 2 s"),
            (["--timeout", "2", "--", "sh", "-c", "cat /dev/zero >&2"], "no answer within 2 s"),
            (["ftp://x"], "http:// or https://"),
            (["--config", "/nonexistent.json"], "cannot be read"),
            (["--tools", str(SERVER)], "not JSON"),
        ]:
            done = cli.run("scan", *arguments, expect=2, memory=1_000_000)
            assert said in done.stderr, (arguments, done.stderr)
            assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout, (arguments, done.stderr)


ENDLESS = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if self.path == "/events" else "application/json")
        self.end_headers()
        self.wfile.write(b'data: "' if self.path == "/events" else b'"')
        while True:
            self.wfile.write(b"x" * 65536)

    do_GET = do_POST

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("path", ["/events", "/json"])
def test_a_server_that_never_ends_its_answer_fills_no_memory(tmp_path: Path, path: str) -> None:
    [port] = rig.free_ports(1)
    with rig.Process([sys.executable, "-c", ENDLESS, str(port)], tmp_path, name="endless") as process:
        process.wait_until(lambda: rig.listens(port))
        done = cli.run("scan", f"http://127.0.0.1:{port}{path}", expect=2, memory=1_000_000)
    assert "cannot connect" in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_server_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """Neither the server nor what it started is left behind."""
    marker = f"{os.getpid()}.{time.monotonic_ns() % 1_000_000_000}"
    script = f"sleep {marker} & exec sleep {marker}"
    cli.run("scan", "--timeout", "1", "--", "sh", "-c", script, expect=2)
    deadline = time.monotonic() + 10
    while running(marker):
        assert time.monotonic() < deadline, running(marker)


def running(marker: str) -> list[str]:
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line == f"sleep {marker}"]


def test_a_configuration_of_a_client(tools: Path, tmp_path: Path) -> None:
    stdio = [str(SERVER), "${workspaceFolder}/tools.json", "stdio"]
    shutil.copy(tools, tmp_path / "tools.json")
    with serving(tools, tmp_path, "--token", "s3cret") as port:
        servers = {
            "shop": {"type": "stdio", "command": sys.executable, "args": stdio},
            "remote": {"type": "http", "url": f"http://127.0.0.1:{port}/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}},
            "broken": {"command": "/nonexistent/server"},
            "off": {"command": "/nonexistent/server", "disabled": True},
        }
        (tmp_path / ".vscode").mkdir()
        config = tmp_path / ".vscode" / "mcp.json"
        config.write_text("// what agents use here\n" + json.dumps({"servers": servers})[:-1] + ",}")
        out = tmp_path / "policies"
        env = {"TOKEN": "s3cret"}
        done = cli.run("scan", "--config", config, "--out", out, "--format", "json", expect=1, env=env)
        inventory = json.loads(done.stdout)
        assert {server["name"]: server.get("tools") for server in inventory["servers"]} == {"shop": 6, "remote": 6, "broken": None}
        risks = [tool["risk"] for tool in inventory["tools"]]
        assert risks == sorted(risks, key=["critical", "high", "medium", "low"].index) and len(risks) == 12
        assert "broken: cannot start" in done.stderr
        for name in ("shop", "remote"):
            cli.run("validate", out / f"{name}.yaml")
        again = cli.run("scan", "--config", config, "--out", out, expect=2, env=env)
        assert "is there already; --force replaces it" in again.stderr
        table = cli.run("scan", "--config", config, expect=1, env=env).stdout
        assert "12 tools of 2 servers; 1 could not be scanned" in table
        markdown = cli.run("scan", "--config", config, "--as", "markdown", expect=1, env=env).stdout
        assert markdown.startswith("| risk | class | server | tool | why |")


def test_what_was_scanned_can_be_scanned_again(tools: Path, tmp_path: Path) -> None:
    first = cli.run("scan", "--as", "tools", "--", sys.executable, SERVER, tools, "stdio").stdout
    listed = tmp_path / "listed.json"
    listed.write_text(first)
    assert [tool["name"] for tool in json.loads(first)["tools"]] == ALL
    assert sorted(names(cli.run("scan", "--tools", listed).stdout)) == sorted(ALL)


POLICY = """version: "1"
default: deny
tools:
  list_order: {}
  refund_order: {require: [{conditions: [{path: args.amout, op: lte, value: 500}]}]}
"""


def test_a_policy_is_held_against_a_running_server(tools: Path, tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.yaml", tmp_path / "right.yaml"
    wrong.write_text(POLICY)
    right.write_text(POLICY.replace("list_order:", "list_orders:").replace("amout", "amount"))
    with serving(tools, tmp_path, "--token", "s3cret", "--page", "1") as port:
        server = ["--server", f"http://127.0.0.1:{port}/mcp", "--bearer-env", "TOKEN"]
        env = {"TOKEN": "s3cret"}
        cli.run("validate", *server, "--deny-warnings", right, env=env)
        told = cli.run("validate", *server, "--deny-warnings", wrong, env=env, expect=1).stderr
        assert "P201" in told and "did you mean `list_orders`?" in told and "P202" in told and "args.amout" in told, told
        refused = cli.run("validate", *server[:2], right, expect=2)
        assert "asks for credentials" in refused.stderr and not refused.stdout
    gone = cli.run("validate", *server, right, env=env, expect=2).stderr
    assert "Connection refused" in gone and len(gone.strip().splitlines()) == 1


CASES = """tests:
  - {name: reads pass, call: {tool: list_orders}, expect: allow}
  - {name: notes pass, call: {tool: create_note}, expect: allow}
  - {name: deleting waits for a person, call: {tool: delete_order}, expect: ask}
  - {name: refunds wait for a person, call: {tool: refund_order, arguments: {amount: 1}}, expect: ask}
  - {name: nobody runs code, call: {tool: run_report}, expect: {decision: deny, reason: tool_denied}}
"""


def test_from_a_scan_to_a_denial(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: scan a running server, test and render the policy, and let a real Envoy deny with it."""
    monkeypatch.setenv("MCP_POLICY_APPROVAL_SECRET", "a secret of the end-to-end tests, long enough")
    with serving(tools, tmp_path) as port:
        policy = tmp_path / "shop.yaml"
        cli.run("scan", f"http://127.0.0.1:{port}/mcp", "--profile", "balanced", "--output", policy)
        said = cli.run("validate", "--server", f"http://127.0.0.1:{port}/mcp", policy)
        # How callers are named, a scan cannot know.
        warned = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("warning[")]
        assert warned and all(line.startswith("warning[P116]") for line in warned), warned
        (tmp_path / "shop.test.yaml").write_text(CASES)
        assert "5 tests" in cli.run("test", policy).stdout
        listen, admin = rig.free_ports(2)
        where = ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}", "--upstream", f"127.0.0.1:{port}"]
        config = tmp_path / "envoy.yaml"
        cli.run("render", policy, "--for", "envoy", *where, "--wasm", rig.WASM, "--output", config)
        with rig.Envoy(yaml.safe_load(config.read_text())) as envoy:
            envoy.wait_until_ready()
            expected = {
                "list_orders": None,
                "create_note": None,
                "delete_order": "approval_required",
                "refund_order": "approval_required",
                "run_report": "tool_denied",
                "unheard_of": "tool_not_allowed",
            }
            assert asyncio.run(reasons(f"http://127.0.0.1:{listen}/mcp", list(expected))) == expected


async def reasons(url: str, tools: list[str]) -> dict[str, str | None]:
    """Calls each tool as an agent would; why it was refused, or None where the server ran it."""
    found: dict[str, str | None] = {}
    async with Client(url) as client:
        for tool in tools:
            try:
                result = await client.call_tool(tool, {"amount": 1} if tool == "refund_order" else {})
                assert json.loads(result.content[0].text)["ran"] == tool
                found[tool] = None
            except MCPError as error:
                found[tool] = error.error.data["reason"]
    return found
