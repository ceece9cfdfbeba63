"""What all end-to-end tests share. Every Envoy that they run is checked at its end, see fleet.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "envoy"))

import rig  # noqa: E402
from dynamic import Dynamic, dynamic_listener  # noqa: E402
from upstream import Upstream  # noqa: E402

# With `-n 2` each worker (gw0, gw1) takes every second port, so that none takes a port that another has picked and not opened yet.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
rig.PORTS = rig.PORTS[WORKER :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


# What takes longest begins first, so that at the end no worker runs one long file while the others have nothing left. Seconds of a worker, roughly;
# the rest takes less.
LONGEST = {
    "page": 370, "approvals_clients": 360, "render": 280, "counting": 280, "gateway_file": 270, "changes": 230, "fleet": 215, "regex": 150, "scan": 140,
    "clients": 120, "approvals_approver": 100, "doctor": 80, "gateway_page": 70, "approvals": 70, "conformance": 65, "tutorial": 60, "sessions": 45,
    "streams": 45, "telling": 40, "pins_servers": 40, "hold": 40, "attacks": 40, "replies": 35, "bindings": 35, "approver": 35, "authors": 35,
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "wasm_only(reason): says something of the filter in a VM that the native module cannot be asked")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: -LONGEST.get(item.path.stem.removeprefix("test_"), 0))
    for item in items:
        if rig.SHELL != "wasm" and (mark := item.get_closest_marker("wasm_only")):
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """A recording HTTP/1.1 server, new for every module."""
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def dynamic(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dynamic]:
    """An Envoy whose listener can be replaced, new for every module."""
    with dynamic_listener(upstream, tmp_path_factory.mktemp("lds")) as running:
        yield running
