"""Programs that `envoy/tools.sh` fetches."""

from __future__ import annotations

import shutil
from pathlib import Path

import rig


def program(name: str, tool: str) -> str:
    """One of those that `envoy/tools.sh TOOL` fetches, or that of PATH where it fetched none."""
    fetched = rig.TOOLS / tool / name
    found = str(fetched) if fetched.is_file() else shutil.which(name)
    if not found:
        raise rig.RigError(f"no {name}: run `envoy/tools.sh {tool}`, or put it on PATH")
    return found
