"""Tests of what `make dist` leaves in target/dist: `make dist-test`. They are not a part of `make test`, as they build a release twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e"), str(ROOT / ".ci" / "dist")]


@pytest.fixture(scope="session")
def dist() -> Path:
    """The release that was built here."""
    folder = ROOT / "target" / "dist"
    assert (folder / "SHA256SUMS").is_file(), "there is no release: run `make dist-test`, which builds it first"
    return folder
