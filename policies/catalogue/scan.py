"""Installs the servers of servers.yaml, scans each, and shows how it differs from what is kept here.

    .tools/venv/bin/python policies/catalogue/scan.py                 # all of them, in their newest versions: an hour
    .tools/venv/bin/python policies/catalogue/scan.py git sqlite      # some
    .tools/venv/bin/python policies/catalogue/scan.py --write git     # and keeps what it found: read the difference first

It installs into .tools/catalogue, starts each server in an empty folder of its own, and talks to loopback and the
package registries only. It needs the command (`make cli`, or $MCP_POLICY_CLI), and Node for servers of npm.
Exit codes: 0 nothing differs, 1 something does, or a server could not be scanned.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOOLS = ROOT / ".tools"
COMMAND = os.environ.get("MCP_POLICY_CLI") or str(ROOT / "target" / "release" / "mcp-policy")
# A server that imports a cloud's whole SDK takes its time on a busy machine.
PATIENCE = 120


class Unscannable(Exception):
    """Why there is no scan of a server, in a line."""


@dataclass(frozen=True)
class CatalogueServer:
    """A server of servers.yaml."""

    name: str
    package: str
    run: list[str]
    about: str
    env: dict[str, str]
    beside: list[str]

    @property
    def registry(self) -> str:
        """`pypi` or `npm`."""
        return self.package.split(":", 1)[0]

    @property
    def distribution(self) -> str:
        """Its name in the registry."""
        return self.package.split(":", 1)[1]

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return HERE / self.name


def servers() -> list[CatalogueServer]:
    """All servers of servers.yaml, in its order."""
    read: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "servers.yaml").read_text())
    return [
        CatalogueServer(name, each["package"], each["run"], each["about"], each.get("env", {}), each.get("with", []))
        for name, each in read.items()
    ]


# --- What is kept -----------------------------------------------------------------------------


def kept(server: CatalogueServer) -> dict[str, Any] | None:
    """The scan that is kept of a server."""
    path = server.folder / "tools.json"
    return json.loads(path.read_text()) if path.exists() else None


def keep(server: CatalogueServer, found: dict[str, Any]) -> None:
    """Writes a scan: a line for each tool, so that differences can be read."""
    server.folder.mkdir(exist_ok=True)
    head = {key: value for key, value in found.items() if key != "tools"}
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    tools = ",\n".join(f"    {json.dumps(tool, ensure_ascii=False, separators=(',', ':'))}" for tool in found["tools"])
    (server.folder / "tools.json").write_text("{\n" + ",\n".join(lines) + ',\n  "tools": [\n' + tools + "\n  ]\n}\n")


def drift(before: dict[str, Any] | None, now: dict[str, Any]) -> list[str]:
    """What differs between two scans, a line for each tool."""
    if before is None:
        return [f"not scanned before: {len(now['tools'])} tools"]
    was, is_now = ({tool["name"]: tool for tool in scan["tools"]} for scan in (before, now))
    lines = [f"new   {name}" for name in is_now if name not in was]
    lines += [f"gone  {name}" for name in was if name not in is_now]
    for name in (name for name in is_now if name in was and is_now[name] != was[name]):
        parts = sorted(key for key in {*was[name], *is_now[name]} if was[name].get(key) != is_now[name].get(key))
        lines.append(f"other {name}: {', '.join(parts)}")
    return lines


# --- Installing and scanning ------------------------------------------------------------------


def install(server: CatalogueServer, folder: Path) -> tuple[str, Path]:
    """Installs the newest version; returns it, and the folder of its commands."""
    if server.registry == "pypi":
        place = folder / "environment"
        pip = str(uv())
        if not (place / "bin" / "python").exists():
            checked([pip, "venv", "--quiet", "--python", sys.executable, str(place)], folder)
        python = ["--python", str(place / "bin" / "python")]
        checked([pip, "pip", "install", "--quiet", "--upgrade", *python, server.distribution, *server.beside], folder)
        listed = checked([pip, "pip", "list", *python, "--format", "json"], folder)
        same = {plain(each["name"]): each["version"] for each in json.loads(listed)}
        return same[plain(server.distribution)], place / "bin"
    packages = [f"{each}@latest" for each in (server.distribution, *server.beside)]
    checked(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), *packages], folder)
    about = json.loads((folder / "node_modules" / server.distribution / "package.json").read_text())
    return about["version"], folder / "node_modules" / ".bin"


def plain(name: str) -> str:
    """A name as PyPI compares it."""
    return name.lower().replace("_", "-").replace(".", "-")


def uv() -> Path:
    """The installer for Python; pip takes ten times as long for as many environments."""
    place = TOOLS / "catalogue" / ".uv"
    if not (place / "bin" / "uv").exists():
        checked([sys.executable, "-m", "venv", str(place)], TOOLS)
        checked([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"], TOOLS)
    return place / "bin" / "uv"


def checked(command: list[str], folder: Path, env: dict[str, str] | None = None) -> str:
    """Runs a command; returns what it prints."""
    try:
        ran = subprocess.run(command, cwd=folder, env=env or environment(), capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        raise Unscannable(f"{command[0]} took ten minutes") from None
    if ran.returncode != 0:
        said = [line for line in ran.stderr.strip().splitlines() if line.strip()] or ["nothing said"]
        raise Unscannable(f"{Path(command[0]).name} {command[1]}: {' / '.join(said[-3:])[:300]}")
    return ran.stdout


def environment() -> dict[str, str]:
    """Ours, with the Node that the tests use first, if it is there."""
    return {**os.environ, "PATH": f"{TOOLS / 'clients' / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def scan(server: CatalogueServer, sts: str) -> dict[str, Any]:
    """Installs and scans a server."""
    place = TOOLS / "catalogue" / server.name
    place.mkdir(parents=True, exist_ok=True)
    version, commands = install(server, place)
    with tempfile.TemporaryDirectory(prefix="catalogue-") as directory:

        def filled(text: str) -> str:
            return text.replace("{dir}", directory).replace("{sts}", sts)

        env = {**environment(), **{key: filled(value) for key, value in server.env.items()}, "HOME": directory, "NO_COLOR": "1"}
        command, *arguments = [filled(each) for each in server.run]
        path = shutil.which(command, path=str(commands))
        if path is None:
            raise Unscannable(f"{server.distribution} {version} has no command {command}")
        scanning = [COMMAND, "scan", "--timeout", str(PATIENCE)]
        tools = checked([*scanning, "--as", "tools", "--", path, *arguments], Path(directory), env)
        named = checked([*scanning, "--format", "json", "--", path, *arguments], Path(directory), env)
    return {
        "package": server.package,
        "version": version,
        "scanned": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "calls_itself": json.loads(named)["servers"][0]["name"],
        "tools": sorted(map(defined, json.loads(tools)["tools"]), key=lambda tool: tool["name"]),
    }


def defined(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool without `_meta`, which is no part of its definition."""
    return {key: value for key, value in tool.items() if key != "_meta"}


class _Identity(BaseHTTPRequestHandler):
    """Answers as AWS STS does when it is asked who is asking."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = (
            b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            b"<Arn>arn:aws:iam::000000000000:user/nobody</Arn><UserId>NOBODY</UserId><Account>000000000000</Account>"
            b"</GetCallerIdentityResult><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        )
        self.send_response(200)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """A Prometheus that has nothing, for servers that ask it something before they list their tools."""
        body = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@contextmanager
def identity_service() -> Iterator[str]:
    """The address of a stub of AWS STS on loopback: some servers end at once where nobody says who they are."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Identity) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


def main() -> int:
    """Scans what is asked for, and says what differs."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", help="servers of servers.yaml; all of them if none is named")
    arguments.add_argument("--write", action="store_true", help="keep what was found")
    arguments.add_argument("--at-once", type=int, default=2, help="how many servers at a time")
    asked = arguments.parse_args()
    known = {server.name: server for server in servers()}
    if unknown := set(asked.names) - set(known):
        arguments.error(f"not in servers.yaml: {', '.join(sorted(unknown))}")
    (TOOLS / "catalogue").mkdir(parents=True, exist_ok=True)
    uv()
    differs = False
    with identity_service() as sts, ThreadPoolExecutor(asked.at_once) as pool:
        wanted = [known[name] for name in asked.names or known]
        for server, done in [(server, pool.submit(scan, server, sts)) for server in wanted]:
            try:
                found = done.result()
            except Unscannable as why:
                differs = True
                print(f"{server.name}: not scanned: {why}", flush=True)
                continue
            before = kept(server)
            lines = drift(before, found)
            versions = found["version"] if before is None or before["version"] == found["version"] else f"{before['version']} → {found['version']}"
            print(f"{server.name} {versions}: {len(lines)} differences", *(f"    {line}" for line in lines), sep="\n", flush=True)
            differs |= bool(lines)
            if asked.write:
                keep(server, found)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
