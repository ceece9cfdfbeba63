"""Runs a composite action as GitHub's runner does: its inputs, the environment of its steps, and bash with the runner's options.

https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import rig
import yaml

ACTION = rig.ROOT / "action.yml"


@dataclass
class Outcome:
    """What a run of the action came to."""

    code: int = 0
    printed: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


def run_action(work: Path, runner: Path, path: str, **inputs: str) -> Outcome:
    """Runs action.yml in a folder of work; `runner` is for the runner's own files."""
    runner.mkdir()
    action = yaml.safe_load(ACTION.read_text())
    unknown = set(inputs) - {name.replace("-", "_") for name in action["inputs"]}
    assert not unknown, unknown
    given = {name: inputs.get(name.replace("-", "_"), spec["default"]) for name, spec in action["inputs"].items()}
    output, summary = runner / "output", runner / "summary"
    outcome = Outcome()
    for step in action["runs"]["steps"]:
        if not holds(step.get("if"), given):
            continue
        assert step["shell"] == "bash"
        script = runner / "step.sh"
        # What the runner would put into a script as code is not there: inputs come as environment alone.
        assert "${{" not in step["run"]
        script.write_text(step["run"])
        env = {name: filled(str(value), given) for name, value in step.get("env", {}).items()}
        env |= {"GITHUB_ACTION_PATH": str(rig.ROOT), "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            cwd=work, env={"PATH": path, "HOME": os.environ.get("HOME", "/"), **env}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        outcome.printed += done.stdout + done.stderr
        outcome.code = done.returncode
        if done.returncode:
            break
    if output.exists():
        outcome.outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    outcome.summary = summary.read_text() if summary.exists() else ""
    return outcome


def filled(text: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


def holds(condition: str | None, inputs: dict[str, str]) -> bool:
    """The only condition that the action uses: an input that is not a word."""
    if condition is None:
        return True
    found = re.fullmatch(r"inputs\.([\w-]+) != '(.*)'", condition)
    assert found, condition
    return inputs[found[1]] != found[2]
