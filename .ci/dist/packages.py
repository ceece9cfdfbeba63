"""Packages that carry the built command: a wheel for PyPI, two packages for npm, one for Debian, and a plain archive. And the chart for Helm."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import archives
from archives import Entry

HERE = Path(__file__).resolve().parent
SUMMARY = "Decides which MCP tool calls an AI agent may make: the command of the Envoy filter"
HOME = "https://github.com/mcp-policy/mcp-policy"


@dataclass(frozen=True)
class Command:
    """The command with all that belongs to it."""

    version: str
    epoch: int
    binary: bytes
    # By the name of their files.
    man: dict[str, bytes]
    completions: dict[str, bytes]
    licence: bytes
    licences: bytes
    readme: bytes

    def shared(self) -> dict[str, Entry]:
        """What lies under `share/`, where shells and man look for it."""
        places = {"bash": "bash-completion/completions/mcp-policy", "zsh": "zsh/site-functions/_mcp-policy", "fish": "fish/vendor_completions.d/mcp-policy.fish"}
        return {
            **{f"man/man1/{name}": Entry(page) for name, page in self.man.items()},
            **{places[shell]: Entry(script) for shell, script in self.completions.items()},
        }


def archive(command: Command, target: str) -> tuple[str, bytes]:
    """An archive to unpack anywhere."""
    name = f"mcp-policy-{command.version}-{target}"
    files = {
        f"{name}/bin/mcp-policy": Entry(command.binary, 0o755),
        f"{name}/LICENSE": Entry(command.licence),
        f"{name}/LICENSES.txt": Entry(command.licences),
        **{f"{name}/share/{path}": entry for path, entry in command.shared().items()},
    }
    return f"{name}.tar.gz", archives.tar_gz(files, command.epoch)


def chart(folder: Path, version: str, licence: bytes, epoch: int) -> tuple[str, bytes]:
    """A packed chart: https://helm.sh/docs/topics/charts/. `helm package` would write the time of day into it."""
    name = "mcp-policy-envoy"
    files = {str(file.relative_to(folder)): archives.of(file) for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")}
    entries = {f"{name}/{path}": entry for path, entry in {**files, "LICENSE": Entry(licence)}.items()}
    return f"{name}-{version}.tgz", archives.tar_gz(entries, epoch)


def wheel(command: Command) -> tuple[str, bytes]:
    """A wheel: https://packaging.python.org/en/latest/specifications/binary-distribution-format/. The binary is static, so it runs
    with any C library."""
    tags = ["manylinux_2_17_x86_64", "musllinux_1_1_x86_64"]
    base = f"mcp_policy-{command.version}"
    info = f"{base}.dist-info"
    metadata = "\n".join(
        [
            "Metadata-Version: 2.4",
            "Name: mcp-policy",
            f"Version: {command.version}",
            f"Summary: {SUMMARY}",
            "License-Expression: Apache-2.0",
            "License-File: LICENSE",
            "License-File: LICENSES.txt",
            "Keywords: mcp,envoy,policy,model-context-protocol",
            "Requires-Python: >=3.8",
            f"Project-URL: Homepage, {HOME}",
            "Description-Content-Type: text/markdown",
            "",
            command.readme.decode(),
        ]
    )
    facts = ["Wheel-Version: 1.0", "Generator: mcp-policy (make dist)", "Root-Is-Purelib: false", *(f"Tag: py3-none-{tag}" for tag in tags)]
    files = {
        f"{base}.data/scripts/mcp-policy": Entry(command.binary, 0o755),
        **{f"{base}.data/data/share/{path}": entry for path, entry in command.shared().items()},
        f"{info}/METADATA": Entry(metadata.encode()),
        f"{info}/WHEEL": Entry(("\n".join(facts) + "\n").encode()),
        f"{info}/licenses/LICENSE": Entry(command.licence),
        f"{info}/licenses/LICENSES.txt": Entry(command.licences),
    }
    rows = [f"{name},sha256={url_safe(hashlib.sha256(entry.data).digest())},{len(entry.data)}" for name, entry in sorted(files.items())]
    record = f"{info}/RECORD"
    files[record] = Entry(("\n".join([*rows, f"{record},,"]) + "\n").encode())
    # Installers read the facts at the end of the archive first.
    order = sorted(files, key=lambda name: (name.startswith(info), name))
    return f"{base}-py3-none-{'.'.join(tags)}.whl", archives.zip_file(files, command.epoch, order)


def url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def npm(command: Command) -> dict[str, bytes]:
    """The package that people name, and the one with the binary, which npm installs where it fits."""
    common = {"version": command.version, "license": "Apache-2.0", "repository": {"type": "git", "url": f"git+{HOME}.git"}, "homepage": HOME}
    platform = "mcp-policy-linux-x64"
    wrapper = {
        "name": "mcp-policy",
        "description": SUMMARY,
        **common,
        "bin": {"mcp-policy": "mcp-policy.js"},
        "engines": {"node": ">=18"},
        "keywords": ["mcp", "envoy", "policy"],
        "optionalDependencies": {platform: command.version},
    }
    binary = {"name": platform, "description": "The binary of mcp-policy for Linux on x64", **common, "os": ["linux"], "cpu": ["x64"], "files": ["bin"]}
    files = {
        "mcp-policy": {
            "package.json": Entry(pretty(wrapper)),
            "mcp-policy.js": archives.of(HERE / "mcp-policy.js", 0o755),
            "README.md": Entry(command.readme),
            "LICENSE": Entry(command.licence),
        },
        platform: {
            "package.json": Entry(pretty(binary)),
            "bin/mcp-policy": Entry(command.binary, 0o755),
            "LICENSE": Entry(command.licence),
            "LICENSES.txt": Entry(command.licences),
        },
    }
    return {f"{name}-{command.version}.tgz": archives.tar_gz(each, command.epoch, prefix="package/") for name, each in files.items()}


def pretty(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def deb(command: Command) -> tuple[str, bytes]:
    """A binary package: deb(5). Needs nothing, as the binary is static, and has no scripts."""
    share = {f"usr/share/{path}": entry for path, entry in command.shared().items()}
    # Debian packs manual pages, and calls a folder otherwise.
    share = {packed(path): pack(path, entry) for path, entry in share.items()}
    copyright = f"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: mcp-policy\nSource: {HOME}\n\nFiles: *\nCopyright: the authors of mcp-policy\nLicense: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n .\n What else is in the binary: LICENSES.txt beside this file.\n"
    files = {
        "usr/bin/mcp-policy": Entry(command.binary, 0o755),
        "usr/share/doc/mcp-policy/copyright": Entry(copyright.encode()),
        "usr/share/doc/mcp-policy/LICENSES.txt": Entry(command.licences),
        **share,
    }
    size = sum(len(entry.data) for entry in files.values()) // 1024 + 1
    control = f"Package: mcp-policy\nVersion: {command.version}\nArchitecture: amd64\nMaintainer: the authors of mcp-policy <mcp-policy@users.noreply.github.com>\nInstalled-Size: {size}\nSection: net\nPriority: optional\nHomepage: {HOME}\nDescription: {SUMMARY.split(':')[0]}\n Checks, tests, explains and deploys policies for the Model Context Protocol,\n as the filter of mcp-policy enforces them in Envoy.\n"
    sums = "".join(f"{hashlib.md5(entry.data).hexdigest()}  {path}\n" for path, entry in sorted(files.items()))
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": archives.tar_gz({"control": Entry(control.encode()), "md5sums": Entry(sums.encode())}, command.epoch, True, "./"),
        "data.tar.gz": archives.tar_gz(files, command.epoch, True, "./"),
    }
    return f"mcp-policy_{command.version}_amd64.deb", ar(members, command.epoch)


def packed(path: str) -> str:
    return f"{path}.gz" if "/man/" in path else path.replace("zsh/site-functions", "zsh/vendor-completions")


def pack(path: str, entry: Entry) -> Entry:

    return Entry(gzip.compress(entry.data, 9, mtime=0)) if "/man/" in path else entry


def ar(members: dict[str, bytes], epoch: int) -> bytes:
    """An archive in the common format of ar(5)."""
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{epoch:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out
