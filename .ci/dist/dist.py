"""Everything of a release, in target/dist: `make dist`. And the image of the filter alone, in target/image: `make image`.

The same source, toolchain and processor give the same bytes, wherever the source lies. Nothing is published from here: see RELEASING.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import archives
import crates
import oci
import packages
import sbom

ROOT = crates.ROOT
TARGET_DIR = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WASM = Path(os.environ.get("MCP_POLICY_WASM", ROOT / "target" / "mcp_policy.wasm"))
WASM_TARGET = "wasm32-wasip1"
TARGET = "x86_64-unknown-linux-musl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["all", "image"])
    parser.add_argument("--out", type=Path, help="the folder, instead of target/dist or target/image")
    arguments = parser.parse_args()
    if arguments.what == "image":
        out = arguments.out or ROOT / "target" / "image"
        oci.write(out, filter_image(epoch_of_source()))
        print(f"{shown(out)}: an OCI image layout with the filter, tag {crates.version()}")
    else:
        distribution(arguments.out or ROOT / "target" / "dist")


def shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def epoch_of_source() -> int:
    """The time that everything bears: https://reproducible-builds.org/specs/source-date-epoch/. By default that of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None:
        return int(given)
    last = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(last.stdout) if last.returncode == 0 and last.stdout.strip() else 0


def filter_image(epoch: int) -> dict[str, bytes]:
    if not WASM.is_file():
        sys.exit(f"{WASM} does not exist: run `make wasm` first")
    licences = crates.licences(crates.of_build(WASM_TARGET)).encode()
    return oci.of_filter(WASM, licences, crates.version(), epoch)


def build(what: str) -> None:
    subprocess.run([ROOT / ".ci" / "dist" / "build.sh", what], check=True)


def printed(binary: Path, *arguments: str) -> bytes:
    return subprocess.run([binary, *arguments], check=True, capture_output=True).stdout


def the_command(epoch: int, licences: bytes) -> tuple[Path, packages.Command]:
    """The built command, with what it writes itself: its manual and its completions."""
    binary = TARGET_DIR / TARGET / "release" / "mcp-policy"
    listed = printed(binary, "help").decode().split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    names = [name for name in re.findall(r"^  (\S+)", listed, re.MULTILINE) if name != "help"]
    man = {"mcp-policy.1": printed(binary, "man"), **{f"mcp-policy-{name}.1": printed(binary, "man", name) for name in names}}
    return binary, packages.Command(
        version=crates.version(),
        epoch=epoch,
        binary=binary.read_bytes(),
        man=man,
        completions={shell: printed(binary, "completions", shell) for shell in ("bash", "zsh", "fish")},
        licence=(ROOT / "LICENSE").read_bytes(),
        licences=licences,
        readme=(ROOT / ".ci" / "dist" / "PACKAGE.md").read_bytes(),
    )


def distribution(out: Path) -> None:
    build("wasm")
    WASM.parent.mkdir(exist_ok=True)
    shutil.copyfile(TARGET_DIR / WASM_TARGET / "release" / "mcp_policy.wasm", WASM)
    build(TARGET)
    epoch, version = epoch_of_source(), crates.version()
    of_filter, of_command = crates.of_build(WASM_TARGET), crates.of_build(TARGET)
    both = sorted({crate.purl: crate for crate in [*of_filter, *of_command]}.values(), key=lambda crate: (crate.name, crate.version))
    licences = crates.licences(both).encode()
    binary, command = the_command(epoch, licences)
    files = {
        "mcp_policy.wasm": WASM.read_bytes(),
        "mcp_policy.wasm.cdx.json": sbom.of("mcp_policy.wasm", "library", WASM_TARGET, WASM.read_bytes(), epoch, of_filter).encode(),
        "mcp-policy.cdx.json": sbom.of("mcp-policy", "application", TARGET, command.binary, epoch, of_command).encode(),
        "LICENSES.txt": licences,
        f"CHANGELOG-{version}.md": changes((ROOT / "CHANGELOG.md").read_text(), version).encode(),
        f"mcp-policy-filter-{version}.oci.tar": image_tar(oci.of_filter(WASM, licences, version, epoch), epoch),
        f"mcp-policy-{version}.oci.tar": image_tar(oci.of_command(binary, licences, version, epoch), epoch),
        **dict([packages.archive(command, TARGET), packages.wheel(command), packages.deb(command)]),
        **dict([packages.chart(ROOT / "envoy" / "kubernetes" / "chart", version, command.licence, epoch)]),
        **packages.npm(command),
    }
    files["SHA256SUMS"] = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())).encode()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, data in sorted(files.items()):
        (out / name).write_bytes(data)
        print(f"{shown(out)}/{name}: {len(data)} bytes")


def image_tar(layout: dict[str, bytes], epoch: int) -> bytes:
    return archives.tar({name: archives.Entry(data) for name, data in layout.items()}, epoch)


def changes(changelog: str, version: str) -> str:
    """The part of the changelog that is about this version; before it is cut, what is not released."""
    parts = re.split(r"^(?=## )", changelog, flags=re.MULTILINE)
    for title in (f"## {version}", "## Unreleased"):
        for part in parts:
            if part.splitlines()[0].split(" (")[0].split(" - ")[0].strip() == title:
                return part.strip() + "\n"
    sys.exit(f"CHANGELOG.md has neither `## {version}` nor `## Unreleased`")


if __name__ == "__main__":
    main()
