"""What is in a release: sums, licences, bills of materials, the changelog and images."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import crates
import pytest
from conftest import ROOT
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from registry import Registry, skopeo, taken_by_istio

VERSION = crates.version()


def test_every_file_has_its_sum(dist: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True, capture_output=True)
    listed = {line.split("  ")[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert listed == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}


def test_the_filter_is_the_one_that_was_tested(dist: Path) -> None:
    assert (dist / "mcp_policy.wasm").read_bytes() == (ROOT / "target" / "mcp_policy.wasm").read_bytes()


@pytest.mark.parametrize(("name", "target"), [("mcp_policy.wasm", "wasm32-wasip1"), ("mcp-policy", "x86_64-unknown-linux-musl")])
def test_a_bill_of_materials_is_one_and_names_every_crate(dist: Path, name: str, target: str) -> None:
    text = (dist / f"{name}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    # Another way to the same list than the bill's own.
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none", "--format", "{p}|{l}"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    wanted = {tuple(line.split("|")[0].split(" ")[:2]) for line in tree.splitlines()}
    found = {(each["name"], f"v{each['version']}") for each in bill["components"]}
    assert found - {("rust-std", f"v{crates.rust_version()}")} == wanted - {("mcp-policy", f"v{VERSION}")}
    assert all(each.get("licenses") for each in bill["components"])
    known = {each["bom-ref"] for each in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert all({edge["ref"], *edge["dependsOn"]} <= known for edge in bill["dependencies"])


def test_licences_have_every_crate_and_its_text(dist: Path) -> None:
    page = (dist / "LICENSES.txt").read_text()
    for name in ("mcp_policy.wasm", "mcp-policy"):
        for each in json.loads((dist / f"{name}.cdx.json").read_text())["components"]:
            assert each["name"] == "rust-std" or f"{each['name']} {each['version']} (" in page, each["name"]
    assert "Permission is hereby granted" in page and "Apache License" in page


def test_the_changelog_is_that_of_the_version(dist: Path) -> None:
    cut = (dist / f"CHANGELOG-{VERSION}.md").read_text()
    assert len(re.findall(r"^## ", cut, re.M)) == 1 and cut.count("\n- ") > 20


def test_the_command_is_static(dist: Path, tmp_path: Path) -> None:
    with tarfile.open(dist / f"mcp-policy-{VERSION}-x86_64-unknown-linux-musl.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    binary = tmp_path / f"mcp-policy-{VERSION}-x86_64-unknown-linux-musl" / "bin" / "mcp-policy"
    # No program header asks for an interpreter: nothing of the system is loaded.
    assert b"/lib64/ld-linux" not in binary.read_bytes() and b"/lib/ld-musl" not in binary.read_bytes()
    assert subprocess.run([binary, "--version"], env={}, check=True, capture_output=True, text=True).stdout == f"mcp-policy {VERSION}\n"


def test_images_go_through_a_registry(dist: Path, tmp_path: Path) -> None:
    with Registry(tmp_path) as registry:
        for name in ("mcp-policy-filter", "mcp-policy"):
            skopeo("copy", f"oci-archive:{dist}/{name}-{VERSION}.oci.tar:{VERSION}", registry.reference(f"{name}:{VERSION}"), "--dest-tls-verify=false")
        assert taken_by_istio(registry, "mcp-policy-filter", VERSION) == (dist / "mcp_policy.wasm").read_bytes()
        manifest, _ = registry.manifest("mcp-policy", VERSION)
        [layer] = manifest["layers"]
        config = json.loads(registry.blob("mcp-policy", manifest["config"]["digest"]))
        root = tmp_path / "root"
        plain = gzip.decompress(registry.blob("mcp-policy", layer["digest"]))
        assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(plain).hexdigest()]
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            archive.extractall(root, filter="data")
        # Its entry point, in a root that has nothing else. As whom it runs is what `User` says, which is nobody.
        assert config["config"]["Entrypoint"] == ["/mcp-policy"] and config["config"]["User"] == "65534:65534"
        (root / "policy.yaml").write_text('version: "1"\ndefault: deny\ntools: {search: {}}\n')
        done = subprocess.run(["unshare", "--map-root-user", "chroot", root, "/mcp-policy", "validate", "/policy.yaml"], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "/policy.yaml: valid"), done.stderr
