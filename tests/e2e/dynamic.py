"""An Envoy that is given one listener after another, as a control plane would."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import rig

from fleet import Fleet, Listener, Policy, held
from gateway import until
from upstream import Upstream

# What stands in a line of Envoy's log that is the filter's own, and in one that says that it was refused.
LOGGED, NOT_LOADED = {
    "wasm": ("wasm log", "failed to load"),
    "module": ("[dynamic_modules]", "Failed to initialize dynamic module"),
}[rig.SHELL]

GOOD: Policy = held(
    {
        "version": "1",
        "default": "deny",
        "tools": {"search": {"limits": [{"counter": "c", "window": "month", "max": 5}]}, "delete_account": {"action": "deny"}},
    }
)


@dataclass
class Dynamic:
    """An Envoy that takes its listener from a file."""

    fleet: Fleet
    envoy: rig.Envoy
    file: Path
    version: int = 0
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = self.fleet.port("dynamic")

    def push(self, policy: Policy | str, *changes: Any) -> str:
        """Offers a new listener; returns `success` or `rejected`."""
        before = self.updates()
        self.version += 1
        write(self.file, self.version, self.fleet.listener("dynamic", Listener(policy, *changes)))
        until(lambda: self.updates() != before, "the update")
        after = self.updates()
        [kind] = [kind for kind in after if after[kind] > before[kind]]
        return kind

    def refuse(self, policy: Policy | str, *changes: Any) -> str:
        """Offers a listener that must be refused; returns what was logged of it."""
        before = len(self.envoy.log())
        kind = self.push(policy, *changes)
        if kind != "rejected":
            self.push(GOOD)
            pytest.fail(f"a bad configuration is in force: {policy}", pytrace=False)
        # The line about the refusal comes after those about the reasons.
        until(lambda: NOT_LOADED in self.envoy.log()[before:], "the log of the refusal")
        return "\n".join(line for line in self.envoy.log()[before:].splitlines() if LOGGED in line)

    def updates(self) -> dict[str, int]:
        stats = self.envoy.stats(r"^listener_manager\.lds\.update_(success|rejected)$")
        return {name.rsplit("_", 1)[1]: count for name, count in stats.items()}


def write(file: Path, version: int, listener: rig.Config) -> None:
    """Replaces the file in one step, which is what Envoy watches for."""
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"version_info": str(version), "resources": [{"@type": kind, **rig.in_shell(listener)}]}))
    os.replace(new, file)


@contextmanager
def dynamic_listener(upstream: Upstream, directory: Path) -> Iterator[Dynamic]:
    """Runs an Envoy that takes its listener from a file in this directory."""
    file = directory / "lds.json"
    fleet = Fleet(upstream.port)
    fleet.add("sentinel", Listener(None))
    source = {"path": str(file), "watched_directory": {"path": str(directory)}}
    fleet.config["dynamic_resources"] = {"lds_config": {"path_config_source": source, "resource_api_version": "V3"}}
    fleet.config["node"] = {"id": "test", "cluster": "test"}
    write(file, 0, fleet.listener("dynamic", Listener(GOOD)))
    with fleet.run() as envoy:
        dynamic = Dynamic(fleet, envoy, file)
        until(lambda: dynamic.updates()["success"] > 0, "the first listener")
        yield dynamic
