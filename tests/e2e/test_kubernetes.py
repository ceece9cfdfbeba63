"""The kustomizations in `envoy/kubernetes`: rendered by the real kubectl, valid by Kubernetes' schemas, and their container run as it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import rig
import yaml

import cli
from client import post
from gateway import call, until
from judge import error_of
from live import mount
from pages import Page
from upstream import Upstream

FOLDER = rig.ROOT / "envoy" / "kubernetes"


@pytest.fixture(autouse=True)
def new_enough() -> None:
    """Debian 12 has a kubectl from 2021, whose kustomize knows no `options`: there is nothing that could render the files there."""
    done = subprocess.run([kubectl(), "kustomize", FOLDER / "gateway"], capture_output=True, text=True, check=False)
    if "unknown field" in done.stderr:
        pytest.skip(f"this kubectl is older than 1.21, put a newer one on PATH: {done.stderr.strip()}")


def kubectl() -> str:
    """The real one, of which only `kustomize` is used: it asks no cluster."""
    found = shutil.which("kubectl") or str(rig.TOOLS / "kubectl" / "kubectl")
    if not Path(found).is_file():
        raise rig.RigError("no kubectl: put it on PATH, or run `envoy/tools.sh kubectl`")
    return found


def rendered(name: str) -> list[dict[str, Any]]:
    done = subprocess.run([kubectl(), "kustomize", FOLDER / name], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind]
    return found


def test_the_page_and_the_files_beside_it(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "kubectl").symlink_to(kubectl())
    Page(FOLDER / "README.md", ready={}, programs=programs).run(tmp_path, {"0000": "0000"})
    # What is committed is what the page's commands write.
    made = tmp_path / "empty" / "kubernetes"
    for folder in ("gateway", "sidecar"):
        for file in ("envoy.yaml", "mcp_policy.yaml"):
            committed = FOLDER / folder / file
            if os.environ.get("MCP_POLICY_BLESS"):
                shutil.copy(made / folder / file, committed)
            assert (made / folder / file).read_text() == committed.read_text(), f"{committed} is stale: MCP_POLICY_BLESS=1 writes it"


@pytest.mark.parametrize("name", ["gateway", "sidecar"])
def test_manifests_are_valid(name: str) -> None:
    objects = rendered(name)
    assert sorted(each["kind"] for each in objects) == ["ConfigMap", "ConfigMap", "Deployment", "Service"]
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)
    deployment, service = of_kind(objects, "Deployment"), of_kind(objects, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selector = service["spec"].get("selector") or labels
    assert selector.items() <= labels.items()
    # Every volume that a container mounts is there, and so is every ConfigMap that a volume names.
    spec = deployment["spec"]["template"]["spec"]
    maps = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    assert {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume} == maps
    mounted = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_the_sidecar_is_the_gateway_s_container() -> None:
    [alone] = of_kind(rendered("gateway"), "Deployment")["spec"]["template"]["spec"]["containers"]
    beside = {each["name"]: each for each in of_kind(rendered("sidecar"), "Deployment")["spec"]["template"]["spec"]["containers"]}
    assert set(beside) == {"server", "envoy"}
    # The pod of a server has users of its own.
    extra = {"runAsNonRoot": True, "runAsUser": 65534}
    assert beside["envoy"] == {**alone, "securityContext": {**alone["securityContext"], **extra}}


def status(url: str, method: str = "GET") -> int:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(urllib.request.Request(url, method=method), timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_gateway_runs_as_its_manifest_says(upstream: Upstream, tmp_path: Path) -> None:
    objects = rendered("gateway")
    maps = {each["metadata"]["name"].rsplit("-", 1)[0] if "envoy.yaml" in each["data"] else each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    [container] = of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    mcp, admin, metrics = rig.free_ports(3)
    folder = tmp_path / "etc-mcp-policy"

    def here(text: str) -> str:
        """Ports and paths of the pod, as they are here."""
        exchanged = {
            "port_value: 10000": f"port_value: {mcp}", "port_value: 9901": f"port_value: {admin}", "port_value: 9902": f"port_value: {metrics}",
            "port_value: 8000": f"port_value: {upstream.port}", "address: mcp-server": "address: 127.0.0.1", "0.0.0.0": "127.0.0.1",
            "/etc/mcp-policy": str(folder), "/opt/mcp-policy/plugin.wasm": str(rig.WASM),
        }  # fmt: skip
        for old, new in exchanged.items():
            text = text.replace(old, new)
        return text

    mount(folder, {name: here(text) for name, text in maps["mcp-gateway-policy"].items()})
    config = yaml.safe_load(here(maps["mcp-gateway-envoy"]["envoy.yaml"]))
    assert container["args"][:3] == ["--config-path", "/etc/envoy/envoy.yaml", "--config-yaml"]
    with rig.Envoy(config, args=["--config-yaml", here(container["args"][3])]) as envoy:
        assert post(mcp, call("search")).status == 200
        assert error_of(post(mcp, call("drop_tables")))["code"] == 403
        # Prometheus gets metrics, and nobody gets the rest of Envoy's admin interface by that port.
        url = f"http://127.0.0.1:{metrics}"
        assert status(f"{url}/stats/prometheus") == 200 and status(f"{url}/ready") == 200
        for method, path in (("POST", "/quitquitquit"), ("GET", "/config_dump"), ("GET", "/stats/prometheus/"), ("POST", "/stats/prometheus")):
            assert status(url + path, method) in (404, 405), path
        # A new policy comes with the ConfigMap, while Envoy runs.
        changed = tmp_path / "changed.yaml"
        changed.write_text((FOLDER / "policy.yaml").read_text().replace("search:", "find:"))
        cli.run("render", changed, "--for", "envoy-filter", "--wasm", "/opt/mcp-policy/plugin.wasm", "--output", tmp_path / "mcp_policy.yaml")
        mount(folder, {"mcp_policy.yaml": here((tmp_path / "mcp_policy.yaml").read_text())})
        until(lambda: post(mcp, call("find")).status == 200 and "error" in post(mcp, call("search")).body.decode(), f"the new policy: {envoy.log_tail()}")
