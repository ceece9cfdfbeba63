"""What agents meet in test_clients.py: a server, the policy before it, the steps they take, and what must come of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import rig

from agents import AUTO, HTTP_SSE, LEGACY, NEWEST, Step
from fleet import Policy

# A step is answered as without the filter; or with the error of this code and text, in which {name} is the step's; or
# with a result that says it is an error, and has this text.
ALLOWED = "allowed"
REASON = "Only for people."


@dataclass(frozen=True)
class Refused:
    """A JSON-RPC error."""

    code: int
    text: str


@dataclass(frozen=True)
class Told:
    """A tool's result with `isError`."""

    text: str


@dataclass(frozen=True)
class Unanswered:
    """Nothing, until the agent gives up."""


Fate = str | Refused | Told | Unanswered
DENIED = Refused(403, REASON)
NOT_LISTED = Refused(403, "`{name}` is not allowed by policy.")
LIMITED = Refused(429, "`{name}`: at most 1 per month; retry in ")
NO_TOOL = Refused(-32602, "Unknown tool: {name}")
NO_RESOURCE = Refused(-32602, "Resource not found: {name}")
NO_PROMPT = Refused(-32602, "Unknown prompt: {name}")


@dataclass(frozen=True)
class Case:
    """One server behind one policy. `visible` is what each list shows; the server has more in it."""

    server: str
    policy: Policy
    modes: tuple[str, ...]
    visible: dict[str, list[str]]
    steps: list[tuple[Step, Fate]]
    patience: float = 20


def _tool(name: str, arguments: dict[str, Any], fate: Fate) -> tuple[Step, Fate]:
    return Step("tool", name, arguments), fate


def _resource(uri: str, fate: Fate) -> tuple[Step, Fate]:
    return Step("resource", uri), fate


def _prompt(name: str, arguments: dict[str, Any], fate: Fate) -> tuple[Step, Fate]:
    return Step("prompt", name, arguments), fate


def _once(counter: str) -> Policy:
    return {"limits": [{"counter": counter, "window": "month", "max": 1}]}


# --- server-everything: event streams with ids, and nothing newer than 2025-11-25 -------------

_DOCUMENTS = "demo://resource/static/document/"
_EVERYTHING: Policy = {
    "version": "1",
    "default": "deny",
    "hide": ["get-env"],
    "tools": {
        "echo": {},
        "get-env": {},
        "get-sum": _once("sums"),
        "get-tiny-image": {"action": "deny", "reason": REASON},
    },
    "resources": {
        "default": "deny",
        "hide": [_DOCUMENTS + "startup.md"],
        _DOCUMENTS + "*": {},
        _DOCUMENTS + "structure.md": {"action": "deny", "reason": REASON},
        "demo://resource/dynamic/text/*": _once("texts"),
    },
    "prompts": {
        "default": "deny",
        "hide": ["completable-*"],
        "simple-prompt": {},
        "completable-*": {},
        "args-prompt": {"action": "deny", "reason": REASON},
    },
    "sessions": {"pin": True},
}
_SHOWN_DOCUMENTS = ["architecture", "extension", "features", "how-it-works", "instructions", "structure"]
_EVERYTHING_VISIBLE = {
    "tools": ["echo", "get-sum", "get-tiny-image"],
    "resources": [f"{_DOCUMENTS}{name}.md" for name in _SHOWN_DOCUMENTS],
    "resourceTemplates": ["demo://resource/dynamic/text/{resourceId}"],
    "prompts": ["simple-prompt", "args-prompt"],
}
_EVERYTHING_STEPS = [
    _tool("echo", {"message": "hi"}, ALLOWED),
    _tool("get-tiny-image", {}, DENIED),
    _tool("get-sum", {"a": 1, "b": 2}, ALLOWED),
    _tool("get-env", {}, NO_TOOL),
    _tool("get-sum", {"a": 3, "b": 4}, LIMITED),
    _tool("get-structured-content", {"location": "Chicago"}, NOT_LISTED),
    _resource(_DOCUMENTS + "features.md", ALLOWED),
    _resource(_DOCUMENTS + "structure.md", DENIED),
    _resource(_DOCUMENTS + "startup.md", NO_RESOURCE),
    _resource("demo://resource/dynamic/text/1", ALLOWED),
    _resource("demo://resource/dynamic/text/2", LIMITED),
    _resource("demo://resource/dynamic/blob/1", NOT_LISTED),
    _prompt("simple-prompt", {}, ALLOWED),
    _prompt("args-prompt", {"city": "Bonn"}, DENIED),
    _prompt("completable-prompt", {"department": "Engineering", "name": "Alice"}, NO_PROMPT),
    _tool("echo", {"message": "still here"}, ALLOWED),
]

# --- The everything-server of the Python SDK: JSON in 2026-07-28, event streams before and for progress ----

_PYTHON: Policy = {
    "version": "1",
    "default": "deny",
    "hide": ["test_audio_*"],
    "tools": {
        "test_simple_text": {},
        "test_error_handling": {},
        "test_audio_content": {},
        "test_tool_with_progress": _once("progress"),
        "test_image_content": {"action": "deny", "reason": REASON},
    },
    "resources": {
        "default": "deny",
        "hide": ["test://watched-resource"],
        "test://static-*": {},
        "test://watched-resource": {},
        "test://static-binary": {"action": "deny", "reason": REASON},
        "test://template/*": _once("templates"),
    },
    "prompts": {
        "default": "deny",
        "hide": ["test_prompt_with_embedded_*"],
        "test_simple_prompt": {},
        "test_prompt_with_arguments": _once("prompts"),
        "test_prompt_with_embedded_*": {},
        "test_prompt_with_image": {"action": "deny", "reason": REASON},
    },
}
_PYTHON_VISIBLE = {
    "tools": ["test_simple_text", "test_image_content", "test_tool_with_progress", "test_error_handling"],
    "resources": ["test://static-text", "test://static-binary"],
    "resourceTemplates": ["test://template/{id}/data"],
    "prompts": ["test_simple_prompt", "test_prompt_with_arguments", "test_prompt_with_image"],
}

# --- prometheus-mcp-server with the shipped policy, a limit that a test can reach, and a tool that is hidden ----

_SHIPPED: Policy = json.loads((rig.ROOT / "policies" / "prometheus.json").read_text())
_QUERIES = {**_SHIPPED["tools"]["execute_query"], **_once("queries_here")}
_PROMETHEUS = {**_SHIPPED, "hide": ["get_metric_metadata"], "tools": {**_SHIPPED["tools"], "execute_query": _QUERIES}}

CASES = {
    "server-everything": Case("server-everything", _EVERYTHING, (LEGACY, AUTO), _EVERYTHING_VISIBLE, _EVERYTHING_STEPS),
    # The transport of 2024-11-05 answers a POST with 202, and the result comes on one long stream. An answer counts
    # only there, and that is another request, so nobody but the server can give one.
    "http+sse": Case(
        "server-everything-sse",
        _EVERYTHING,
        (HTTP_SSE,),
        _EVERYTHING_VISIBLE,
        [
            _tool("echo", {"message": "hi"}, ALLOWED),
            _tool("get-tiny-image", {}, Unanswered()),
            _tool("get-sum", {"a": 1, "b": 2}, ALLOWED),
            _resource(_DOCUMENTS + "features.md", ALLOWED),
        ],
        patience=3,
    ),
    "everything-server": Case(
        "everything-server",
        _PYTHON,
        (LEGACY, AUTO, NEWEST),
        _PYTHON_VISIBLE,
        [
            _tool("test_simple_text", {}, ALLOWED),
            _tool("test_image_content", {}, DENIED),
            _tool("test_tool_with_progress", {}, ALLOWED),
            _tool("test_audio_content", {}, NO_TOOL),
            _tool("test_tool_with_progress", {}, LIMITED),
            _tool("test_multiple_content_types", {}, NOT_LISTED),
            _tool("test_error_handling", {}, ALLOWED),
            _resource("test://static-text", ALLOWED),
            _resource("test://static-binary", DENIED),
            _resource("test://watched-resource", NO_RESOURCE),
            _resource("test://template/7/data", ALLOWED),
            _resource("test://template/8/data", LIMITED),
            _prompt("test_simple_prompt", {}, ALLOWED),
            _prompt("test_prompt_with_image", {}, DENIED),
            _prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}, ALLOWED),
            _prompt("test_prompt_with_arguments", {"arg1": "c", "arg2": "d"}, LIMITED),
            _prompt("test_prompt_with_embedded_resource", {"resourceUri": "test://x"}, NO_PROMPT),
            _tool("test_simple_text", {}, ALLOWED),
        ],
    ),
    "tool results": Case(
        "everything-server",
        {**_PYTHON, "denials": {"as": "tool_result"}},
        (LEGACY, AUTO, NEWEST),
        _PYTHON_VISIBLE,
        [
            _tool("test_image_content", {}, Told(DENIED.text)),
            _tool("test_tool_with_progress", {}, ALLOWED),
            _tool("test_tool_with_progress", {}, Told(LIMITED.text)),
            _tool("test_multiple_content_types", {}, Told(NOT_LISTED.text)),
            _tool("test_audio_content", {}, NO_TOOL),
            _resource("test://static-binary", DENIED),
            _prompt("test_prompt_with_image", {}, DENIED),
            _tool("test_simple_text", {}, ALLOWED),
        ],
    ),
    "prometheus": Case(
        "prometheus",
        _PROMETHEUS,
        (LEGACY, AUTO, NEWEST),
        {"tools": ["execute_query", "execute_range_query", "list_metrics", "get_targets"]},
        [
            _tool("get_targets", {}, Refused(403, _SHIPPED["tools"]["get_targets"]["reason"])),
            _tool("get_metric_metadata", {"metric": "up"}, NO_TOOL),
            _tool("execute_query", {"query": '{__name__=~".+"}'}, Refused(403, _SHIPPED["tools"]["*"]["deny_if"][0]["on_deny"])),
            _tool("execute_query", {"query": "prometheus_build_info"}, ALLOWED),
            _tool("execute_query", {"query": "up"}, LIMITED),
            _tool("health_check", {}, NOT_LISTED),
            _tool("list_metrics", {"limit": 5}, ALLOWED),
        ],
    ),
}
