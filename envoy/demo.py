"""What mcp-policy does, shown on real programs: an agent with the MCP SDK, Envoy, MCP servers, Prometheus.

Every line that it prints is also checked: the exit code is 1 if any call went another way. It needs
`make wasm` and envoy/tools.sh; `make demo` sees to both.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import picture
import rig

POLICIES = rig.ROOT / "policies"
PICTURE = rig.ROOT / "target" / "demo.svg"
# The servers that are shown get an environment of their own: no settings or proxies of the user's
# shell, and a home that is removed with the demo.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


# --- What is shown ----------------------------------------------------------------------------


async def image_server(show: Show, demo: Demo) -> None:
    """The policy of the filter's first user, before an MCP server of twenty lines."""
    policy = show.policy("copy-image-set.json")
    show.say("agent ─▶ Envoy + mcp-policy ─▶ MCP server with two tools: copy_image_set, delete_image_set\n")
    async with demo.governed("images", policy, demo.images_port) as url, agent(url, "alice") as alice:
        await away_from_minute_end(show)
        for number in range(1, 31):
            reply = await call(alice, "copy_image_set", {"name": f"set-{number}", "region": "eu-west-1"})
            show.check(reply.answer == f"copied set-{number} to eu-west-1", f"call {number}: {reply}")
        show.passed("copy_image_set × 30", reply.answer)
        ran, requests = demo.images_log("ran "), demo.images_log("POST /mcp")
        reply = await call(alice, "copy_image_set", {"name": "set-31", "region": "eu-west-1"})
        show.refused("copy_image_set, the 31st", reply, 429, "limit_reached")
        limited = reply
        reply = await call(alice, "delete_image_set", {"name": "set-1"})
        show.refused("delete_image_set", reply, 403, "tool_not_allowed")
        show.proof("the server's own log: calls that ran", ran, demo.images_log("ran "))
        show.proof("the server's own log: HTTP requests", requests, demo.images_log("POST /mcp"))
        show.say("\nWhat the agent got for the 31st call:")
        show.json(limited.error)


async def prometheus(show: Show, demo: Demo) -> None:
    """Arguments, reasons and budgets, with Prometheus's own count of requests as the witness."""
    policy = show.policy("prometheus.json", part="execute_query")
    show.say("agent ─▶ Envoy + mcp-policy ─▶ prometheus-mcp-server ─▶ Prometheus\n")
    async with demo.governed("prometheus", policy, demo.prometheus_mcp_port) as url:
        async with agent(url, "bob") as bob:
            before = demo.api_requests()
            for query in ("up", "prometheus_build_info"):
                reply = await call(bob, "execute_query", {"query": query})
                series = json.loads(reply.answer)["result"][0] if reply.answer else {}
                show.check("value" in series, f"execute_query {query}: {reply}")
                labels = ", ".join(f'{k}="{v}"' for k, v in series["metric"].items() if k in ("job", "version"))
                show.passed(f"execute_query  {query}", f"{{{labels}}} = {series['value'][1]}")
            show.check(demo.api_requests() == before + 2, "Prometheus did not count the two queries that passed")

            before = demo.api_requests()
            reply = await call(bob, "health_check", {})
            show.refused("health_check", reply, 403, "tool_not_allowed")
            reply = await call(bob, "get_targets", {})
            show.refused("get_targets", reply, 403, "tool_denied")
            reply = await call(bob, "execute_query", {"query": '{__name__=~".+"}'})
            show.refused('execute_query  {__name__=~".+"}', reply, 403, "denied_by_condition")
            by_argument = reply
            show.proof("Prometheus's own count of requests", before, demo.api_requests())

        async with agent(url, "loop") as looping:
            await away_from_minute_end(show)
            before, passed = demo.api_requests(), 0
            while (reply := await call(looping, "execute_query", {"query": "up"})).error is None:
                passed += 1
                show.check(passed <= 20, "the loop was not stopped at the limit of 20")
            show.check(passed == 20, f"the loop was stopped after {passed} calls, not after 20: {reply}")
            show.passed("execute_query in a loop × 20", "until the limit")
            counted = demo.api_requests()
            show.check(counted == before + 20, f"Prometheus counted {counted - before} requests, not 20")
            show.refused("execute_query, the 21st", reply, 429, "limit_reached")
            show.proof("Prometheus's own count of requests", counted, demo.api_requests())

        async with agent(url, "bob") as bob:
            reply = await call(bob, "execute_query", {"query": "up"})
            show.check(reply.error is None, f"another agent's call was refused: {reply}")
            show.passed("execute_query by another agent", "that limit was the other one's")
        show.say("\nWhat the agent got for the query over every metric:")
        show.json(by_argument.error)


ASKING = """\
{ "version": "1", "default": "deny",
  "tools": {
    "delete_image_set": { "action": "require_approval", "approval": "approver", "reason": "Deleted is deleted." },
    "copy_image_set":   { "action": "require_approval", "approval": "user", "reason": "A copy costs money." } },
  "approvals": { "approver": { "cluster": "approver" } } }"""


async def approvals(show: Show, demo: Demo) -> None:
    """A call that waits for a person, and one about which the agent's own program asks its user."""
    show.say("A policy under which people are asked:\n")
    policy = show.source(ASKING)
    show.say("agent ─▶ Envoy + mcp-policy ─▶ the image server     mcp-policy ─▶ envoy/approver.py ◀─ a person\n")
    questions: list[str] = []
    answers = iter(["accept", "decline"])

    async def user(_context: Any, params: Any) -> Any:
        from mcp_types import ElicitResult

        questions.append(params.message)
        action = next(answers)
        return ElicitResult(action=action, content={"approve": True} if action == "accept" else None)

    async with demo.governed("approvals", policy, demo.images_port, demo.approving) as url, agent(url, "carol", user) as carol:
        ran = demo.images_log("ran ")
        for name, decision in (("set-1", "approve"), ("set-2", "decline")):
            waiting = asyncio.ensure_future(call(carol, "delete_image_set", {"name": name}))
            try:
                task = await demo.waiting_call(waiting)
                asked = demo.page(f"/waiting/{task}")
                if decision == "approve":
                    show.say("What waits, on the approver's page:\n")
                    for label, text in asked["rows"]:
                        if label in ("Tool", "Reason", "Rule"):
                            show.say(f"  {label:<10} {text}")
                    show.say(f"  Arguments  {' '.join(asked['arguments'].split())}\n")
                    show.check(not waiting.done(), "the call did not wait")
                    show.proof("the server's own log: calls that ran", ran, demo.images_log("ran "), "the call that waits")
                demo.page("/decide", {"id": task, "decision": decision})
                reply = await waiting
            finally:
                waiting.cancel()
            if decision == "approve":
                show.check(reply.answer == f"deleted {name}", f"the approved call: {reply}")
                show.passed(f"delete_image_set {name}, approved", reply.answer)
                show.check(demo.images_log("ran ") == ran + 1, "the approved call did not run once")
            else:
                show.refused(f"delete_image_set {name}, declined", reply, 403, "approval_declined")
        arguments = {"name": "set-3", "region": "eu-west-1"}
        reply = await call(carol, "copy_image_set", arguments)
        show.say("\nWhat the agent's own program shows its user:\n")
        for line in questions[0].split("\n"):
            show.say(f"  {line}")
        show.say("")
        show.check(reply.answer == "copied set-3 to eu-west-1", f"the call that the user approved: {reply}")
        show.passed("copy_image_set set-3, user said yes", reply.answer)
        ran = demo.images_log("ran ")
        reply = await call(carol, "copy_image_set", {**arguments, "name": "set-4"})
        show.refused("copy_image_set set-4, user said no", reply, 403, "approval_declined")
        show.check(len(questions) == 2, f"the user was asked {len(questions)} times, not twice")
        show.proof("the server's own log: calls that ran", ran, demo.images_log("ran "))


async def what_operators_see(show: Show, demo: Demo, started: float) -> None:
    """The metrics, the audit lines and the picture of all that has just happened."""
    decided = demo.metrics("mcp_policy_decisions_total")
    denied = sum(value for series, value in decided.items() if 'decision="deny"' in series)
    lines = await demo.calls_on_record(denied)
    show.say("Prometheus reads from Envoy:\n")
    blocked = {series: value for series, value in decided.items() if 'decision="deny"' in series}
    for series, value in [*sorted(blocked.items()), *demo.metrics("mcp_policy_info").items()]:
        show.say(f"{series} {value:.0f}")
    show.say("\nThree of the audit lines:\n")
    for reason in ("limit_reached", "denied_by_condition", "approval_declined"):
        line = next((line for line in lines if line.get("reason") == reason), None)
        show.check(line is not None, f"no audit line has the reason {reason}")
        show.say(json.dumps(line, ensure_ascii=False))
    # Both are made of the same records, by different ways.
    audited = sum(line["decision"] == "deny" for line in lines)
    counted = sum(blocked.values())
    show.check(audited == counted, f"{audited} audit lines say `deny`, and the metrics count {counted:.0f}")
    show.say("")
    show.line("1", "=", "denials in audit lines and in metrics", str(audited), "the same")
    await demo.picture(started)
    show.say(f"\nWhat the dashboard of envoy/README.md shows of it: {PICTURE.relative_to(rig.ROOT)}")


# --- The agent --------------------------------------------------------------------------------


class Reply:
    """How one call ended: with the server's answer, or with a JSON-RPC error."""

    def __init__(self, answer: str = "", error: dict[str, Any] | None = None) -> None:
        self.answer = answer
        self.error = error

    def __str__(self) -> str:
        return f"answered {self.answer!r}" if self.error is None else f"refused with {json.dumps(self.error)}"


@asynccontextmanager
async def agent(url: str, name: str, user: Any = None) -> AsyncIterator[Any]:
    """An MCP client of the SDK, with a credential of its own; `user` answers the questions that it can show."""
    # Imported this late because it takes a second, in which the servers start.
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async with AsyncExitStack() as stack:
        headers = {"authorization": f"Bearer demo-{name}"}
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=20, trust_env=False))
        yield await stack.enter_async_context(Client(streamable_http_client(url, http_client=http), elicitation_callback=user))


async def call(client: Any, tool: str, arguments: dict[str, Any]) -> Reply:
    """Calls a tool as an agent's framework would."""
    from mcp import MCPError

    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as error:
        return Reply(error=error.error.model_dump(exclude_none=True))
    text = "".join(part.text for part in result.content if part.type == "text")
    return Reply(error={"isError": text}) if result.is_error else Reply(answer=text)


async def away_from_minute_end(show: Show) -> None:
    """Windows follow the clock: a loop that crosses a minute would rightly be given two limits."""
    left = 60 - time.time() % 60
    if left < 8:
        show.say(f"(waiting {left:.0f} s for the next minute, so that the loop meets one limit)")
        await asyncio.sleep(left + 0.1)


# --- The programs -----------------------------------------------------------------------------


class Demo:
    """The programs around Envoy: Prometheus, its MCP server, the server of image sets, and the approver."""

    def __init__(self, directory: Path) -> None:
        self._own_requests = 0
        self.images_port, self.prometheus_port, self.prometheus_mcp_port = rig.free_ports(3)
        self.approver_port, self._page_port = rig.free_ports(2)
        self._page_key = secrets.token_urlsafe(24)
        home = {"HOME": str(directory), **{k: os.environ[k] for k in KEPT_VARIABLES if k in os.environ}}
        # Each Envoy's admin port is known to Prometheus from the start, so that it is scraped as soon as it is there.
        self._admin_ports = rig.free_ports(6)
        self._scraped: list[int] = []
        self.audit = directory / "audit.jsonl"
        config = directory / "prometheus.json"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s"},
                    "scrape_configs": [
                        {
                            "job_name": "prometheus",
                            "static_configs": [{"targets": [f"127.0.0.1:{self.prometheus_port}"]}],
                        },
                        {
                            "job_name": "envoy",
                            "metrics_path": "/stats/prometheus",
                            "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in self._admin_ports]}],
                        },
                    ],
                }
            )
        )
        self.images = rig.Process(
            [sys.executable, __file__, "image-server", str(self.images_port)], directory, name="images", env=home
        )
        self.approver = rig.Process(
            [
                *(sys.executable, str(rig.ROOT / "envoy" / "approver.py"), "--page-key-env", "PAGE_KEY"),
                *("--port", str(self.approver_port), "--page-port", str(self._page_port)),
            ],
            directory,
            name="approver",
            env=home | {"PAGE_KEY": self._page_key},
        )
        self.prometheus = rig.Process(
            [
                find_prometheus(),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
                "--log.level=warn",
            ],
            directory,
            name="prometheus",
            env=home,
        )
        self.prometheus_mcp = rig.Process(
            [sys.executable, "-c", "from prometheus_mcp_server.main import run_server; run_server()"],
            directory,
            name="prometheus-mcp-server",
            env=home
            | {
                "PROMETHEUS_URL": f"http://127.0.0.1:{self.prometheus_port}",
                "PROMETHEUS_MCP_SERVER_TRANSPORT": "http",
                "PROMETHEUS_MCP_BIND_PORT": str(self.prometheus_mcp_port),
                # It would ask the package index for newer versions of itself.
                "FASTMCP_CHECK_FOR_UPDATES": "off",
                "FASTMCP_SHOW_SERVER_BANNER": "false",
            },
        )

    async def start(self, stack: ExitStack) -> None:
        """Starts all at once, then waits for each, in threads so that a signal finds the loop free."""
        self._stack = stack
        for process in (self.images, self.approver, self.prometheus, self.prometheus_mcp):
            stack.enter_context(process)
        await asyncio.gather(
            asyncio.to_thread(self.images.wait_until, lambda: rig.listens(self.images_port)),
            asyncio.to_thread(self.approver.wait_until, lambda: rig.listens(self._page_port)),
            asyncio.to_thread(self.prometheus_mcp.wait_until, lambda: rig.listens(self.prometheus_mcp_port)),
            asyncio.to_thread(self.prometheus.wait_until, self._has_scraped),
        )
        self._own_requests = self.api_requests()

    @asynccontextmanager
    async def governed(
        self, name: str, policy: dict[str, Any], upstream_port: int, changes: Callable[[rig.Config], object] | None = None
    ) -> AsyncIterator[str]:
        """Envoy with the shipped configuration and this policy, before that server; yields its URL."""
        [listener], admin = rig.free_ports(1), self._admin_ports.pop()
        self._scraped.append(admin)
        # Two workers, to show that they count together.
        plugin = {**policy, "name": name, "audit": {"arguments": "keys"}, "requests": {"hold_headers": "always"}}
        config = rig.render(plugin, listener, admin, upstream_port, changes=changes)
        rig.hcm(config)["access_log"].append(audit_log(self.audit))
        # Histograms are exported as they were at the last flush.
        config["stats_flush_interval"] = "0.2s"
        # It lives until all is over, so that Prometheus sees to the end what it counted.
        envoy = self._stack.enter_context(rig.Envoy(config, concurrency=2))
        await asyncio.to_thread(envoy.wait_until_ready)
        yield f"http://127.0.0.1:{listener}/mcp"

    def audit_lines(self) -> list[dict[str, Any]]:
        """The audit lines of all Envoys, in the order in which they were written."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    async def calls_on_record(self, denied: float) -> list[dict[str, Any]]:
        """The audit lines of calls, once so many say `deny`: Envoy writes a line when its request is over, a moment after it is decided."""
        deadline = time.monotonic() + 10
        while True:
            lines = [line for line in self.audit_lines() if line.get("method") == "tools/call"]
            if sum(line["decision"] == "deny" for line in lines) >= denied or time.monotonic() > deadline:
                return lines
            await asyncio.sleep(0.05)

    def metrics(self, name: str, **labels: str) -> dict[str, float]:
        """The series of one metric that have these labels, of all Envoys, as they print them."""
        found: dict[str, float] = {}
        for port in self._scraped:
            for line in _get(f"http://127.0.0.1:{port}/stats/prometheus").splitlines():
                series, _, value = line.rpartition(" ")
                if series.startswith(name + "{") and all(f'{label}="{text}"' in series for label, text in labels.items()):
                    found[series] = float(value)
        return found

    async def picture(self, since: float) -> None:
        """Draws what the dashboard shows of the time since then, with what happened last."""
        await asyncio.sleep(3)
        PICTURE.parent.mkdir(exist_ok=True)
        picture.draw(f"http://127.0.0.1:{self.prometheus_port}", PICTURE, since, time.time())

    def approving(self, config: rig.Config) -> None:
        """What approvals need of Envoy: the approver's cluster, and a secret for what clients carry."""
        cluster = copy.deepcopy(rig.cluster(config))
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = self.approver_port
        cluster["name"] = cluster["load_assignment"]["cluster_name"] = "approver"
        config["static_resources"]["clusters"].append(cluster)
        variables = {"MCP_POLICY_APPROVAL_SECRET": secrets.token_urlsafe(48)}
        rig.plugin(config)["vm_config"]["environment_variables"] = {"key_values": variables}

    async def waiting_call(self, call: asyncio.Future[Reply]) -> str:
        """The call that waits at the approver, as soon as there is one; or what became of it instead."""
        while not (waiting := self.page("/waiting")["waiting"]):
            if call.done():
                raise Failed(f"the call did not wait: {call.result()}")
            await asyncio.sleep(0.02)
        return str(waiting[0]["id"])

    def page(self, path: str, decision: dict[str, str] | None = None) -> Any:
        """What the approver's page asks of it, and how it posts a decision."""
        at = f"http://127.0.0.1:{self._page_port}"
        headers = {"x-approver-key": self._page_key}
        body = None if decision is None else json.dumps(decision).encode()
        if body is not None:
            headers |= {"origin": at, "content-type": "application/json"}
        return json.loads(_get(urllib.request.Request(at + path, body, headers)))

    def images_log(self, text: str) -> int:
        """How many lines of the image server's own log have this text."""
        return self.images.stdout_path.read_text().count(text)

    def api_requests(self) -> int:
        """How many requests Prometheus counted at its API since it was ready; this is not one of them."""
        lines = _get(f"http://127.0.0.1:{self.prometheus_port}/metrics").splitlines()
        prefix = 'prometheus_http_requests_total{code="'
        api = [line for line in lines if line.startswith(prefix) and 'handler="/api/v1/' in line]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in api) - self._own_requests

    def _has_scraped(self) -> bool:
        try:
            found = json.loads(_get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?query=prometheus_build_info"))
        except OSError:
            return False
        return bool(found["data"]["result"])


def audit_log(path: Path) -> dict[str, Any]:
    """An access log with the audit lines alone."""
    kinds = "type.googleapis.com/envoy.extensions.access_loggers"
    has_line = {"@type": f"{kinds}.filters.cel.v3.ExpressionFilter", "expression": "'wasm.mcp_audit' in filter_state"}
    text = {"inline_string": "%FILTER_STATE(wasm.mcp_audit:PLAIN)%\n"}
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": has_line}},
        "typed_config": {
            "@type": f"{kinds}.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"text_format_source": text},
        },
    }


def find_prometheus(program: str = "prometheus") -> str:
    """Prometheus, or its `promtool`: on PATH, else what tools.sh unpacked."""
    unpacked = rig.TOOLS / "prometheus" / "usr" / "bin" / program
    if found := shutil.which(program) or (unpacked.is_file() and str(unpacked)):
        return found
    raise rig.RigError(f"no {program}: run `envoy/tools.sh prometheus`")


def _get(url: str | urllib.request.Request) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as reply:
        return reply.read().decode()


def run_image_server(port: int) -> None:
    """The first user's kind of server, with a tool that an agent must not have."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("images")

    @server.tool()
    def copy_image_set(name: str, region: str) -> str:
        """Copies an image set to a region."""
        print(f"ran copy_image_set {name}", flush=True)
        return f"copied {name} to {region}"

    @server.tool()
    def delete_image_set(name: str) -> str:
        """Deletes an image set."""
        print(f"ran delete_image_set {name}", flush=True)
        return f"deleted {name}"

    server.run("streamable-http", port=port)


# --- The output -------------------------------------------------------------------------------


class Failed(Exception):
    """Something went another way than it must."""


class Show:
    """Prints what happens, one aligned line a call, in colour on a terminal only."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._steps = 0

    def title(self, text: str) -> None:
        """A new part of the story."""
        self._steps += 1
        print(f"\n{self._paint('1', f'{self._steps}. {text}')}\n", flush=True)

    def say(self, text: str) -> None:
        """Plain text."""
        print("\n".join(f"   {line}" if line else "" for line in text.split("\n")), flush=True)

    def policy(self, name: str, part: str | None = None) -> dict[str, Any]:
        """Prints a policy file as it stands, or one tool of it, and returns all of it."""
        text = (POLICIES / name).read_text().strip()
        document = json.loads(text)
        if part is None:
            self.say(f"policies/{name}:\n\n{self._paint('36', text)}\n")
        else:
            lines = text.split("\n")
            start = next(i for i, line in enumerate(lines) if line.strip().startswith(f'"{part}"'))
            end = next(i for i in range(start, len(lines)) if lines[i].rstrip(",") == "    }")
            self.say(f"from policies/{name}:\n")
            for line in lines[start : end + 1]:
                self.say(self._paint("36", line[4:]))
            self.say("")
        return document

    def source(self, text: str) -> dict[str, Any]:
        """Prints a policy and returns it."""
        self.say(f"{self._paint('36', text)}\n")
        return dict(json.loads(text))

    def passed(self, what: str, answer: str) -> None:
        """A call that reached the server, with the server's answer."""
        self.line("32", "✓", what, "passed", answer)

    def refused(self, what: str, reply: Reply, code: int, reason: str) -> None:
        """A call that must have been refused, in this way."""
        error = reply.error or {}
        right = error.get("code") == code and error.get("data", {}).get("reason") == reason
        self.check(right, f"{what}: expected {code} {reason}, but it was {reply}")
        self.line("33", "⊘", what, "blocked", f"{code}: {error['message']}")

    def proof(self, what: str, before: int, after: int, calls: str = "the refused calls") -> None:
        """A count on the server's side that these calls must not have moved."""
        self.check(before == after, f"{what} went from {before} to {after}: one of {calls} got through")
        self.line("1", "=", what, f"{before} → {after}", f"nothing of {calls} got there")

    def json(self, value: Any) -> None:
        """A reply."""
        self.say(self._paint("36", json.dumps(value, indent=2, ensure_ascii=False)))

    def check(self, right: bool, what_if_not: str) -> None:
        """Every expectation of the demo goes through here."""
        if not right:
            raise Failed(what_if_not)

    def verdict(self, right: bool, text: str) -> None:
        """The last line."""
        print(f"\n{self._paint('1;32' if right else '1;31', text)}", flush=True)

    def line(self, colour: str, mark: str, what: str, outcome: str, detail: str) -> None:
        """One aligned line."""
        print(f"   {self._paint(colour, mark)} {what:<36} {self._paint(colour, f'{outcome:<7}')} {detail}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


async def tell(show: Show) -> None:
    """Starts the programs, tells the story, and stops them again, however it ends."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-policy-demo-"))
        demo = Demo(Path(directory))
        show.say("Starting Prometheus, prometheus-mcp-server, an MCP server of our own, an approver, and Envoy …")
        await demo.start(stack)
        started = time.time()
        show.title("A policy pasted into Envoy's configuration")
        await image_server(show, demo)
        show.title("A real Prometheus behind its real MCP server")
        await prometheus(show, demo)
        show.title("Calls that people approve")
        await approvals(show, demo)
        show.title("What operators see of it")
        await what_operators_see(show, demo, started)


async def run(show: Show) -> int:
    """Tells the story and returns the exit code."""
    started = time.monotonic()
    story = asyncio.ensure_future(tell(show))
    signals: list[int] = []

    def interrupt(signum: int) -> None:
        # Only the first one counts: stopping takes less than a second, and must not be cut short.
        if not signals:
            story.cancel()
        signals.append(signum)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, interrupt, each)
    try:
        await story
    except asyncio.CancelledError:
        show.verdict(False, "Interrupted. Everything is shut down again.")
        return 128 + signals[0]
    except Exception as error:
        # The SDK's task group wraps what is raised inside of it.
        while isinstance(wrapped := getattr(error, "exceptions", None), tuple):
            error = wrapped[0]
        if not isinstance(error, (rig.RigError, picture.PictureError, Failed)):
            raise
        show.verdict(False, f"The demo failed: {error}")
        return 1
    show.verdict(True, f"All as it must be, in {time.monotonic() - started:.0f} s. Everything is shut down again.")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["image-server"]:
        run_image_server(int(sys.argv[2]))
    else:
        sys.exit(asyncio.run(run(Show())))
