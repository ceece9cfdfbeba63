"""What of a release needs no build: the bill of materials, the licences, the changelog, archives. `tests/dist` has the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rig
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

sys.path.insert(0, str(rig.ROOT / ".ci" / "dist"))

import archives  # noqa: E402
import crates  # noqa: E402
import dist  # noqa: E402
import oci  # noqa: E402
import sbom  # noqa: E402

RELEASING = rig.ROOT / "RELEASING.md"
MAKEFILE = (rig.ROOT / "Makefile").read_text()


@pytest.mark.parametrize("target", ["wasm32-wasip1", "x86_64-unknown-linux-musl"])
def test_a_bill_and_the_licences_name_every_crate(target: str) -> None:
    found = crates.of_build(target)
    text = sbom.of("it", "application", target, b"bytes", 1_700_000_000, found)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == sbom.of("it", "application", target, b"bytes", 1_700_000_000, found)
    page = crates.licences(found)
    assert found and all(each.licence and f"{each.name} {each.version} (" in page for each in found)
    assert {each["name"] for each in json.loads(text)["components"]} == {each.name for each in found} | {"rust-std"}


def test_what_is_installed_is_what_is_licensed_for_it() -> None:
    """deny.toml lists the licences; cargo-deny, which reads it in CI, is not on every machine."""
    allowed = set(re.findall(r'"([^"]+)"', re.search(r"^allow = \[(.*)\]$", (rig.ROOT / "deny.toml").read_text(), re.M)[1]))
    for target in ("wasm32-wasip1", "x86_64-unknown-linux-musl"):
        for each in crates.of_build(target):
            ways = re.split(r" OR |/", each.licence.replace("(", "").replace(")", ""))
            assert any(set(way.replace(" WITH LLVM-exception", "").split(" AND ")) <= allowed for way in ways), f"{each.name}: {each.licence}"


def test_the_changelog_is_cut_to_a_version() -> None:
    text = "# Changelog\n\nIntro.\n\n## Unreleased\n\n- c\n\n## 1.1.0 (2026-11-01)\n\n- b\n\n## 1.0.0 - 2026-01-01\n\n- a\n"
    assert dist.changes(text, "1.1.0") == "## 1.1.0 (2026-11-01)\n\n- b\n"
    assert dist.changes(text, "1.0.0") == "## 1.0.0 - 2026-01-01\n\n- a\n"
    assert dist.changes(text, "2.0.0") == "## Unreleased\n\n- c\n"
    with pytest.raises(SystemExit, match="neither"):
        dist.changes("# Changelog\n", "1.0.0")


def test_archives_do_not_know_when_or_by_whom_they_were_made(tmp_path: Path) -> None:
    entries = {"b/x": archives.Entry(b"1", 0o755), "a": archives.Entry(b"2")}
    backwards = dict(reversed(entries.items()))
    for make in (archives.tar_gz, archives.zip_file):
        assert make(entries, 1_700_000_000) == make(backwards, 1_700_000_000)
    layout = oci.layout(entries, "1", 1_700_000_000, {}, {})
    assert layout == oci.layout(backwards, "1", 1_700_000_000, {}, {})


def test_the_version_is_one_everywhere() -> None:
    version = crates.version()
    action = yaml.safe_load((rig.ROOT / "action.yml").read_text())
    assert action["inputs"]["version"]["default"] == version
    pages = [RELEASING, rig.ROOT / "README.md", *(rig.ROOT / "docs").glob("*.md"), rig.ROOT / "policies" / "TUTORIAL.md"]
    for page in pages:
        for found in re.findall(r"(?:mcp-policy(?:-filter)?[:_]|mcp-policy==|@v|rev: v|image:)(\d+\.\d+\.\d+)\b", page.read_text()):
            assert found == version, f"{page.name} says {found}"


def test_every_target_that_pages_and_workflows_name_is_there() -> None:
    pages = [rig.ROOT / name for name in ("README.md", "RELEASING.md", "CONTRIBUTING.md", "AGENTS.md")]
    pages += [*(rig.ROOT / "docs").glob("*.md"), *(rig.ROOT / ".github" / "workflows").glob("*.yml")]
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.M))
    for page in pages:
        named = set(re.findall(r"(?:^\s*|`|- run: )make ([a-z0-9-]+)", page.read_text(), re.M))
        assert named <= targets, f"{page.name}: {named - targets}"


def test_scripts_that_workflows_name_are_there_and_read() -> None:
    for workflow in (rig.ROOT / ".github" / "workflows").glob("*.yml"):
        for script in re.findall(r"run: (\.\S+)", workflow.read_text()):
            if (rig.ROOT / script).suffix == ".sh":
                subprocess.run(["bash", "-n", rig.ROOT / script], check=True)


def test_what_several_machines_built_becomes_one_folder(tmp_path: Path) -> None:
    """What the release's last job runs, on files as the jobs before it leave them."""
    artifacts = tmp_path / "artifacts"
    for name, file in (("dist", "mcp_policy.wasm"), ("dist", "SHA256SUMS"), ("mcp-policy-aarch64-apple-darwin", "mcp-policy")):
        (artifacts / name).mkdir(parents=True, exist_ok=True)
        (artifacts / name / file).write_bytes(b"bytes")
    subprocess.run([rig.ROOT / ".ci" / "dist" / "collect.sh", artifacts, tmp_path / "release"], cwd=rig.ROOT, check=True)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "release", check=True, capture_output=True)
    packed = f"mcp-policy-{crates.version()}-aarch64-apple-darwin.tar.gz"
    assert {file.name for file in (tmp_path / "release").iterdir()} == {"mcp_policy.wasm", "SHA256SUMS", packed}
