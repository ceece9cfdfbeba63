"""A policy that changes while Envoy runs: every command of `envoy/CHANGES.md`, and no request lost by a change.

`MCP_POLICY_BLESS=1` writes what was printed into the page, for review.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rig
import yaml

import cli
from client import H1, post, post_bytes
from fleet import Fleet, Listener, answering, assert_healthy
from gateway import call, until
from live import FILE, Live, mount, rendered, version_of, watching
from pages import Page
from programs import program
from storm import request, storm
from test_render import schema
from upstream import RAN, Upstream

PAGE = rig.ROOT / "envoy" / "CHANGES.md"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A server that is faster than any in Python: the port of an Envoy that answers by itself."""
    fleet = Fleet(1)
    fleet.add("server", Listener(None, answering(200, RAN.decode())))
    with fleet.run() as _:
        yield fleet.port("server")


def write(directory: Path, name: str, **policy: Any) -> Path:
    file = directory / name
    file.write_text(json.dumps({"version": "1", "default": "deny", **policy}))
    return file


@pytest.mark.wasm_only("the page's commands start the filter")
def test_the_page(tmp_path: Path) -> None:
    listen, admin = rig.free_ports(2)
    server = next(port for port in range(7000, 7999) if not rig.listens(port))
    mounted, applied, programs = (tmp_path / name for name in ("mounted", "applied", "programs"))
    for folder in (applied, programs):
        folder.mkdir()
    stand_in = programs / "kubectl"
    stand_in.write_text(f"#!{sys.executable}\n" + Path(__file__).with_name("kubectl.py").read_text())
    stand_in.chmod(0o755)
    texts = {
        "8000": str(server),
        "10000": str(listen),
        "9901": str(admin),
        "/etc/mcp-policy": str(mounted),
        "/opt/mcp_policy.wasm": str(rig.WASM),
    }
    who = {f"GIT_{role}_{what}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {"APPLIED": str(applied), "KUBECTL": program("kubectl", "kubernetes"), **who}
    page = Page(PAGE, ready={"python shop.py": 8000, "envoy -c": 10000}, programs=programs, env=env)
    where = f"--listen 127.0.0.1:{listen} --upstream 127.0.0.1:{server} --admin 127.0.0.1:{admin}"
    assert len(page.run(tmp_path, texts, {r"render .*--for envoy ": where})) > 30
    of_kind: dict[str, list[str]] = {}
    for file in sorted(applied.iterdir()):
        of_kind.setdefault(file.name.split("-")[1], []).append(file.read_text())
    assert {kind: len(texts) for kind, texts in of_kind.items()} == {"ConfigMap": 2, "EnvoyFilter": 3, "deleted": 1}
    config_maps_are_read(of_kind["ConfigMap"], tmp_path / "empty" / "k8s" / "envoy.yaml", mounted)
    envoy_filters_are_read([yaml.safe_load(text) for text in of_kind["EnvoyFilter"]], tmp_path)
    pod_is_mounted()


def config_maps_are_read(texts: list[str], config: Path, mounted: Path) -> None:
    """What the page applies comes into force in an Envoy whose folder is mounted."""
    data = [yaml.safe_load(text)["data"] for text in texts]
    mount(mounted, data[0])
    with watching(yaml.safe_load(config.read_text()), mounted) as live:
        versions = [version_of(each[FILE]) for each in data]
        assert versions[0] != versions[1] and live.version() == versions[0]
        for each, version in [(data[1], versions[1]), (data[0], versions[0])]:
            mount(mounted, each)
            until(lambda version=version: live.version() == version, "the ConfigMap")
        assert_healthy(live.envoy)


def envoy_filters_are_read(filters: list[dict[str, Any]], tmp_path: Path) -> None:
    """What the page applies is what Istio takes, and its filter is delivered to a real Envoy as Istio's agent would: as a resource."""
    folder = tmp_path / "istio"
    folder.mkdir()

    def deliver(number: int) -> None:
        jsonschema.Draft202012Validator(schema("EnvoyFilter")).validate(filters[number])
        resource = filters[number]["spec"]["configPatches"][0]["patch"]["value"]
        # The agent fetches the module, and names its file.
        resource["typed_config"]["config"]["vm_config"]["code"] = {"local": {"filename": str(rig.WASM)}}
        kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
        response = {"version_info": str(number), "resources": [{"@type": kind, **resource}]}
        (folder / "new").write_text(json.dumps(response))
        os.rename(folder / "new", folder / FILE)

    config = rendered(write(tmp_path, "any.json"), folder, "--upstream", "127.0.0.1:1")
    deliver(0)
    # Nobody listens behind it: what passes is answered with 503.
    expected = ["tool_not_allowed", "503", "unmatched"]
    with watching(config, folder) as live:
        for number, reason in enumerate(expected):
            deliver(number)
            until(lambda number=number: live.version() == str(number), "the filter")
            answer = post(live.envoy.port, call("unknown"))
            assert reason in f"{answer.status} {answer.body!r}", answer


def pod_is_mounted() -> None:
    """The page's pod mounts the whole folder."""
    [block] = [block for block in PAGE.read_text().split("```yaml\n")[1:] if "volumeMounts" in block]
    pod = yaml.safe_load(block.split("```")[0])
    [volume], [container] = pod["volumes"], pod["containers"]
    [mounted] = container["volumeMounts"]
    assert mounted == {"name": volume["name"], "mountPath": "/etc/mcp-policy"}
    assert volume["configMap"]["name"] == "mcp-policy"


def test_the_filter_in_an_envoy_of_your_own(tmp_path: Path) -> None:
    """The page has what is rendered."""
    [block] = [block for block in PAGE.read_text().split("```yaml\n")[1:] if "config_discovery" in block]
    policy = write(tmp_path, "p.json")
    done = cli.run("render", policy, "--for", "envoy", "--live", "live", "--live-out", tmp_path / "live")
    config = yaml.safe_load(done.stdout)
    assert [rig.hcm(config)["http_filters"][0]] == yaml.safe_load(block.split("```")[0])
    assert config["node"] == {"id": "mcp-policy-p", "cluster": "mcp-policy-p"}


def test_a_filter_that_is_missing_or_bad_at_the_start(tmp_path: Path, server: int) -> None:
    policy, folder = write(tmp_path, "p.json", tools={"search": {}}), tmp_path / "live"
    config = rendered(policy, folder, "--upstream", f"127.0.0.1:{server}")
    text = (folder / FILE).read_text()
    (folder / FILE).unlink()
    with pytest.raises(rig.RigError, match="does not exist"), watching(config, folder):
        pass
    (folder / FILE).write_text(text.replace('"deny"', '"denny"'))
    with watching(config, folder) as live:
        assert post(live.envoy.port, call("search")).status == 500
        assert live.count("update_rejected") == 1
        live.push(policy)
        assert RAN in post(live.envoy.port, call("search")).body


@pytest.mark.wasm_only("the page's commands start the filter")
def test_validate_mode_does_not_read_a_watched_filter(tmp_path: Path) -> None:
    """So a check in CI renders without --live."""
    from test_render import validate

    policy, folder = write(tmp_path, "p.json"), tmp_path / "live"
    config = rendered(policy, folder)
    (folder / FILE).write_text((folder / FILE).read_text().replace('"deny"', '"denny"'))
    assert validate(config, tmp_path, {}).returncode == 0
    static = cli.run("render", policy, "--for", cli.ENVOY, *cli.FILTER).stdout
    assert validate(static, tmp_path, {}).returncode == 0
    refused = validate(static.replace('"deny"', '"denny"'), tmp_path, {})
    assert refused.returncode == 1 and "did you mean `deny`?" in refused.stdout + refused.stderr


CONNECTIONS, CHANGES, ADMITTED = 64, 50, 2000
# Between two changes, so that there is a stretch under each policy.
PAUSE = 0.2


def test_no_request_is_lost_by_changes(tmp_path: Path, server: int) -> None:
    """Every request is answered by the server or a denial, whatever changes meanwhile, and a limit admits exactly what it may."""
    limits = [{"counter": "c", "window": "month", "max": ADMITTED, "scope": "global"}]
    tools = {"search": {}, "limited": {"limits": limits}}
    policies = [
        write(tmp_path, f"p{number}.json", tools={**tools, "flip": {"action": action}})
        for number, action in enumerate(("allow", "deny"))
    ]
    folder = tmp_path / "live"
    config = rendered(policies[0], folder, "--upstream", f"127.0.0.1:{server}", "--name", "load")
    rig.hcm(config)["access_log"] = []
    sent = dict.fromkeys(("search", "limited", "flip"), 0)
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        bodies = {tool: request(call(tool).encode()) for tool in sent}
        while not over.is_set():
            for tool, body in bodies.items():
                sent[tool] += 1
                yield body

    with watching(config, folder, concurrency=4) as live:

        def change() -> None:
            try:
                for number in range(CHANGES):
                    time.sleep(PAUSE)
                    live.push(policies[(number + 1) % 2], "--name", "load")
            finally:
                over.set()

        vms = live.envoy.stats(r"^wasm\.wasm_vm_count$")
        changing = threading.Thread(target=change)
        changing.start()
        marks = [RAN, b"limit_reached", b'"tool":"flip"']
        streams = [requests() for _ in range(CONNECTIONS)]
        answers, ran, limited, flipped = storm(live.envoy.port, streams, marks, 240, on_their_way=8)
        changing.join()
        assert live.count("update_success") == CHANGES + 1 and live.count("update_rejected") == 0
        told = f"{answers} answers, {CHANGES} changes: {sent}, ran {ran}, limited {limited}, flipped {flipped}"
        print(told)
        assert answers == sum(sent.values()), told
        assert sent["limited"] - limited == ADMITTED, told
        assert 0 < flipped < sent["flip"], told
        assert ran == sent["search"] + ADMITTED + sent["flip"] - flipped, told
        until(lambda: live.envoy.stats(r"^wasm\.wasm_vm_count$") == vms, "old VMs to end")
        assert_healthy(live.envoy)


def test_what_is_on_its_way_is_decided_by_the_policy_under_which_it_came(tmp_path: Path, server: int) -> None:
    policy, other = write(tmp_path, "a.json", tools={"search": {}}), write(tmp_path, "b.json")
    folder = tmp_path / "live"
    body = call("search").encode()
    head = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    with watching(rendered(policy, folder, "--upstream", f"127.0.0.1:{server}"), folder) as live:
        with H1(live.envoy.port) as waiting:
            waiting.send(head + body[:20])
            until(lambda: live.envoy.stats("downstream_rq_active")["http.mcp.downstream_rq_active"] == 1, "the request")
            live.push(other, "--name", "a")
            assert b"tool_not_allowed" in post(live.envoy.port, call("search")).body
            waiting.send(body[20:])
            assert RAN in waiting.receive().body
        assert_healthy(live.envoy)


def test_stop_lets_nothing_reach_a_server(tmp_path: Path) -> None:
    """By no method, whatever the policy allows and lets pass; nor does shadow let pass what is no MCP."""
    policy = write(tmp_path, "p.json", tools={"search": {}}, requests={"paths": ["/mcp"], "pass": ["discovery", "/docs/*"]})
    folder = tmp_path / "live"
    session = [("mcp-session-id", "a"), ("accept", "text/event-stream"), ("content-length", "0")]
    requests = [
        post_bytes(call("search")),
        post_bytes(call("other")),
        *(post_bytes("", session).replace(b"POST", method) for method in (b"GET", b"DELETE")),
        *(post_bytes("", session, path=path).replace(b"POST", b"GET") for path in ("/docs/a", "/.well-known/oauth-protected-resource")),
    ]

    def arrived(live: Live, upstream: Upstream) -> int:
        before = upstream.count()
        for request in requests:
            with H1(live.envoy.port) as connection:
                connection.send(request)
                connection.receive()
        upstream.settle()
        return upstream.count() - before

    with Upstream() as upstream, watching(rendered(policy, folder, "--upstream", f"127.0.0.1:{upstream.port}"), folder) as live:
        assert arrived(live, upstream) == len(requests) - 1, "all but the call that is denied"
        live.push(policy, "--switch", "shadow")
        assert arrived(live, upstream) == len(requests)
        live.push(policy, "--switch", "stop")
        assert arrived(live, upstream) == 0
        live.push(policy, "--switch", "off")
        assert arrived(live, upstream) == len(requests)
        live.push(policy)
        assert arrived(live, upstream) == len(requests) - 1
        assert_healthy(live.envoy)
