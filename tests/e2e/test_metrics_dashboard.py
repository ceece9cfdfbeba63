"""The dashboard and the alerts ask for what the filter exports: real traffic, a real Envoy, a real Prometheus that scrapes it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import demo
import picture
import pytest
import rig
import yaml

from client import post
from dynamic import Dynamic, write
from fleet import Fleet, Listener, Policy, held
from gateway import call, until
from storm import request, storm
from upstream import Arrival, Reply, Upstream

RULES = rig.ROOT / "envoy" / "prometheus-rules.yaml"
RULE_TESTS = Path(__file__).parent / "data" / "prometheus-rules-test.yaml"
README = (rig.ROOT / "envoy" / "README.md").read_text()
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
PANELS = [panel for panel in picture.panels() if panel["type"] != "row"]
every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
every_alert = pytest.mark.parametrize("name", ALERTS)

CANDIDATE = {"version": "1", "default": "deny", "tools": {"search": {"action": "deny"}, "copy": {}}}
GIT: Policy = held(
    {
        "version": "1",
        "name": "git",
        "default": "deny",
        "tools": {
            "search": {},
            "copy": {"limits": [{"counter": "copies", "window": "month", "max": 4}]},
            "drop": {"action": "deny"},
            "merge": {"mode": "shadow", "action": "deny"},
        },
        "candidate": CANDIDATE,
        "requests": {"paths": ["/mcp", "/packed"]},
    }
)
# So small a table that a few dozen callers fill it.
CROWD: Policy = held(
    {
        "version": "1",
        "name": "crowd",
        "default": "deny",
        "tools": {"each": {"limits": [{"counter": "each", "window": "month", "max": 9}]}},
        "counters": {"max_entries": 1},
    }
)
# One counter for all, which the workers change at once.
BUSY: Policy = held(
    {
        "version": "1",
        "name": "busy",
        "default": "deny",
        "tools": {"all": {"limits": [{"counter": "all", "window": "month", "max": 1000000, "scope": "global"}]}},
    }
)

# What each panel must show of the traffic below, as its legend names it, with a value above zero.
SHOWN = {
    "Decisions": {"allow", "deny", "would_deny"},
    "Refused at the front door": {"content_type", "path_not_mcp"},
    "Denied, by rule": {"git /default", "git /tools/drop/action", "git /tools/copy/limits/0"},
    "Denied, by reason": {"tool_not_allowed", "tool_denied", "limit_reached"},
    "In shadow: would be denied or asked about": {"git would_deny /tools/merge/action"},
    "Candidate: would be decided otherwise": {"git allow → deny /tools/search/action"},
    "How full limits were": {"50", "100"},
    "How full limits were, by counter": {"git copies p50", "git copies p95"},
    "Limits that refused": {"git copies"},
    "Lists filtered and withheld": {"git filtered", "git withheld content_encoding"},
    "The filter's own time": {"p50", "p99"},
    "Counters": {"retried", "table full: crowd each"},
    "Configurations, and crashes": {"taken", "refused"},
}
# The alerts that must come of it at once: the others have a `for`, or a threshold that it does not reach.
CAUSED = {
    "McpPolicyShadowWouldDeny",
    "McpPolicyCandidateDiffers",
    "McpPolicyResponsesWithheld",
    "McpPolicyConfigurationRefused",
    "McpPolicyCountersFull",
}


def promtool(*arguments: str | Path) -> None:
    """Runs it; it must be content."""
    done = subprocess.run(
        [demo.find_prometheus("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- The files --------------------------------------------------------------------------------


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", RULES)


def test_prometheus_takes_the_configuration_that_is_printed(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(printed()))
    (tmp_path / "prometheus-rules.yaml").write_text(RULES.read_text())
    promtool("check", "config", tmp_path / "prometheus.yml")


def printed() -> dict[str, Any]:
    """The configuration of Prometheus in the README."""
    [block] = re.findall(r"^```yaml\n# prometheus.yml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return dict(yaml.safe_load(block))


def test_the_alerts_come_when_they_must_and_only_then() -> None:
    promtool("test", "rules", RULE_TESTS)


@every_alert
def test_an_alert_says_what_it_is_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("page", "warning", "ticket")
    assert alert["annotations"]["summary"] and len(alert["annotations"]["description"]) > 100
    assert re.search(r"^\s*> [0-9.]+$", alert["expr"].splitlines()[-1]), "the threshold stands on a line of its own"
    assert name in RULE_TESTS.read_text(), "and promtool has seen it fire"
    assert f"`{name}`" in README, "and it is explained"


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(picture.DASHBOARD.read_text())
    assert dashboard["schemaVersion"] >= 39 and dashboard["id"] is None
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "policy"}
    panels = picture.panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, f"{panel['title']} lies over another"
        taken |= cells
    for panel in PANELS:
        assert len(panel["description"]) > 40, panel["title"]
        assert {panel["datasource"]["uid"], *(each["datasource"]["uid"] for each in panel["targets"])} == {"${datasource}"}


def test_the_picture_in_the_documentation_is_of_this_dashboard() -> None:
    texts = texts_of(picture.DASHBOARD.with_name("dashboard.svg"))
    assert {panel["title"] for panel in picture.panels()} <= set(texts), "draw it anew: see envoy/picture.py"


def texts_of(svg: Path) -> list[str]:
    """What can be read in a picture."""
    return ["".join(each.itertext()) for each in ElementTree.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}text")]


# --- What they show of real traffic -----------------------------------------------------------


@dataclass
class Watched:
    """A Prometheus that has scraped an Envoy through the traffic below."""

    envoy: rig.Envoy
    prometheus: picture.Prometheus
    url: str
    window: picture.Window


async def lists(arrival: Arrival, reply: Reply) -> None:
    """A server with a tool that the policy hides; on `/packed` its lists cannot be read."""
    message = arrival.message()
    if not isinstance(message, dict) or message.get("method") != "tools/list":
        return await reply.json({"jsonrpc": "2.0", "id": 1, "result": "ran"})
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("search", "unheard")]
    answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": tools}}).encode()
    if arrival.path == "/packed":
        return await reply.whole(200, gzip.compress(answer), headers=[(b"content-encoding", b"gzip")])
    return await reply.whole(200, answer)


@contextmanager
def watching(envoy: rig.Envoy, directory: Path) -> Iterator[str]:
    """Runs a Prometheus that scrapes this Envoy as the README says, but each second, with our rules; yields its address."""
    [port] = rig.free_ports(1)
    config = {**printed(), "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)]}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [envoy.admin_url.removeprefix("http://")]}]
    (directory / "prometheus.json").write_text(json.dumps(config))
    argv = [demo.find_prometheus(), f"--config.file={directory / 'prometheus.json'}", f"--storage.tsdb.path={directory / 'data'}"]
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            # What is new is told from what was not watched before by this.
            return bool(picture.Prometheus(url).instant("up offset 4s > 0"))
        except picture.PictureError:
            return False

    with rig.Process([*argv, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], directory, name="prometheus") as process:
        process.wait_until(answers)
        yield url


@pytest.fixture(scope="module")
def watched(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The traffic, once for all tests."""
    directory = tmp_path_factory.mktemp("watched")
    upstream.answer("/mcp", lists)
    upstream.answer("/packed", lists)
    fleet = Fleet(upstream.port)
    # The first has the name of the shipped plugin, which is in the names of some of Envoy's own statistics.
    for name, policy in {"mcp_policy": CROWD, "busy": BUSY}.items():
        fleet.add(name, Listener(policy))
    # Histograms are exported as they were at the last flush, every five seconds if nothing is said.
    fleet.config["stats_flush_interval"] = "0.5s"
    source = {"path": str(directory / "lds.json"), "watched_directory": {"path": str(directory)}}
    fleet.config["dynamic_resources"] = {"lds_config": {"path_config_source": source, "resource_api_version": "V3"}}
    fleet.config["node"] = {"id": "test", "cluster": "test"}
    write(directory / "lds.json", 0, fleet.listener("dynamic", Listener(GIT)))
    with fleet.run(concurrency=4) as envoy:
        dynamic = Dynamic(fleet, envoy, directory / "lds.json")
        until(lambda: dynamic.updates()["success"] > 0, "the first listener")
        with watching(envoy, directory) as url:
            prometheus = picture.Prometheus(url)
            start = time.time() - 2
            send(dynamic, fleet)
            exported = envoy.stats(r"^wasmcustom\.mcp_policy_decisions_total")
            until(lambda: scraped(prometheus) >= sum(exported.values()), "a scrape of all", 30)
            time.sleep(3)
            yield Watched(envoy, prometheus, url, picture.Window(start, time.time(), prometheus.scrape_interval()))


def scraped(prometheus: picture.Prometheus) -> float:
    found = prometheus.instant("sum(mcp_policy_decisions_total)")
    return float(found[0]["value"][1]) if found else 0


def send(dynamic: Dynamic, fleet: Fleet) -> None:
    """One of everything."""
    for tool in ("search", *["copy"] * 6, "drop", "unheard", "merge"):
        post(dynamic.port, call(tool))
    for path in ("/mcp", "/packed"):
        post(dynamic.port, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', path=path)
    post(dynamic.port, call("search"), [("content-type", "text/plain")])
    post(dynamic.port, call("search"), path="/elsewhere")
    assert dynamic.push("version: 1") == "rejected"
    assert dynamic.push({**GIT, "tools": {**GIT["tools"], "other": {}}}) == "success"
    # From several addresses, for each may fill only half of the table.
    for address in range(1, 5):
        callers = [request(call("each").encode(), (b"authorization", b"Bearer %d.%d" % (address, n))) for n in range(40)]
        storm(fleet.port("mcp_policy"), [iter(callers)], [], source=f"127.0.0.{address}")
    busy = [request(call("all").encode())] * 1500
    until(lambda: busy_swaps(fleet, dynamic.envoy, busy) > 0, "two workers at one counter", 60)


def busy_swaps(fleet: Fleet, envoy: rig.Envoy, calls: list[bytes]) -> int:
    storm(fleet.port("busy"), [iter(calls) for _ in range(8)], [])
    return sum(envoy.stats(r"^wasmcustom\.mcp_policy_counter_swaps_total.*retried").values())


def test_every_label_is_taken_out_of_the_name(watched: Watched) -> None:
    """A label without its line in `stats_config` would leave a series of its own for each value."""
    text = watched.envoy.admin("/stats/prometheus")
    exported = set(re.findall(r"^# TYPE (mcp_policy_\w+)", text, re.MULTILINE))
    shown = {name.removesuffix("_bucket") for name in asked_for(r"\bmcp_policy_\w+")}
    assert exported == shown, "each is in the dashboard or an alert, under its plain name"
    assert "=.=" not in text and ";.;" not in text


def asked_for(pattern: str) -> set[str]:
    """What the dashboard and the rules ask for, of this kind."""
    expressions = [rule["expr"] for group in GROUPS for rule in group["rules"]]
    expressions += [expression for panel in PANELS for expression in picture.queries(panel)]
    return {name for each in expressions for name in re.findall(pattern, each)}


@pytest.mark.wasm_only("an alert asks whether VMs had to be loaded anew")
def test_every_metric_that_is_asked_for_is_exported(watched: Watched) -> None:
    wanted = asked_for(r"\bmcp_policy_\w+") | asked_for(r"\benvoy_\w+(?:{[^$}]*})?")
    assert {"envoy_server_uptime", "envoy_wasm_mcp_policy_vm_reload"} < wanted
    assert [metric for metric in sorted(wanted) if not watched.prometheus.instant(metric)] == []


@every_panel
def test_a_panel_shows_the_traffic(watched: Watched, panel: picture.Panel) -> None:
    series = picture.fetch(watched.prometheus, panel, watched.window)
    shown = {each.name for each in series if any(value > 0 for value in each.values.values())}
    if panel["title"] == "Which policy is live":
        assert {each.labels["policy"] for each in series} == {"git", "crowd", "busy"}
        assert all(each.labels["digest"].startswith("sha-256:") and each.labels["version"] for each in series)
    else:
        assert SHOWN[panel["title"]] <= shown


@every_panel
def test_one_policy_can_be_chosen(watched: Watched, panel: picture.Panel) -> None:
    chosen = picture.Window(watched.window.start, watched.window.end, watched.window.scrape, policy="crowd")
    series = picture.fetch(watched.prometheus, panel, chosen)
    assert all(each.labels.get("policy", "crowd") == "crowd" for each in series)


def test_prometheus_takes_every_rule(watched: Watched) -> None:
    def evaluated() -> list[dict[str, Any]]:
        return [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in evaluated()), "every rule's first evaluation")
    assert {rule["name"]: rule.get("lastError") for rule in evaluated() if rule["health"] != "ok"} == {}
    assert len(evaluated()) == sum(len(group["rules"]) for group in GROUPS)
    firing = {rule["name"] for rule in evaluated() if rule.get("state") == "firing"}
    assert CAUSED <= firing and "McpPolicyCounterSwapsFailed" not in firing and "McpPolicyReloaded" not in firing
    for alert in (alert for rule in evaluated() for alert in rule.get("alerts", [])):
        # What a template cannot fill in, or cannot do.
        assert not re.search(r"<no value>|<error", str(alert["annotations"])), alert


def test_the_picture_shows_every_panel(watched: Watched, tmp_path: Path) -> None:
    picture.draw(watched.url, tmp_path / "dashboard.svg", watched.window.start, watched.window.end)
    texts = texts_of(tmp_path / "dashboard.svg")
    assert {panel["title"] for panel in picture.panels()} <= set(texts)
    assert "nothing in this time" not in texts
    assert "git /tools/copy/limits/0" in texts


def test_a_picture_of_nothing_is_a_picture(watched: Watched, tmp_path: Path) -> None:
    picture.draw(watched.url, tmp_path / "empty.svg", watched.window.start - 3600, watched.window.start - 3000)
    assert texts_of(tmp_path / "empty.svg").count("nothing in this time") == len(PANELS)


def test_names_in_a_picture_are_text() -> None:
    assert picture._text(0, 0, "</text><script>\u202e\x07") == '<text x="0.0" y="0.0">&lt;/text&gt;&lt;script&gt;��</text>'
