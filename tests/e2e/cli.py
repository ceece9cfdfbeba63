"""The command, as a user runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import rig

BINARY = Path(os.environ.get("MCP_POLICY_CLI", rig.ROOT / "target" / "release" / "mcp-policy"))

# What `render` writes an Envoy for, and which file with the engine it names: the filter, or the native module.
ENVOY, FILTER = {
    "wasm": ("envoy", ("--wasm", rig.WASM)),
    "module": ("envoy-module", ("--module", rig.MODULE)),
}[rig.SHELL]

# The policies for well-known servers.
SHIPPED = sorted((rig.ROOT / "policies").glob("*.json"))


def run(
    *arguments: str | Path, expect: int = 0, env: dict[str, str] | None = None, memory: int | None = None, cwd: Path = rig.ROOT
) -> subprocess.CompletedProcess[str]:
    """Runs `mcp-policy` with these arguments; another exit code than the expected one fails, with what it said.

    `memory` bounds what it may take, in KiB of address space.
    """
    if not BINARY.is_file():
        raise rig.RigError(f"{BINARY} does not exist: run `make e2e`, or build the command with `make cli`")
    limited = ["bash", "-c", f'ulimit -v {memory}; exec "$0" "$@"'] if memory else []
    done = subprocess.run(
        [*limited, BINARY, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env={**os.environ, **(env or {})}
    )
    assert done.returncode == expect, f"{done.args} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done
