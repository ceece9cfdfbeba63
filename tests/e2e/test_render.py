"""What `mcp-policy render` writes: valid to the real Envoy, and to Istio's own schemas."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rig
import yaml

import cli

CRDS = Path(__file__).parent / "data" / "istio-crds.yaml"
# Everything that a deployment must provide for, such as the secret of pinned sessions.
POLICIES = [*cli.SHIPPED, rig.ROOT / "tests" / "data" / "policies" / "valid" / "full-form-everything.json"]
SECRET = {"SESSION_SECRET": "0123456789abcdef0123456789abcdef"}


def envoy_accepts(config: dict[str, Any] | str, directory: Path) -> None:
    """The real Envoy takes the configuration; in `validate` mode it also builds the filter chain."""
    done = validate(config, directory, SECRET)
    assert done.returncode == 0, done.stdout + done.stderr


def validate(config: dict[str, Any] | str, directory: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    file = directory / "envoy.yaml"
    file.write_text(config if isinstance(config, str) else json.dumps(config))
    done = subprocess.run(
        [*rig.find_envoy(), "--mode", "validate", "-c", file], capture_output=True, text=True, timeout=60, check=False, cwd=rig.ROOT, env={**os.environ, **env}
    )
    return done


def schema(kind: str) -> dict[str, Any]:
    """The schema of a kind, in which a field that it does not name is an error."""
    for crd in yaml.safe_load_all(CRDS.read_text()):
        if crd["spec"]["names"]["kind"] == kind:
            [version] = [each for each in crd["spec"]["versions"] if each["storage"]]
            found = copy.deepcopy(version["schema"]["openAPIV3Schema"])
            close(found)
            found["properties"].update({"apiVersion": {"type": "string"}, "kind": {"const": kind}, "metadata": {"type": "object"}})
            return found
    raise AssertionError(f"no {kind} in {CRDS}")


def close(schema: Any) -> None:
    """Kubernetes drops unknown fields in silence; here they are errors, unless the schema says that it keeps them."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        if schema.pop("x-kubernetes-int-or-string", False):
            schema.pop("type", None)
        for each in schema.values():
            close(each)
    elif isinstance(schema, list):
        for each in schema:
            close(each)


def render(policy: Path, target: str, *arguments: str | Path) -> str:
    if target.startswith("istio-"):
        arguments = ("--namespace", "mcp", "--app", "mcp-server", *arguments)
    return cli.run("render", policy, "--for", target, *arguments).stdout


@pytest.mark.parametrize("policy", POLICIES, ids=lambda file: file.stem)
def test_envoy_takes_what_is_rendered_for_it(policy: Path, tmp_path: Path) -> None:
    envoy_accepts(render(policy, cli.ENVOY, "--upstream", "mcp.internal:8000", *cli.FILTER), tmp_path)


def test_a_secret_that_is_missing_is_said(tmp_path: Path) -> None:
    """The variable that is rendered is the one that the filter reads."""
    done = validate(render(POLICIES[-1], cli.ENVOY, *cli.FILTER), tmp_path, {})
    assert done.returncode != 0 and "sessions.pin needs a secret" in done.stdout + done.stderr


@pytest.mark.parametrize("policy", POLICIES, ids=lambda file: file.stem)
@pytest.mark.parametrize(("target", "kind"), [("istio-wasmplugin", "WasmPlugin"), ("istio-envoyfilter", "EnvoyFilter")])
def test_istio_takes_what_is_rendered_for_it(policy: Path, target: str, kind: str) -> None:
    rendered = yaml.safe_load(render(policy, target))
    jsonschema.Draft202012Validator(schema(kind)).validate(rendered)


@pytest.mark.parametrize("kind", ["WasmPlugin", "EnvoyFilter"])
def test_the_schemas_bite(kind: str) -> None:
    target = {"WasmPlugin": "istio-wasmplugin", "EnvoyFilter": "istio-envoyfilter"}[kind]
    rendered = yaml.safe_load(render(POLICIES[0], target))
    validator = jsonschema.Draft202012Validator(schema(kind))
    rendered["spec"]["unheard"] = 1
    assert not validator.is_valid(rendered)
    del rendered["spec"]["unheard"]
    assert validator.is_valid(rendered)
    if kind == "WasmPlugin":
        rendered["spec"]["failStrategy"] = "FAIL_ELSEWHERE"
    else:
        rendered["spec"]["configPatches"][0]["applyTo"] = "ELSEWHERE"
    assert not validator.is_valid(rendered)


@pytest.mark.wasm_only("an EnvoyFilter has the filter")
@pytest.mark.parametrize("policy", POLICIES, ids=lambda file: file.stem)
def test_envoy_takes_the_filter_in_the_envoyfilter(policy: Path, tmp_path: Path) -> None:
    """A schema says nothing of what is inside a patch: Envoy does."""
    rendered = yaml.safe_load(render(policy, "istio-envoyfilter"))
    resource = rendered["spec"]["configPatches"][0]["patch"]["value"]
    plugin = resource["typed_config"]["config"]
    # The agent of Istio fetches the module and puts the file in its place.
    assert plugin["vm_config"]["code"]["remote"]["http_uri"]["uri"].startswith("oci://")
    plugin["vm_config"]["code"] = {"local": {"filename": str(rig.WASM)}}
    config = rig.render(None, *rig.free_ports(3), wasm=rig.WASM)
    filters = rig.hcm(config)["http_filters"]
    filters[:] = [{"name": resource["name"], "typed_config": resource["typed_config"]}, *filters[1:]]
    envoy_accepts(config, tmp_path)
