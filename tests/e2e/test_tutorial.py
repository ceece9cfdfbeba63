"""The tutorial is run, command by command, from an empty directory; what it prints must be what the page says.

`MCP_POLICY_BLESS=1` writes what was printed into the page, for review.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import rig

import cli

PAGE = rig.ROOT / "policies" / "TUTORIAL.md"

# What a command that goes on in the background listens on, as the page has it.
READY = {"python shop.py": 8000, "envoy -c": 10000}


@dataclass
class Step:
    """A command of the page, and the lines that it prints there."""

    command: str
    first_line: int
    after: int
    expected: list[str] = field(default_factory=list)


def steps(lines: list[str]) -> list[Step]:
    """The commands of the `console` blocks. A command with `<<'END'` goes on until `END`."""
    found: list[Step] = []
    inside = False
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            end = at
            if "<<'END'" in line:
                end = lines.index("END", at)
            command = "\n".join([line[2:], *lines[at + 1 : end + 1]])
            found.append(Step(command, at, end + 1))
            at = end
        elif inside:
            found[-1].expected.append(line)
        at += 1
    return found


def test_the_tutorial(tmp_path: Path) -> None:
    lines = PAGE.read_text().splitlines()
    listen, admin = rig.free_ports(2)
    # As long as the page's own, so that columns stay columns.
    server = next(port for port in range(7000, 7999) if not rig.listens(port))
    ports = {"8000": str(server), "10000": str(listen), "9901": str(admin)}
    home = tmp_path / "home"
    home.mkdir()
    (home / "mcp-policy").symlink_to(rig.ROOT)
    directory = tmp_path / "empty"
    directory.mkdir()
    path = [str(cli.BINARY.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = {"PATH": ":".join(path), "HOME": str(home)}
    done: list[Step] = []
    background: list[rig.Process] = []
    try:
        for step in steps(lines):
            command = exchanged(step.command, ports)
            if "render" in command and "--for envoy " in command:
                command += f" --listen 127.0.0.1:{ports['10000']} --upstream 127.0.0.1:{ports['8000']} --admin 127.0.0.1:{ports['9901']}"
            if command.endswith("&"):
                [port] = [port for start, port in READY.items() if step.command.startswith(start)]
                process = rig.Process(["bash", "-c", f"cd {directory}; exec {command[:-1]}"], tmp_path, name=f"step-{port}", env=env)
                background.append(process)
                process.start()
                process.wait_until(lambda port=port: rig.listens(int(ports[str(port)])))
                printed = ""
            else:
                run = subprocess.run(
                    ["bash", "-c", command], cwd=directory, env=env, capture_output=True, text=True, timeout=60, check=False
                )
                assert run.returncode == 0, f"{step.command}\n{run.stdout}{run.stderr}"
                printed = run.stdout + run.stderr
            step_printed = exchanged(printed, {new: old for old, new in ports.items()}).splitlines()
            if os.environ.get("MCP_POLICY_BLESS"):
                step.expected = step_printed
            assert matches(step.expected, step_printed), f"$ {step.command}\n" + "\n".join(step_printed)
            done.append(step)
    finally:
        for process in reversed(background):
            process.stop()
    assert len(done) > 10
    if os.environ.get("MCP_POLICY_BLESS"):
        bless(lines, done)


def exchanged(text: str, ports: dict[str, str]) -> str:
    """The text with other ports, so that it runs beside whatever else runs on this machine."""
    return re.sub(r"\b(" + "|".join(ports) + r")\b", lambda found: ports[found[1]], text)


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether each line is as expected; `…` stands for anything."""
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in expected]
    return len(patterns) == len(printed) and all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, printed, strict=True))


def bless(lines: list[str], done: list[Step]) -> None:
    """Writes what was printed under each command."""
    for step in reversed(done):
        end = step.after
        while not lines[end].startswith(("```", "$ ")):
            end += 1
        lines[step.after : end] = step.expected
    with tempfile.NamedTemporaryFile("w", dir=PAGE.parent, delete=False) as new:
        new.write("\n".join(lines) + "\n")
    os.replace(new.name, PAGE)
