"""The same source makes the same bytes, wherever it lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from conftest import ROOT


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_another_clone_makes_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    changed = git(ROOT, "status", "--porcelain")
    assert not changed, f"a clone has only what is committed, and this is not:\n{changed}"
    # A longer path, of another depth, with a blank in it.
    clone = tmp_path / "another clone" / "somewhere" / "else"
    git(tmp_path, "clone", "--quiet", "--local", str(ROOT), str(clone))
    env = {name: value for name, value in os.environ.items() if name not in ("CARGO_TARGET_DIR", "MCP_POLICY_WASM", "MAKEFLAGS", "SOURCE_DATE_EPOCH")}
    done = subprocess.run(["make", "dist"], cwd=clone, env=env, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    again = clone / "target" / "dist"
    assert sorted(file.name for file in again.iterdir()) == sorted(file.name for file in dist.iterdir())
    different = [file.name for file in sorted(dist.iterdir()) if file.read_bytes() != (again / file.name).read_bytes()]
    assert different == []
    # What was built is half a gigabyte, and pytest keeps what is left for three runs.
    shutil.rmtree(clone / "target")


def test_no_path_of_this_machine_is_in_it(dist: Path) -> None:
    home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    for file in dist.iterdir():
        data = file.read_bytes()
        for path in (str(ROOT), home, os.path.expanduser("~/.rustup")):
            assert path.encode() not in data, f"{path} is in {file.name}"
