"""The pages of the attacks, and the table of them in README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- The table is written by policies/pages.py. -->\n", "<!-- Its end. -->\n"

# OWASP's lists: LLM applications 2025, agentic applications 2026, MCP (a beta).
OWASP = {
    "LLM01": "Prompt Injection",
    "LLM02": "Sensitive Information Disclosure",
    "LLM03": "Supply Chain",
    "LLM04": "Data and Model Poisoning",
    "LLM05": "Improper Output Handling",
    "LLM06": "Excessive Agency",
    "LLM07": "System Prompt Leakage",
    "LLM08": "Vector and Embedding Weaknesses",
    "LLM09": "Misinformation",
    "LLM10": "Unbounded Consumption",
    "ASI01": "Agent Goal Hijack",
    "ASI02": "Tool Misuse and Exploitation",
    "ASI03": "Identity and Privilege Abuse",
    "ASI04": "Agentic Supply Chain Vulnerabilities",
    "ASI05": "Unexpected Code Execution",
    "ASI06": "Memory and Context Poisoning",
    "ASI07": "Insecure Inter-Agent Communication",
    "ASI08": "Cascading Failures",
    "ASI09": "Human-Agent Trust Exploitation",
    "ASI10": "Rogue Agents",
    "MCP01": "Token Mismanagement and Secret Exposure",
    "MCP02": "Privilege Escalation via Scope Creep",
    "MCP03": "Tool Poisoning",
    "MCP04": "Software Supply Chain Attacks and Dependency Tampering",
    "MCP05": "Command Injection and Execution",
    "MCP06": "Prompt Injection via Contextual Payloads",
    "MCP07": "Insufficient Authentication and Authorization",
    "MCP08": "Lack of Audit and Telemetry",
    "MCP09": "Shadow MCP Servers",
    "MCP10": "Context Injection and Over-Sharing",
}
LISTS = {"LLM": "LLM applications, 2025", "ASI": "agentic applications, 2026", "MCP": "MCP, beta"}


def attacks() -> dict[str, dict[str, Any]]:
    """All attacks by name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(HERE.glob("*.yaml"))}


def pages() -> dict[Path, str]:
    """The page of each attack, and README.md with its table."""
    found = attacks()
    written = {HERE / f"{name}.md": _page(name, attack) for name, attack in found.items()}
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    rows = [f"| [{attack['title']}]({name}.md) | {attack['line']} | {', '.join(attack['owasp'])} |" for name, attack in found.items()]
    table = "\n".join(["| attack | in one line | OWASP |", "|---|---|---|", *rows])
    return {**written, readme: f"{before}{BEGIN}\n{table}\n\n{END}{rest.split(END)[1]}"}


def _page(name: str, attack: dict[str, Any]) -> str:
    incidents = [f"- {each['what'].rstrip('.')}. {each['when']}. <{each['source']}>" for each in attack["incidents"]]
    items = [f"| {item} | {OWASP[item]} | {LISTS[item[:3]]} |" for item in attack["owasp"]]
    parts = [
        f"<!-- Written by policies/pages.py from {name}.yaml. -->",
        f"# {attack['title']}",
        attack["line"],
        "## What happens",
        attack["what"].strip(),
        "## Where it happened",
        "\n".join(incidents),
        "## What OWASP calls it",
        "\n".join(["| item | name | list |", "|---|---|---|", *items]),
        "## What stops it",
        _lines(attack),
        "## The proof",
        _proof(name, attack["steps"]),
        "## What this does not stop",
        attack["beyond"],
    ]
    return "\n\n".join(parts) + "\n"


def _lines(attack: dict[str, Any]) -> str:
    policy = attack["policy"]
    if attack["lines"] == ["filter"]:
        return "No line of a policy: the filter refuses, before any rule, what two readers could read as two things. Any policy does, such as\n\n" + _yaml(policy)
    shown: dict[str, Any] = {}
    for pointer in attack["lines"]:
        *steps, last = [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]
        source, target = policy, shown
        for step in steps:
            if isinstance(source, list):
                # A place in a list is shown with the whole list.
                break
            source, target = source[step], target.setdefault(step, {})
        else:
            if isinstance(source, dict):
                target[last] = source[last]
                continue
        _set(shown, steps[:-1], policy)
    return "These lines, in a policy such as that of the test:\n\n" + _yaml(shown)


def _set(shown: dict[str, Any], steps: list[str], policy: Any) -> None:
    for step in steps[:-1]:
        shown, policy = shown.setdefault(step, {}), policy[step]
    shown[steps[-1]] = policy[steps[-1]]


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=150)
    return f"```yaml\n{text}```"


def _proof(name: str, steps: list[dict[str, Any]]) -> str:
    head = (
        "On a real Envoy each step becomes what stands beside it; without the lines above all of them run, which the same test shows:\n"
        f"`.tools/venv/bin/python -m pytest tests/e2e/test_attack_pages.py -k {name}`"
    )
    rows = [f"| {_step(step)} | {step['becomes']}{_why(step)} |" for step in steps]
    return "\n".join([head, "", "| what is sent | what becomes of it |", "|---|---|", *rows])


def _why(step: dict[str, Any]) -> str:
    return f" (`{step['reason']}`)" if "reason" in step else ""


def _step(step: dict[str, Any]) -> str:
    more = [f"by {step['caller']}"] if "caller" in step else []
    if "headers" in step:
        more.append(", ".join(f"`{key}: {value}`" for key, value in step["headers"].items()))
    if "session" in step:
        more.append(f"in the session `{step['session']}`")
    if step.get("approve"):
        more.append("the user says yes")
    if step.get("replay"):
        more.append("with the answer of before")
    tail = f" ({'; '.join(more)})" if more else ""
    if "open" in step:
        return f"a session is opened{tail}"
    if "list" in step:
        shown = json.dumps(step["list"], ensure_ascii=False)
        return f"the list of tools, as the server has it: {_code(shown)}{tail}"
    if "post" in step:
        return _code(step["post"]) + tail
    call = step["call"]
    tool = json.dumps(call["tool"]).strip('"')
    return _code(f"{tool} {json.dumps(call.get('arguments', {}), ensure_ascii=False)}") + tail


def _code(text: str) -> str:
    return f"`{text.replace('|', '∣')}`"
