"""Pages whose commands are run: the `console` blocks of a Markdown file, from an empty directory, with what they print.

    Page(rig.ROOT / "policies" / "TUTORIAL.md", ready={"python shop.py": 8000}).run(directory, {"8000": "7123"})

A line that begins with `$ ` is a command; with `<<'END'` it goes on until `END`, and one that ends in `&` goes on in the background until
the page is done. What follows is what it prints, `…` standing for anything. `MCP_POLICY_BLESS=1` writes what was printed into the page,
for review.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import rig

import cli


@dataclass
class Step:
    """A command of the page, and the lines that it prints there."""

    command: str
    first_line: int
    after: int
    expected: list[str] = field(default_factory=list)


def steps(lines: list[str]) -> list[Step]:
    """The commands of the `console` blocks."""
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


@dataclass
class Page:
    """A page, and what its commands in the background listen on, as the page has it, by their first words."""

    file: Path
    ready: Mapping[str, int]
    # Programs that the page calls by other names than they have here: a folder before all others in PATH.
    programs: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, tmp_path: Path, texts: Mapping[str, str], options: Mapping[str, str] = {}) -> list[Step]:
        """Runs all commands, with other ports and paths in the place of the page's own.

        `options` are added to commands that contain a text, such as ports that the page leaves to their defaults.
        """
        lines = self.file.read_text().splitlines()
        directory = tmp_path / "empty"
        directory.mkdir()
        env = self._environment(tmp_path)
        done: list[Step] = []
        background: list[rig.Process] = []
        try:
            for step in steps(lines):
                command = exchanged(step.command, texts)
                for text, more in options.items():
                    if re.search(text, command):
                        command += " " + more
                if command.endswith("&"):
                    [port] = [port for start, port in self.ready.items() if step.command.startswith(start)]
                    where = int(texts.get(str(port), port))
                    # Two that could be restarted hot do not run side by side, as pages of other tests do.
                    alone = " --disable-hot-restart" if re.search(r"(^| )envoy -c", command) else ""
                    process = rig.Process(["bash", "-c", f"cd {directory}; exec {command[:-1]}{alone}"], tmp_path, name=f"step-{where}", env=env)
                    background.append(process)
                    process.start()
                    process.wait_until(lambda where=where: rig.listens(where), seconds=60)
                    printed = ""
                else:
                    ran = subprocess.run(
                        ["bash", "-c", command], cwd=directory, env=env, capture_output=True, text=True, timeout=120, check=False
                    )
                    logs = "\n".join(process.log_tail() for process in background)
                    assert ran.returncode == 0, f"{step.command}\n{ran.stdout}{ran.stderr}\n{logs}"
                    printed = ran.stdout + ran.stderr
                step_printed = exchanged(printed, {new: old for old, new in texts.items()}).splitlines()
                if os.environ.get("MCP_POLICY_BLESS") and not matches(step.expected, step_printed):
                    step.expected = step_printed
                assert matches(step.expected, step_printed), f"$ {step.command}\n" + "\n".join(step_printed)
                done.append(step)
        finally:
            for process in reversed(background):
                process.stop()
            if os.environ.get("MCP_POLICY_BLESS"):
                bless(self.file, lines, done)
        return done

    def _environment(self, tmp_path: Path) -> dict[str, str]:
        home = tmp_path / "home"
        home.mkdir()
        (home / "mcp-policy").symlink_to(rig.ROOT)
        path = [str(cli.BINARY.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
        if self.programs:
            path.insert(0, str(self.programs))
        return {"PATH": ":".join(path), "HOME": str(home), **self.env}


def exchanged(text: str, texts: Mapping[str, str]) -> str:
    """The text with other ports and paths, so that it runs beside whatever else runs on this machine."""
    return re.sub(r"(?<![\w-])(" + "|".join(map(re.escape, texts)) + r")(?!\w)", lambda found: texts[found[1]], text)


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether each line is as expected; `…` stands for anything."""
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in expected]
    return len(patterns) == len(printed) and all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, printed, strict=True))


def bless(page: Path, lines: list[str], done: list[Step]) -> None:
    """Writes what was printed under each command."""
    for step in reversed(done):
        end = step.after
        while not lines[end].startswith(("```", "$ ")):
            end += 1
        lines[step.after : end] = step.expected
    with tempfile.NamedTemporaryFile("w", dir=page.parent, delete=False) as new:
        new.write("\n".join(lines) + "\n")
    os.chmod(new.name, 0o644)
    os.replace(new.name, page)
