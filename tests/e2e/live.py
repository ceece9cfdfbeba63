"""An Envoy that reads the filter from a folder, and that folder as people and the kubelet fill it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rig
import yaml

import cli
from gateway import until

FILE = "mcp_policy.yaml"
_STATS = "extension_config_discovery.http_filter.mcp_policy"


class Live:
    """A running Envoy, and the folder that it watches."""

    def __init__(self, envoy: rig.Envoy, folder: Path) -> None:
        self.envoy = envoy
        self.folder = folder

    def version(self) -> str:
        """What is live."""
        [line] = self.envoy.admin(f"/stats?filter={_STATS}.version_text").splitlines()
        return line.split(": ", 1)[1].strip('"')

    def count(self, name: str) -> int:
        return self.envoy.stats(rf"^{_STATS}\.{name}$")[f"{_STATS}.{name}"]

    def push(self, policy: Path, *options: str | Path) -> str:
        """Renders the filter into the folder, and waits until it is live."""
        cli.run("render", policy, "--for", "envoy-filter", *cli.FILTER, "--output", self.folder / FILE, "--force", *options)
        wanted = version_of((self.folder / FILE).read_text())
        until(lambda: self.version() == wanted, f"version {wanted}: {self.envoy.log_tail()}")
        return wanted


def version_of(text: str) -> str:
    """The version of a filter's file."""
    return str(yaml.safe_load(text)["version_info"])


@contextmanager
def watching(config: dict[str, Any], folder: Path, concurrency: int = 1) -> Iterator[Live]:
    """Runs an Envoy with this configuration, whose filter is in the folder."""
    with rig.Envoy(config, concurrency=concurrency) as envoy:
        yield Live(envoy, folder)


def rendered(policy: Path, folder: Path, *options: str | Path) -> dict[str, Any]:
    """Envoy's configuration with the filter in that folder."""
    listen, admin = rig.free_ports(2)
    where = ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}", *cli.FILTER]
    return yaml.safe_load(cli.run("render", policy, "--for", cli.ENVOY, "--live", folder, *where, *options).stdout)


def mount(folder: Path, data: dict[str, str]) -> None:
    """Puts the data of a ConfigMap into a mounted folder as the kubelet does (its AtomicWriter): one rename of a link changes all files."""
    folder.mkdir(exist_ok=True)
    new = folder / f"..{time.monotonic_ns()}"
    new.mkdir()
    for name, text in data.items():
        (new / name).write_text(text)
    current = folder / "..data"
    old = current.resolve() if current.is_symlink() else None
    (folder / "..data_tmp").symlink_to(new.name)
    os.rename(folder / "..data_tmp", current)
    for name in data:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    if old:
        shutil.rmtree(old)
