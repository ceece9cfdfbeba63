"""The kustomizations and the chart in `envoy/kubernetes`: rendered by the real kubectl and helm, valid by Kubernetes' schemas, and their container run as it is written."""

from __future__ import annotations

import json
import os
import re
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
from programs import program
from upstream import Upstream

FOLDER = rig.ROOT / "envoy" / "kubernetes"


def kubectl() -> str:
    """The real one, of which only `kustomize` is used: it asks no cluster."""
    return program("kubectl", "kubernetes")


def helm(*arguments: str, files: str = "gateway") -> subprocess.CompletedProcess[str]:
    """The real one, with the chart and what `mcp-policy render` has written for one of the kustomizations. It asks no cluster either."""
    texts = [word for name, file in (("envoy", "envoy.yaml"), ("policy", "mcp_policy.yaml")) for word in ("--set-file", f"{name}={FOLDER / files / file}")]
    command, *further = arguments
    return subprocess.run([program("helm", "kubernetes"), command, *texts, *VALUES[files], *further, FOLDER / "chart"], capture_output=True, text=True, check=False)


# The server of the sidecar, as sidecar/server.yaml has it.
VALUES = {
    "gateway": [],
    "sidecar": ["--set-json", 'server={"image": "registry.example.com/mcp-server:1", "args": ["--host", "127.0.0.1", "--port", "8000"]}'],
}  # fmt: skip


def rendered(name: str) -> list[dict[str, Any]]:
    """The objects of `gateway` or `sidecar`, or of the chart for the same."""
    if name.startswith("chart: "):
        files = name.removeprefix("chart: ")
        done = helm("template", f"mcp-{'gateway' if files == 'gateway' else 'server'}", files=files)
    else:
        done = subprocess.run([kubectl(), "kustomize", FOLDER / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind]
    return found


def test_the_page_and_the_files_beside_it(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("kubectl", "helm"):
        (programs / name).symlink_to(program(name, "kubernetes"))
    Page(FOLDER / "README.md", ready={}, programs=programs).run(tmp_path, {"0000": "0000"})
    # What is committed is what the page's commands write.
    made = tmp_path / "empty" / "kubernetes"
    for folder in ("gateway", "sidecar"):
        for file in ("envoy.yaml", "mcp_policy.yaml"):
            committed = FOLDER / folder / file
            if os.environ.get("MCP_POLICY_BLESS"):
                shutil.copy(made / folder / file, committed)
            assert (made / folder / file).read_text() == committed.read_text(), f"{committed} is stale: MCP_POLICY_BLESS=1 writes it"


@pytest.mark.parametrize("name", ["gateway", "sidecar", "chart: gateway", "chart: sidecar"])
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


@pytest.mark.parametrize("name", ["gateway", "sidecar"])
def test_the_chart_makes_the_same_pod(name: str) -> None:
    def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
        """As it is, but for the suffix that a kustomization gives a ConfigMap."""
        spec = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
        for volume in spec["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = re.sub(r"-envoy-\w+$", "-envoy", volume["configMap"]["name"])
        return {**spec, "containers": sorted(spec["containers"], key=str), "volumes": sorted(spec["volumes"], key=str)}

    by_chart, by_kustomize = rendered(f"chart: {name}"), rendered(name)
    assert pod(by_chart) == pod(by_kustomize)
    annotations = of_kind(by_kustomize, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations.items() <= of_kind(by_chart, "Deployment")["spec"]["template"]["metadata"]["annotations"].items()


def test_helm_finds_nothing_to_say_of_the_chart() -> None:
    for files in VALUES:
        done = helm("lint", "--strict", files=files)
        assert done.returncode == 0 and "[WARNING]" not in done.stdout, done.stdout + done.stderr


LONG = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["--set-file", "envoy=/dev/null"], "`envoy` is empty: run `mcp-policy render"),
        (["--set-file", "policy=/dev/null"], "`policy` is empty: run `mcp-policy render"),
        (["--set-file", f"policy={FOLDER / 'policy.yaml'}"], "perhaps the policy itself"),
        (["--set-file", f"envoy={FOLDER / 'policy.yaml'}"], "it is not the file that Envoy starts with"),
        (["--set-file", f"envoy={rig.ROOT / 'envoy' / 'envoy.yaml'}"], "render it with `--live /etc/mcp-policy`"),
        (["--set", "port=8080"], "`envoy` listens on no port 8080"),
        (["--set", "adminPort=9999"], "`envoy` listens on no port 9999"),
        (["--set", "replica=2"], "replica"),
        (["--set", "metrics.prot=1"], "prot"),
        (["--set", "secrets.session=short"], "/secrets/session"),
        (["--set", f"secrets.session={LONG},secrets.other=x"], "other"),
        (["--set", "server.args[0]=x"], "image"),
        (["--set", "server.image=x,server.name=envoy"], "/server/name"),
        (["--set", "pod.containers[0].name=x"], "/pod"),
        (["--set", "name=Upper"], "/name"),
    ],
)
def test_the_chart_refuses(values: list[str], said: str) -> None:
    done = helm("template", "x", *values)
    assert done.returncode != 0 and said in done.stderr, done.stderr


def test_the_chart_s_values() -> None:
    done = helm(
        "template", "x", "--set", f"secrets.session={LONG},replicas=3,name=shop,filter.volume.emptyDir.sizeLimit=4Mi,metrics.port=9903",
        "--set-json", 'pod={"nodeSelector": {"a": "b"}, "volumes": [{"name": "more", "emptyDir": {}}]}', "--set", "podLabels.team=x",
    )  # fmt: skip
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)
    assert {each["metadata"]["name"] for each in objects} == {"shop", "shop-envoy", "shop-policy", "shop-secrets"}
    assert of_kind(objects, "Secret")["stringData"] == {"session-secret": LONG}
    deployment = of_kind(objects, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    assert (deployment["replicas"], pod["nodeSelector"], deployment["template"]["metadata"]["labels"]["team"]) == (3, {"a": "b"}, "x")
    assert {"name": "filter", "emptyDir": {"sizeLimit": "4Mi"}} in pod["volumes"] and {"name": "more", "emptyDir": {}} in pod["volumes"]
    # What is made here has to be there when the pod starts; a key that was not given is not asked for.
    [variable] = pod["containers"][0]["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "shop-secrets", "key": "session-secret", "optional": False}
    assert "port_value: 9903" in pod["containers"][0]["args"][3]
    assert deployment["template"]["metadata"]["annotations"]["prometheus.io/port"] == "9903"


def test_another_policy_replaces_no_pod_and_another_start_does(tmp_path: Path) -> None:
    def pod(name: str, file: str) -> dict[str, Any]:
        changed = tmp_path / file
        changed.write_text((FOLDER / "gateway" / file).read_text() + "# changed\n")
        done = helm("template", "x", "--set-file", f"{name}={changed}")
        return of_kind([each for each in yaml.safe_load_all(done.stdout) if each], "Deployment")

    before = of_kind([each for each in yaml.safe_load_all(helm("template", "x").stdout) if each], "Deployment")
    assert pod("policy", "mcp_policy.yaml") == before
    assert pod("envoy", "envoy.yaml") != before


def test_every_value_of_the_chart_has_its_schema() -> None:
    values = yaml.safe_load((FOLDER / "chart" / "values.yaml").read_text())
    properties = json.loads((FOLDER / "chart" / "values.schema.json").read_text())["properties"]
    assert set(properties) - {"global"} == set(values)
    for name, value in values.items():
        if isinstance(value, dict) and properties[name].get("additionalProperties") is False:
            assert set(properties[name]["properties"]) == set(value), name


def status(url: str, method: str = "GET") -> int:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(urllib.request.Request(url, method=method), timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("name", ["gateway", "chart: gateway"])
def test_the_gateway_runs_as_its_manifest_says(upstream: Upstream, tmp_path: Path, name: str) -> None:
    objects = rendered(name)
    files = {file: text for each in objects if each["kind"] == "ConfigMap" for file, text in each["data"].items()}
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

    mount(folder, {"mcp_policy.yaml": here(files["mcp_policy.yaml"])})
    config = yaml.safe_load(here(files["envoy.yaml"]))
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
