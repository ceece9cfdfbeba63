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
    # PromQL only reads: what the server is for is not forbidden.
    assert "execute" not in done.stdout.replace("execute_", "") and "critical" not in done.stdout, done.stdout


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
            (["https://127.0.0.1:%d/mcp" % endless], "cannot connect"),
            (["--", "/nonexistent/server"], "No such file"),
            (["--", "sh", "-c", "echo no key >&2; exit 3"], "it wrote: no key"),
            (["--", "sh", "-c", "echo MYSQL_HOST is missing; exit 3"], "it wrote: MYSQL_HOST is missing"),
            (["--", "sh", "-c", "exec 0<&-; echo MYSQL_HOST is missing; exit 3"], "it wrote: MYSQL_HOST is missing"),
            (["--", "sh", "-c", "exit 3"], "ended with exit status: 3"),
            (["--", sys.executable, "-c", "raise ValueError('no region')"], "it wrote: ValueError: no region"),
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


def test_why_a_server_of_node_does_not_start() -> None:
    """Node ends with the code that threw, frames and its version: none of it says why."""
    done = cli.run("scan", "--", servers.NODE, "-e", "throw new Error('STRIPE_SECRET_KEY is not set')", expect=2)
    assert "it wrote: Error: STRIPE_SECRET_KEY is not set" in done.stderr, done.stderr


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


# Slow to start: by the time it reads the first question, the next one has been asked.
SLOW = """
import json, sys
def answer(asked, **members):
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **members}), flush=True)
asked = json.loads(sys.stdin.readline())
if asked["method"] != "initialize":
    sys.stdin.readline()
    answer(asked, error={"code": -32601, "message": "Method not found"})
    sys.exit(0)
answer(asked, result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "slow", "version": "1"}})
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "tools/list":
        answer(asked, result={"tools": [{"name": "list_orders", "inputSchema": {"type": "object"}}]})
"""


def test_a_server_that_is_slow_to_start_is_asked_again() -> None:
    """Its answer to a question that was given up is not taken for the answer to the next one."""
    assert names(cli.run("scan", "--", sys.executable, "-c", SLOW).stdout) == ["list_orders"]


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
        risks = [tool["severity"] for tool in inventory["tools"]]
        assert risks == sorted(risks, key=["critical", "high", "medium", "low"].index) and len(risks) == 12
        assert "broken: cannot start" in done.stderr
        for name in ("shop", "remote"):
            cli.run("validate", out / f"{name}.yaml")
        again = cli.run("scan", "--config", config, "--out", out, expect=2, env=env)
        assert "is there already; --force replaces it" in again.stderr
        table = cli.run("scan", "--config", config, expect=1, env=env).stdout
        assert "12 tools of 2 servers; 1 could not be scanned" in table
        markdown = cli.run("scan", "--config", config, "--as", "markdown", expect=1, env=env).stdout
        assert "| severity | class | confidence | marks | flags | server | tool | why |" in markdown


RAW = """
import json, sys

pages = json.loads(sys.argv[1])
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "raw", "version": "1"}}
    elif message["method"] == "tools/list":
        cursor = (message.get("params") or {}).get("cursor")
        result = pages[int(cursor or 0)] if cursor != "forever" else pages[-1]
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
    if len(sys.argv) > 2:
        print(*sys.argv[2:], file=sys.stderr, flush=True)
"""


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def raw(pages: list[Any], *more: str) -> list[str]:
    """The command of a server that answers with these pages, whatever they are."""
    return [sys.executable, "-c", RAW, json.dumps(pages), *more]


@pytest.mark.parametrize(
    ("pages", "found", "said"),
    [
        ([{"tools": [tool("get_a"), {"name": "get_b", "inputSchema": 7}, {"name": 5}, tool("get_c")]}], "get_a get_b get_c", "has no name"),
        ([{"tools": [tool("get_a", annotations={"readOnlyHint": "yes"}), tool("get_b", description=7)]}], "get_a get_b", ""),
        ([{"tools": [tool("get_a")], "nextCursor": ""}], "get_a", "empty cursor"),
        ([{"tools": [tool("get_a")], "nextCursor": "1"}, {"tools": [tool("get_b")], "nextCursor": "1"}], "get_a get_b", "same cursor twice"),
        ([{"nextCursor": "1"}, {"tools": [tool("get_a")]}], "get_a", "page 1 of tools/list has no tools"),
        ([{}, {"tools": []}], "", "page 1 of tools/list has no tools"),
    ],
)
def test_what_is_odd_loses_nothing_of_the_rest(pages: list[Any], found: str, said: str) -> None:
    done = cli.run("scan", "--format", "json", "--", *raw(pages), expect=1 if said else 0)
    inventory = json.loads(done.stdout)
    assert sorted(tool["tool"] for tool in inventory["tools"]) == found.split()
    assert said in done.stderr and ("raw: " in done.stderr) == bool(said), done.stderr
    assert inventory["servers"][0]["name"] == "raw"


def test_a_list_without_end_keeps_what_came(tools: Path, tmp_path: Path) -> None:
    with serving(tools, tmp_path, "--page", "1", "--forever") as endless:
        done = cli.run("scan", f"http://127.0.0.1:{endless}/mcp", expect=1, memory=1_000_000)
    assert "tools/list never ends" in done.stderr and set(names(done.stdout)) <= set(ALL) and names(done.stdout), done.stderr


def test_no_secret_is_told(tmp_path: Path) -> None:
    """Neither what a command line hands a server, nor what it is reached with, is in anything that is written; whatever the server says."""
    secret = "sntryu_SECRET123"
    echo = [{"tools": [tool("get_a", description=f"My token is {secret}.")]}]
    out = tmp_path / "policy.yaml"
    given = ["--access-token", secret]
    commands = [
        ["scan", "--", *raw(echo, *given)],
        ["scan", "--as", "table", "--", *raw(echo, *given)],
        ["scan", "--format", "json", "--", *raw(echo, *given)],
        ["scan", "--as", "tools", "--", *raw(echo, *given)],
        ["scan", "--output", str(out), "--", *raw(echo, *given)],
    ]
    failing = [
        ["scan", "--", "sh", "-c", 'echo "bad $1" >&2; exit 1', "x", f"--api-key={secret}"],
        ["scan", "--", "/nonexistent", f"--api-key={secret}"],
        ["scan", f"http://user:{secret}@127.0.0.1:1/mcp?key={secret}#{secret}"],
        ["scan", f"ftp://user:{secret}@127.0.0.1:1/mcp?key={secret}"],
        ["scan", "http://127.0.0.1:1/mcp", "--header", f"authorization: Bearer {secret}"],
        ["validate", "--server", f"http://user:{secret}@127.0.0.1:1/mcp?key={secret}", "policies/examples/none.yaml"],
    ]
    for expect, commands_of in ((0, commands), (2, failing)):
        for arguments in commands_of:
            done = cli.run(*arguments, expect=expect)
            assert "SECRET123" not in done.stdout + done.stderr, (arguments, done.stdout, done.stderr)
    assert "SECRET123" not in out.read_text() and "My token is [hidden]" in out.read_text()
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"a": {"command": "sh", "args": ["-c", 'echo "$K" >&2; exit 1'], "env": {"K": secret}}}}))
    assert "SECRET123" not in cli.run("scan", "--config", config, expect=2).stderr


def test_what_servers_can_do_together_comes_first(tmp_path: Path) -> None:
    mail = raw([{"tools": [tool("get_gmail_message"), tool("list_labels")]}])
    web = raw([{"tools": [tool("fetch", inputSchema={"type": "object", "properties": {"url": {"type": "string"}}})]}])
    config = tmp_path / "mcp.json"
    servers_of = {"mail": {"command": mail[0], "args": mail[1:]}, "web": {"command": web[0], "args": web[1:]}}
    config.write_text(json.dumps({"mcpServers": servers_of}))
    table = cli.run("scan", "--config", config).stdout
    assert table.splitlines()[0].startswith("exfiltration") and "get_gmail_message of mail" in table and "fetch of web" in table, table
    [found, *_] = json.loads(cli.run("scan", "--config", config, "--format", "json").stdout)["combinations"]
    assert found["kind"] == "exfiltration" and found["way_out"] == [{"server": "web", "tool": "fetch"}], found
    config.write_text(json.dumps({"mcpServers": {"mail": servers_of["mail"]}}))
    assert not json.loads(cli.run("scan", "--config", config, "--format", "json").stdout)["combinations"]


def test_installed_configurations_are_found(tmp_path: Path) -> None:
    """Each client's file in its place. What is in the folder where we are is named, and nothing of it is started."""
    home, here = tmp_path / "home", tmp_path / "here"
    server = raw([{"tools": [tool("get_a")]}])
    entry = {"command": server[0], "args": server[1:]}
    quoted = json.dumps(server[1:])
    files = {
        ".config/Claude/claude_desktop_config.json": json.dumps({"mcpServers": {"desktop": entry}}),
        ".claude.json": json.dumps({"mcpServers": {"code": entry}, "projects": {"/w": {"mcpServers": {"project": entry}}}}),
        ".cursor/mcp.json": json.dumps({"mcpServers": {"cursor": entry, "off": {**entry, "disabled": True}}}),
        ".config/Code/User/mcp.json": "// mine\n" + json.dumps({"servers": {"vscode": entry}})[:-1] + ",}",
        ".gemini/settings.json": json.dumps({"theme": "x", "mcpServers": {"gemini": entry}}),
        ".codex/config.toml": f"model = 'm'\n[mcp_servers.codex]\ncommand = {json.dumps(server[0])}\nargs = {quoted}\n",
        ".config/zed/settings.json": json.dumps({"context_servers": {"zed": {"source": "custom", **entry}}}),
        ".codeium/windsurf/mcp_config.json": json.dumps({"mcpServers": {"windsurf": entry}}),
        ".continue/config.yaml": f"mcpServers:\n  - name: continue\n    command: {json.dumps(server[0])}\n    args: {quoted}\n",
        ".config/VSCodium/User/settings.json": "{}",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    here.mkdir()
    (here / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": {"command": "touch", "args": [str(here / "started")]}}}))
    env = {"HOME": str(home), "XDG_CONFIG_HOME": "", "CODEX_HOME": "", "CLAUDE_CONFIG_DIR": ""}
    done = cli.run("scan", "--installed", "--format", "json", env=env, cwd=here)
    found = {server["name"] for server in json.loads(done.stdout)["servers"]}
    assert found == {"desktop", "code", "project (/w)", "cursor", "vscode", "gemini", "codex", "zed", "windsurf", "continue"}, done.stderr
    assert "`off` is not scanned: it is disabled" in done.stderr and ".mcp.json is not scanned" in done.stderr
    assert not (here / "started").exists()
    nothing = cli.run("scan", "--installed", env={**env, "HOME": str(tmp_path / "nobody")}, cwd=tmp_path, expect=2)
    assert "no configuration with servers" in nothing.stderr


def test_own_rules(tools: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.tsv"
    rules.write_text("# mine\ntool\tdestructive\tget_*\tcosts us\n")
    found = json.loads(cli.run("scan", "--tools", tools, "--rules", rules, "--format", "json").stdout)["tools"]
    assert {tool["tool"]: tool["class"] for tool in found}["get_order"] == "destructive"
    rules.write_text("tool\tget_*\n")
    assert "line 1: expected four columns" in cli.run("scan", "--tools", tools, "--rules", rules, expect=2).stderr


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
        cli.run("render", policy, "--for", cli.ENVOY, *where, *cli.FILTER, "--output", config)
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
