"""Agents with the MCP SDKs that people use, each a program of its own under clients/.

[shown] = run(AGENTS["rmcp"], [Session(url, "legacy", "a token", ["tools"], [Step("tool", "echo", {"message": "hi"})])])
shown.lists["tools"], shown.outcomes
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import rig

from servers import CLIENTS, NODE, environment

HERE = Path(__file__).resolve().parent
HTTP_SSE, LEGACY, AUTO, NEWEST = "http+sse", "legacy", "auto", "2026-07-28"


@dataclass(frozen=True)
class Step:
    """One request: the call of a `tool`, the reading of a `resource`, whose name is its URI, or the getting of a `prompt`."""

    kind: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """What an agent is to do: connect, ask for the lists, take the steps, list the tools again, and leave.

    `mode` is how it finds the protocol revision: by the handshake of the revisions up to 2025-11-25, over
    Streamable HTTP or over the HTTP+SSE of 2024-11-05; by asking first; or by taking 2026-07-28 for granted.
    `lists` names the members in which the answers hold them, such as `tools` or `resourceTemplates`.
    `patience` is how many seconds it waits for an answer. `answer` is the action by which it answers every form that
    it is asked to show: `accept`, filled in, `decline` or `cancel`. Without, it says that it cannot show any.
    `gate` is a URL: whoever reads a form answers it when that has been answered (rmcp's agent does not wait).
    """

    url: str
    mode: str
    token: str
    lists: Sequence[str]
    steps: Sequence[Step]
    patience: float = 20
    answer: str = ""
    gate: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a step ended for the program that took it: `result`, or what was `raised`, and the `text` it prints as."""

    result: dict[str, Any] | None = None
    raised: str | None = None
    text: str = ""
    code: int | str | None = None


@dataclass(frozen=True)
class Shown:
    """What an agent was shown in one session."""

    revision: str
    lists: dict[str, list[dict[str, Any]]]
    outcomes: list[Outcome]
    tools_again: list[str]
    # The texts of the forms, in order.
    asked: list[str]


@dataclass(frozen=True)
class Agent:
    """A client program: the SDK with its version, the modes that it knows, and how it is started."""

    sdk: str
    modes: tuple[str, ...]
    argv: tuple[str, ...]
    # Node looks for packages from where a program lies; one that it reads from stdin lies where it runs.
    stdin: Path | None = None


def _version(file: str, name: str) -> str:
    # The whole name: `mcp-server-git` is not `mcp`.
    found = re.search(rf"^\W*{re.escape(name)}(?![-\w]).*?(\d+\.\d+\.\d+)", (HERE / file).read_text(), re.MULTILINE)
    assert found, f"{file} does not say which {name}"
    return f"{name} {found[1]}"


def _typescript(file: str, package: str, *modes: str) -> Agent:
    argv = (str(NODE), "--input-type=module", "-")
    return Agent(_version("clients/package.json", package), modes, argv, HERE / "clients" / file)


AGENTS = {
    "python1": Agent(
        f"Python {_version('clients/requirements.txt', 'mcp')}",
        (HTTP_SSE, LEGACY),
        (str(CLIENTS / "bin" / "python"), str(HERE / "clients" / "python1.py")),
    ),
    "python2": Agent(
        f"Python {_version('requirements.txt', 'mcp')}",
        (HTTP_SSE, LEGACY, AUTO, NEWEST),
        (str(rig.TOOLS / "venv" / "bin" / "python"), str(HERE / "clients" / "python2.py")),
    ),
    "typescript1": _typescript("typescript1.mjs", "@modelcontextprotocol/sdk", HTTP_SSE, LEGACY),
    "typescript2": _typescript("typescript2.mjs", "@modelcontextprotocol/client", HTTP_SSE, LEGACY, AUTO, NEWEST),
    "rmcp": Agent(
        f"Rust {_version('clients/rmcp/Cargo.toml', 'rmcp')}",
        (LEGACY, AUTO, NEWEST),
        (str(rig.ROOT / "target" / "rmcp-client" / "debug" / "rmcp-client"),),
    ),
}


# Built on the Python SDK, so it is met where it goes its own way: it has a handler of its own for forms.
FASTMCP = Agent(
    f"Python {_version('requirements.txt', 'fastmcp')}",
    (LEGACY, AUTO, NEWEST),
    (str(rig.TOOLS / "venv" / "bin" / "python"), str(HERE / "clients" / "fastmcp4.py")),
)


def run(agent: Agent, sessions: Sequence[Session]) -> list[Shown]:
    """Runs the sessions one after the other."""
    if not Path(agent.argv[0]).exists():
        raise rig.RigError(f"no {agent.argv[0]}: run `make clients rmcp-client`")
    with tempfile.TemporaryDirectory(prefix="mcp-policy-agent-") as home:
        done = subprocess.run(
            [*agent.argv, json.dumps([asdict(session) for session in sessions])],
            input=agent.stdin.read_bytes() if agent.stdin else b"",
            capture_output=True,
            cwd=CLIENTS,
            env=environment(Path(home)),
            timeout=60,
        )
    assert done.returncode == 0, f"{agent.sdk} exited with {done.returncode}:\n{done.stderr.decode()[-3000:]}"
    shown = json.loads(done.stdout)
    return [Shown(**{**each, "outcomes": [Outcome(**outcome) for outcome in each["outcomes"]]}) for each in shown]
