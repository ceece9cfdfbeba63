"""Software bills of materials, in CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import datetime, timezone

import crates


def of(name: str, kind: str, target: str, data: bytes, epoch: int, components: list[crates.Crate]) -> str:
    """The bill of one artefact. Its serial number comes of its bytes, so that the same artefact has the same bill."""
    digest = hashlib.sha256(data).hexdigest()
    own = f"pkg:cargo/mcp-policy@{crates.version()}?target={target}"
    standard = f"pkg:generic/rust-std@{crates.rust_version()}"
    needed = {other for crate in components for other in crate.needs}
    direct = sorted(crate.purl for crate in components if crate.purl not in needed)
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{own}#{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).isoformat().replace("+00:00", "Z"),
            "component": {
                "type": kind,
                "bom-ref": own,
                "name": name,
                "version": crates.version(),
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
        },
        "components": [
            {
                "type": "library",
                "bom-ref": standard,
                "name": "rust-std",
                "version": crates.rust_version(),
                "purl": standard,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
            },
            *map(component, components),
        ],
        "dependencies": [
            {"ref": own, "dependsOn": sorted([standard, *direct])},
            *({"ref": crate.purl, "dependsOn": list(crate.needs)} for crate in components),
        ],
    }
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def component(crate: crates.Crate) -> dict:
    """One crate."""
    found = {"type": "library", "bom-ref": crate.purl, "name": crate.name, "version": crate.version, "purl": crate.purl}
    if crate.licence:
        # Cargo still takes the slash that SPDX has given up.
        found["licenses"] = [{"expression": crate.licence.replace("/", " OR ")}]
    if crate.digest:
        found["hashes"] = [{"alg": "SHA-256", "content": crate.digest}]
    return found
