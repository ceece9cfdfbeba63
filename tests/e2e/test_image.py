"""The image of the filter: pushed to a registry, pulled as Istio's agent pulls it, and run by Envoy from there."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import rig

from client import post
from gateway import call
from judge import error_of
from registry import OCI_LAYER, OCI_MANIFEST, VERSION, WASM_LAYER, RefusedByIstioError, Registry, make_image, skopeo, taken_by_istio
from rig import Config
from upstream import Upstream

POLICY = {"version": "1", "default": "deny", "tools": {"search": {}}, "requests": {"hold_headers": "always"}}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("image") / "filter")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def pushed(registry: Registry, layout: Path) -> str:
    skopeo("copy", f"oci:{layout}:{VERSION}", registry.reference(f"mcp-policy:{VERSION}"), "--dest-tls-verify=false")
    return "mcp-policy"


def test_istio_takes_it_and_it_is_the_filter(registry: Registry, pushed: str) -> None:
    assert taken_by_istio(registry, pushed, VERSION) == Path(rig.WASM).read_bytes()


def test_it_says_what_it_is(registry: Registry, pushed: str) -> None:
    found = json.loads(skopeo("inspect", "--tls-verify=false", registry.reference(f"{pushed}:{VERSION}")))
    assert found["Labels"]["org.opencontainers.image.version"] == VERSION
    assert found["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    manifest, kind = registry.manifest(pushed, VERSION)
    assert manifest["mediaType"] == kind and [layer["mediaType"] for layer in manifest["layers"]] == [OCI_LAYER]


def test_docker_s_form_of_it_is_taken_too(registry: Registry, layout: Path) -> None:
    """As registries and clients of Docker turn it."""
    to = registry.reference("mcp-policy-docker:1")
    skopeo("copy", "--format", "v2s2", f"oci:{layout}:{VERSION}", to, "--dest-tls-verify=false")
    assert taken_by_istio(registry, "mcp-policy-docker", "1") == Path(rig.WASM).read_bytes()


def made_by_hand(folder: Path, layers: list[tuple[str, bytes]]) -> Path:
    """An OCI layout whose one image has these layers, by media type."""

    def keep(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blob = folder / "blobs" / "sha256" / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **keep(b"{}")}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [{"mediaType": kind, **keep(data)} for kind, data in layers]}
    top = {"mediaType": OCI_MANIFEST, **keep(json.dumps(manifest).encode())}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return folder


MODULE = (WASM_LAYER, b"\0asm\x01\0\0\0")
SETTINGS = ("application/vnd.module.wasm.config.v1+json", b"{}")
EMPTY_TAR = (OCI_LAYER, gzip.compress(b"\0" * 10240))


# What `oras push …:application/vnd.module.wasm.content.layer.v1+wasm` makes is one layer with the module itself.
@pytest.mark.parametrize(
    ("layers", "refused"),
    [
        ([MODULE], "must be 2 but got 1"),
        ([MODULE, SETTINGS], None),
        ([SETTINGS, MODULE], None),
        ([MODULE, EMPTY_TAR], None),
        ([EMPTY_TAR], "plugin.wasm not found in the archive"),
        ([SETTINGS, EMPTY_TAR], "could not find the layer"),
        ([MODULE, SETTINGS, SETTINGS], "must be 2 but got 3"),
        ([(OCI_LAYER, b"no archive")], "could not extract wasm binary"),
    ],
)
def test_which_forms_istio_takes(registry: Registry, tmp_path: Path, layers: list[tuple[str, bytes]], refused: str | None) -> None:
    name = f"by-hand-{tmp_path.name.replace('_', '-')}".rstrip("-")
    skopeo("copy", f"oci:{made_by_hand(tmp_path, layers)}", registry.reference(f"{name}:1"), "--dest-tls-verify=false")
    if refused is None:
        assert taken_by_istio(registry, name, "1") == MODULE[1]
    else:
        with pytest.raises(RefusedByIstioError, match=refused):
            taken_by_istio(registry, name, "1")


def test_the_same_source_is_the_same_image(layout: Path, tmp_path: Path) -> None:
    again = make_image(tmp_path / "again")
    files = sorted(path.relative_to(layout) for path in layout.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((layout / file).read_bytes() == (again / file).read_bytes() for file in files)


@pytest.fixture
def modules(registry: Registry, pushed: str) -> Iterator[int]:
    """A web server with the module that was pulled."""
    module = taken_by_istio(registry, pushed, VERSION)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name is the library's)
            self.send_response(200)
            self.send_header("content-length", str(len(module)))
            self.end_headers()
            self.wfile.write(module)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def fetched(config: Config, port: int, digest: str) -> None:
    """Has Envoy fetch the module from a web server."""
    uri = {"uri": f"http://127.0.0.1:{port}/mcp_policy.wasm", "cluster": "modules", "timeout": "10s"}
    rig.plugin(config)["vm_config"]["code"] = {"remote": {"http_uri": uri, "sha256": digest}}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    cluster = {"name": "modules", "type": "STATIC", "connect_timeout": "1s"}
    cluster["load_assignment"] = {"cluster_name": "modules", "endpoints": endpoints}
    config["static_resources"]["clusters"].append(cluster)


@pytest.mark.wasm_only("Envoy fetches the filter alone: where it has no module from a server, it lets requests pass")
def test_envoy_fetches_what_was_pulled_and_runs_it(upstream: Upstream, modules: int) -> None:
    digest = hashlib.sha256(Path(rig.WASM).read_bytes()).hexdigest()
    config = rig.render(POLICY, *rig.free_ports(2), upstream.port, changes=lambda config: fetched(config, modules, digest))
    with rig.Envoy(config) as envoy:
        assert post(envoy.port, call("search")).status == 200
        assert error_of(post(envoy.port, call("drop_tables")))["code"] == 403


@pytest.mark.wasm_only("Envoy fetches the filter alone: where it has no module from a server, it lets requests pass")
def test_another_module_than_the_pinned_one_is_refused(upstream: Upstream, modules: int) -> None:
    config = rig.render(POLICY, *rig.free_ports(2), upstream.port, changes=lambda config: fetched(config, modules, "0" * 64))
    with rig.Envoy(config) as envoy:
        since = upstream.count()
        assert post(envoy.port, call("search")).status in (500, 503)
        assert upstream.count() == since
