"""Which crates are in a build, and their licences, as cargo knows them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What every Rust program has in it beside its crates.
STANDARD_LIBRARY = "std"


@dataclass(frozen=True)
class Crate:
    """A crate of a build."""

    name: str
    version: str
    licence: str
    folder: Path
    repository: str
    digest: str
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:cargo/{self.name}@{self.version}"


def cargo(*arguments: str) -> str:
    """What cargo prints."""
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@cache
def version() -> str:
    """The version of the product."""
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


@cache
def rust_version() -> str:
    """The version of the compiler, and so of the standard library."""
    return subprocess.run(["rustc", "--version"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[1]


def of_build(target: str) -> list[Crate]:
    """The crates that are linked into a build for this target, without what only runs while it is built."""
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    digests = dict(re.findall(r'name = "(.*)"\nversion = .*\nsource = .*\nchecksum = "(.*)"', (ROOT / "Cargo.lock").read_text()))
    lock = re.findall(r'name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"', (ROOT / "Cargo.lock").read_text())
    digests = {(name, found): digest for name, found, digest in lock}
    packages = {package["id"]: package for package in metadata["packages"]}
    linked = set()
    tree = cargo("tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none", "--format", "{p}")
    for line in tree.splitlines():
        name, found = line.split()[:2]
        linked.add((name, found.removeprefix("v")))
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    crates = []
    for id_, package in packages.items():
        key = (package["name"], package["version"])
        if key not in linked or package["name"] == "mcp-policy":
            continue
        needs = [packages[other["pkg"]] for other in nodes[id_]["deps"] if any(kind["kind"] is None for kind in other["dep_kinds"])]
        needs = sorted(f"pkg:cargo/{each['name']}@{each['version']}" for each in needs if (each["name"], each["version"]) in linked)
        crates.append(
            Crate(
                *key,
                licence=package["license"] or "",
                folder=Path(package["manifest_path"]).parent,
                repository=package["repository"] or "",
                digest=digests.get(key, ""),
                needs=tuple(needs),
            )
        )
    return sorted(crates, key=lambda crate: (crate.name, crate.version))


def licence_texts(crate: Crate) -> list[str]:
    """The texts of licences and notices that the crate brings."""
    found = []
    for file in sorted(crate.folder.iterdir()):
        if file.is_file() and re.match(r"(licen[sc]e|copying|notice|unlicense|copyright)", file.name, re.IGNORECASE):
            text = file.read_text(encoding="utf-8", errors="replace")
            found.append("\n".join(line.rstrip() for line in text.strip().splitlines()))
    return found


def licences(crates: list[Crate]) -> str:
    """The page of all licences: each text once, with the crates that it is of."""
    of: dict[str, list[str]] = {}
    without = []
    for crate in crates:
        texts = licence_texts(crate)
        title = f"{crate.name} {crate.version} ({crate.licence})"
        for text in texts:
            of.setdefault(text, []).append(title)
        if not texts:
            without.append(f"{title}  {crate.repository}")
    head = (
        "What is in the filter and in the command of mcp-policy beside its own code, which is under Apache-2.0 (LICENSE).\n"
        f"The standard library of Rust {rust_version()} is under MIT or Apache-2.0, https://github.com/rust-lang/rust;\n"
        "the command also has musl's C library in it, under MIT, https://musl.libc.org.\n"
    )
    parts = [head]
    if without:
        parts.append("These crates name their licence, and bring no text of it:\n\n" + "\n".join(f"    {line}" for line in without) + "\n")
    for text, titles in sorted(of.items(), key=lambda item: sorted(item[1])):
        parts.append("\n".join(sorted(titles)) + "\n\n" + "\n".join(f"    {line}".rstrip() for line in text.splitlines()) + "\n")
    return ("\n" + "-" * 120 + "\n\n").join(parts)
