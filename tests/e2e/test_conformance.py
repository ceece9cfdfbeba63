"""The official conformance suite of MCP: through the filter a server behaves as it does without it.

The suite plays the client: some eighty scenarios in two revisions, with streams that are resumed, requests
of the server's own, elicitation, sampling, tasks, caching and headers that do not agree.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fleet import Policy
from servers import NODE, NPM, Route, Routes, environment, governing, serving_python

REVISIONS = ["2025-11-25", "2026-07-28"]

ALLOW_ALL: Policy = {"version": "1", "default": "allow"}
# Everything is looked at, everything is counted, every list is filtered, sessions are sealed, and nothing is denied.
GENEROUS: Policy = {
    "version": "1",
    "default": "deny",
    "hide": ["no_such_tool"],
    "all_tools": {
        "limits": [
            {"counter": "all", "window": "day", "max": 1_000_000, "scope": "global"},
            {"counter": "own", "window": "minute", "max": 1_000_000, "algorithm": "sliding"},
            {"counter": "done", "window": "month", "max": 1_000_000, "count": "successes"},
        ]
    },
    "tools": {
        "test_*": {
            "require": [{"conditions": [{"path": "args.no_such_argument", "op": "exists", "value": False}]}],
            "deny_if": [{"conditions": [{"path": "args.prompt", "op": "eq", "value": "no such prompt"}]}],
            "rate_limit": {"max": 1_000_000, "window": 60},
        },
        "json_schema_*": {"limits": [{"counter": "schemas", "window": "5m", "max": 1_000_000, "scope": "session"}]},
        # The suite also calls tools that the server does not have.
        "*_*": {},
        "greet": {},
        "*": {"deny_if": [{"conditions": [{"path": "args.no.such.path[0]", "op": "exists", "value": True}]}]},
    },
    "methods": {
        "default": "deny",
        "initialize": {},
        "ping": {"rate_limit": {"max": 1_000_000, "window": 60}},
        "*/*": {"limits": [{"counter": "methods", "window": "hour", "max": 1_000_000}]},
    },
    "resources": {
        "default": "deny",
        "hide": ["test://no-such-resource"],
        "test://*": {
            "require": [{"conditions": [{"path": "args.uri", "op": "starts_with", "value": "test://"}]}],
            "limits": [{"counter": "resources", "window": "day", "max": 1_000_000, "scope": "global"}],
        },
    },
    "prompts": {
        "default": "deny",
        "hide": ["no_such_prompt"],
        "no_such_prompt": {},
        "test_*": {"limits": [{"counter": "prompts", "window": "week", "max": 1_000_000, "count": "successes"}]},
    },
    "sessions": {"pin": True},
}

# What was checked, by scenario: the check and how it ended.
Results = dict[str, list[tuple[str, str]]]


class Suite:
    """The conformance suite, and the ways on which it meets the server."""

    def __init__(self, server: str, routes: Routes, directory: Path) -> None:
        self._server = server
        self._routes = routes
        self._directory = directory

    @cache
    def run(self, revision: str, route: str | None) -> tuple[bool, Results]:
        """Runs what the revision requires of a server, through a route, or straight at the server.

        Says whether all that the revision scores has passed, and what came of every check.
        """
        url = self._server if route is None else self._routes.url(route)
        out = self._directory / f"{revision}-{route}"
        argv = [str(NODE), str(NPM / "conformance" / "dist" / "index.js"), "server", "--url", url]
        done = subprocess.run(
            [*argv, "--requirements", revision, "-o", str(out)],
            capture_output=True,
            text=True,
            env=environment(self._directory),
            timeout=120,
        )
        assert out.is_dir(), f"the suite did not run: {done.stdout[-3000:]}{done.stderr[-1000:]}"
        return done.returncode == 0, {_scenario(path): _checks(path) for path in sorted(out.iterdir())}


def _scenario(path: Path) -> str:
    found = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[-\d]+Z", path.name)
    assert found, f"the suite names its results in a new way: {path.name}"
    return found[1]


def _checks(path: Path) -> list[tuple[str, str]]:
    checks = json.loads((path / "checks.json").read_text())
    return [(check["id"], check["status"] + " " + check.get("errorMessage", "")) for check in checks]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    directory = tmp_path_factory.mktemp("conformance")
    with serving_python(directory) as port:
        routes = {
            "plain": Route(port),
            "allow_all": Route(port, ALLOW_ALL),
            "generous": Route(port, GENEROUS),
        }
        with governing(routes) as governed:
            yield Suite(f"http://localhost:{port}/mcp", governed, directory)


@pytest.mark.parametrize("route", ["plain", "allow_all", "generous"])
@pytest.mark.parametrize("revision", REVISIONS)
def test_the_same_checks_pass(suite: Suite, revision: str, route: str) -> None:
    conforms, direct = suite.run(revision, None)
    assert conforms and len(direct) >= 30, direct.keys()
    still_conforms, through = suite.run(revision, route)
    assert through.keys() == direct.keys()
    different = {name: (direct[name], through[name]) for name in direct if direct[name] != through[name]}
    assert not different, json.dumps(different, indent=1)
    assert still_conforms
