"""OCI image layouts: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md.

The filter's image has the form that Istio's agent takes: one layer with `plugin.wasm` at its root, as Docker builds it from `FROM scratch` and
`COPY mcp_policy.wasm plugin.wasm`. The other form that it takes has media types of its own, which many registries and clients refuse.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from archives import Entry, tar

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layout(files: Mapping[str, Entry], tag: str, epoch: int, labels: Mapping[str, str], run: Mapping[str, object]) -> dict[str, bytes]:
    """The files of an image layout with one image of one layer."""
    blobs: dict[str, bytes] = {}

    def keep(data: bytes, media_type: str) -> dict[str, object]:
        blobs[f"blobs/{digest(data).replace(':', '/')}"] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    plain = tar(files, epoch)
    layer = keep(gzip.compress(plain, compresslevel=9, mtime=0), LAYER)
    created = datetime.fromtimestamp(epoch, timezone.utc).isoformat().replace("+00:00", "Z")
    config = {
        "created": created,
        # The filter runs on any processor; clients that look for an image of their own take this one.
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": dict(labels), **run},
        "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
        "history": [{"created": created, "created_by": "mcp-policy, make image"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": keep(text(config), CONFIG),
        "layers": [layer],
        "annotations": {**labels, "org.opencontainers.image.created": created},
    }
    top = keep(text(manifest), MANIFEST)
    top["annotations"] = {"org.opencontainers.image.ref.name": tag}
    return {
        "oci-layout": text({"imageLayoutVersion": "1.0.0"}),
        "index.json": text({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]}),
        **blobs,
    }


def text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def labels(title: str, version: str) -> dict[str, str]:
    """What every image says of itself."""
    return {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.source": "https://github.com/mcp-policy/mcp-policy",
    }


def of_filter(wasm: Path, licences: bytes, version: str, epoch: int) -> dict[str, bytes]:
    """The filter, for `oci://`."""
    files = {"plugin.wasm": Entry(wasm.read_bytes()), "LICENSES.txt": Entry(licences)}
    return layout(files, version, epoch, labels("mcp-policy filter", version), {})


def of_command(binary: Path, licences: bytes, version: str, epoch: int) -> dict[str, bytes]:
    """The command. It runs as nobody, in the folder that is mounted."""
    files = {"mcp-policy": Entry(binary.read_bytes(), 0o755), "LICENSES.txt": Entry(licences)}
    run = {"Entrypoint": ["/mcp-policy"], "User": "65534:65534", "WorkingDir": "/work"}
    return layout(files, version, epoch, labels("mcp-policy", version), run)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a layout in the place of one that is there."""
    for name, data in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    kept = {folder / name for name in files}
    for file in folder.rglob("*"):
        if file.is_file() and file not in kept:
            file.unlink()
