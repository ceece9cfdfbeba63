"""A registry of images on this machine, and Istio's reading of what is pulled from it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import rig

from programs import program

VERSION = "0.1.0"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"


class Registry(rig.Process):
    """Debian's docker-registry, with its images in a folder."""

    def __init__(self, directory: Path) -> None:
        [self.port] = rig.free_ports(1)
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(directory / "images")}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
        }
        file = directory / "registry.json"
        file.write_text(json.dumps(config))
        super().__init__([program("docker-registry", "registry"), "serve", str(file)], directory, name="registry")

    def __enter__(self) -> Registry:
        super().__enter__()
        self.wait_until(lambda: rig.listens(self.port))
        return self

    def reference(self, name: str) -> str:
        """Where clients find an image."""
        return f"docker://127.0.0.1:{self.port}/{name}"

    def manifest(self, name: str, tag: str) -> tuple[dict, str]:
        """The manifest of an image, and the media type that the registry says."""
        headers = {"accept": f"{OCI_MANIFEST}, {DOCKER_MANIFEST}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v2/{name}/manifests/{tag}", headers=headers)
        with _open(request) as answer:
            return json.loads(answer.read()), answer.headers["content-type"]

    def blob(self, name: str, digest: str) -> bytes:
        """A blob, which is what its digest says."""
        with _open(urllib.request.Request(f"http://127.0.0.1:{self.port}/v2/{name}/blobs/{digest}")) as answer:
            data = answer.read()
        assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
        return data


def _open(request: urllib.request.Request):  # noqa: ANN202 (urllib has no name for it)
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)


def skopeo(*arguments: str) -> str:
    """Runs skopeo; images here are not signed."""
    done = subprocess.run([program("skopeo", "registry"), "--insecure-policy", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_image(out: Path) -> Path:
    """What `make image` writes, with the filter that is under test."""
    run = [sys.executable, rig.ROOT / ".ci" / "dist" / "dist.py", "image", "--out", out]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return out


class RefusedByIstioError(Exception):
    """Istio's agent does not take the image."""


# The rules below are those of Istio's agent: pkg/wasm/imagefetcher.go of istio/istio, as of its commit 86c9f01 (2026-08-22), by the lines of that
# commit. The rules are the same on its branch release-1.31; older branches were not compared.
ISTIO_MAX_BYTES = 256 << 20  # ISTIO_WASM_MAX_BINARY_SIZE_BYTES, pilot/pkg/features/pilot.go, lines 433-437


def taken_by_istio(registry: Registry, name: str, tag: str) -> bytes:
    """The filter, as Istio's agent finds it in an image (PrepareFetch, lines 232-268).

    A manifest of Docker's is read in one way alone (238-247). Any other is read as a plain OCI image (250), and if that gives nothing, as one of
    the two layers of a Wasm artifact (256).
    """
    manifest, _ = registry.manifest(name, tag)
    layers = manifest["layers"]
    if manifest.get("mediaType") == DOCKER_MANIFEST:
        return _plain_image(registry, name, layers, DOCKER_LAYER)
    try:
        return _plain_image(registry, name, layers, OCI_LAYER)
    except RefusedByIstioError as plain:
        try:
            return _artifact(registry, name, layers)
        except RefusedByIstioError as artifact:
            raise RefusedByIstioError(f"could not parse as compat variant: {plain}; could not parse as oci variant: {artifact}") from None


def _plain_image(registry: Registry, name: str, layers: list[dict], wanted: str) -> bytes:
    """The last layer is a packed tar with a file named plugin.wasm, in any folder (lines 275-381)."""
    if not layers:
        raise RefusedByIstioError("number of layers must be greater than zero")
    last = layers[-1]
    if last["mediaType"] != wanted:
        raise RefusedByIstioError(f"invalid media type {last['mediaType']} (expect {wanted})")
    try:
        unpacked = gzip.decompress(registry.blob(name, last["digest"]))[:ISTIO_MAX_BYTES]
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                if Path(member.name).name == "plugin.wasm":
                    return archive.extractfile(member).read()
    except (gzip.BadGzipFile, tarfile.ReadError) as error:
        raise RefusedByIstioError(f"could not extract wasm binary: {error}") from None
    raise RefusedByIstioError("plugin.wasm not found in the archive")


def _artifact(registry: Registry, name: str, layers: list[dict]) -> bytes:
    """Exactly two layers, of which the first with the media type of a module is the module itself, not packed (lines 385-432)."""
    if len(layers) != 2:
        raise RefusedByIstioError(f"number of layers must be 2 but got {len(layers)}")
    for layer in layers:
        if layer["mediaType"] == WASM_LAYER:
            return registry.blob(name, layer["digest"])[:ISTIO_MAX_BYTES]
    raise RefusedByIstioError(f"could not find the layer of type {WASM_LAYER}")
