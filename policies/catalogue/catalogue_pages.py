"""The pages of the catalogue, its data in one file, and what the command has of it."""

from __future__ import annotations

import fnmatch
import html
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMAND = os.environ.get("MCP_POLICY_CLI") or str(ROOT / "target" / "release" / "mcp-policy")
SEVERITIES = ["critical", "high", "medium", "low"]

# Which attacks such access invites: by class, by the flag of an argument, by a mark, by what tools can do together.
ATTACKS = {
    ("class", "destructive"): ["destructive-autonomy", "safety-off"],
    ("class", "financial"): ["refunds-in-slices"],
    ("class", "execute"): ["command-injection"],
    ("class", "write"): ["rewritten-configuration", "runaway-loop"],
    ("class", "unknown"): ["definition-swap"],
    ("class", "read"): ["machine-speed"],
    ("flag", "path"): ["path-traversal", "secrets-in-files"],
    ("flag", "url"): ["ssrf"],
    ("flag", "sql"): ["sql-beyond-reading"],
    ("flag", "code"): ["command-injection"],
    ("flag", "credential"): ["secrets-in-files"],
    ("together", "exfiltration"): ["injection-to-a-way-out", "blind-copies"],
}

# What an argument with these flags can reach is a matter of its value, so a rule has to look at it, or a reason has to say why none does.
LOOKED_AT = {"path", "url", "sql", "code"}

Data = dict[str, Any]


def pages() -> dict[Path, str]:
    """Everything that is written, by its path."""
    servers = [_server(name, about) for name, about in _listed().items() if (HERE / name / "policy.yaml").exists()]
    by_name = sorted(servers, key=lambda server: server["name"])
    riskiest = sorted(servers, key=lambda server: [-server["severities"][each] for each in SEVERITIES] + [server["name"]])
    return {
        HERE / "known.tsv": "".join(_known(server) for server in by_name),
        HERE / "catalogue.json": _data(by_name),
        HERE / "index.html": _index(riskiest),
        **{HERE / server["name"] / "judged.json": _judged(server) for server in by_name},
        ROOT / "src" / "cli" / "catalogue" / "policies.rs": _policies(by_name),
        **{HERE / server["name"] / "index.html": _page(server) for server in by_name},
    }


def _listed() -> dict[str, Data]:
    listed: dict[str, Data] = yaml.safe_load((HERE / "servers.yaml").read_text())
    return listed


def _server(name: str, listed: Data) -> Data:
    scan = json.loads((HERE / name / "tools.json").read_text())
    done = subprocess.run([COMMAND, "scan", "--tools", str(HERE / name / "tools.json"), "--format", "json"], capture_output=True, text=True, check=False)
    inventory = json.loads(done.stdout)
    text = (HERE / name / "policy.yaml").read_text()
    policy = yaml.safe_load(text)
    arguments = {tool["name"]: set(tool.get("inputSchema", {}).get("properties") or {}) for tool in scan["tools"]}
    tools = [{**tool, "policy": _treatment(policy, tool["tool"], arguments[tool["tool"]])} for tool in inventory["tools"]]
    counted = {each: sum(tool["severity"] == each for tool in tools) for each in SEVERITIES}
    return {
        "name": name,
        **{key: scan[key] for key in ("package", "version", "scanned", "calls_itself")},
        "about": listed["about"],
        "severities": counted,
        "together": inventory["combinations"],
        "tools": tools,
        "policy": text,
        "says": policy["description"],
        "attacks": listed.get("attacks", []),
        "unchecked": _unchecked(name, policy, tools, listed.get("unchecked", {})),
    }


def _treatment(policy: Data, tool: str, arguments: set[str]) -> str:
    """What the policy does with a tool, in a few words."""
    entries = policy["tools"]
    keys = [tool] if tool in entries else [key for key in entries if key != "*" and fnmatch.fnmatchcase(tool, key)]
    if not keys:
        return "not listed"
    entry = entries[keys[0]]
    if entry.get("action") in ("deny", "require_approval"):
        return {"deny": "denied", "require_approval": "a person approves"}[entry["action"]]
    conditions = any(key in entry for key in ("require", "deny_if")) or bool(arguments & {each.split(".")[0] for each in _looked_at(entries.get("*", {}))})
    limits = any(key in entry for key in ("limits", "rate_limit"))
    said = [word for word, holds in (("conditions", conditions), ("limits", limits)) if holds]
    return f"allowed, with {' and '.join(said)}" if said else "allowed"


def _unchecked(name: str, policy: Data, tools: list[Data], reasons: dict[str, str]) -> list[tuple[str, str]]:
    """Arguments that can reach far and that no rule looks at, each with the reason of servers.yaml. Raises `ValueError` without one."""
    found = []
    for tool in tools:
        if tool["policy"] in ("denied", "not listed"):
            continue
        entries = [entry for key, entry in policy["tools"].items() if fnmatch.fnmatchcase(tool["tool"], key)]
        looked_at = {argument for entry in entries for argument in _looked_at(entry)}
        for each in tool["flags"]:
            if each["flag"] in LOOKED_AT and not _covers(looked_at, each["argument"]):
                found.append(f"{tool['tool']} {each['argument']}")
    reasoned = [(each, next((reason for pattern, reason in reasons.items() if fnmatch.fnmatchcase(each, pattern)), None)) for each in found]
    if missing := [each for each, reason in reasoned if reason is None]:
        raise ValueError(f"{name}: no rule looks at {', '.join(missing)}: write one, or the reason under `unchecked` of servers.yaml")
    if idle := [pattern for pattern in reasons if not any(fnmatch.fnmatchcase(each, pattern) for each in found)]:
        raise ValueError(f"{name}: `unchecked` has {', '.join(idle)}, which is no such argument")
    return [(each, str(reason)) for each, reason in reasoned]


def _covers(looked_at: set[str], argument: str) -> bool:
    """Whether a rule looks at this argument, at what it is in, or at something in it."""
    return any(each == argument or argument.startswith(f"{each}.") or each.startswith(f"{argument}.") for each in looked_at)


def _looked_at(entry: Data) -> set[str]:
    """The arguments that an entry has conditions on, as `name.member`, without their elements' places."""
    checks = [*entry.get("require", []), *entry.get("deny_if", [])]
    paths = [condition["path"] for check in checks for condition in check["conditions"]]
    return {re.sub(r"\[[^\]]*\]", "", path.removeprefix("args.")) for path in paths if path.startswith("args.")}


# --- For the command --------------------------------------------------------------------------


def _known(server: Data) -> str:
    tools = sorted(tool["tool"] for tool in server["tools"])
    columns = [server["name"], server["package"], server["version"], server["scanned"], server["calls_itself"], server["about"]]
    assert not any(set(text) & set("\t\n") for text in [*columns, *tools]) and not any(" " in tool for tool in tools), server["name"]
    return "\t".join([*columns, " ".join(tools)]) + "\n"


def _policies(servers: list[Data]) -> str:
    rows = [f'    ("{server["name"]}", include_str!("../../../policies/catalogue/{server["name"]}/policy.yaml")),\n' for server in servers]
    # As rustfmt writes them.
    rows = [row if len(row) <= 101 else _broken(server["name"]) for row, server in zip(rows, servers)]
    head = "//! The policies of the catalogue. Written by `policies/pages.py`.\n\n"
    return head + "/// Each with the name of its server.\npub(super) const POLICIES: &[(&str, &str)] = &[\n" + "".join(rows) + "];\n"


def _broken(name: str) -> str:
    return f'    (\n        "{name}",\n        include_str!("../../../policies/catalogue/{name}/policy.yaml"),\n    ),\n'


def _data(servers: list[Data]) -> str:
    """All servers, a line for each."""
    kept = ("name", "package", "version", "scanned", "calls_itself", "about", "severities")
    lines = [_line({**{key: server[key] for key in kept}, "tools": len(server["tools"])}) for server in servers]
    return '{"servers": [\n' + ",\n".join(lines) + "\n]}\n"


def _judged(server: Data) -> str:
    """The tools of a server with class, marks and evidence, and what the policy does with each: a line for each."""
    kept = ("class", "severity", "confidence", "marks", "flags", "mark_evidence", "proposal", "policy")
    lines = []
    for tool in server["tools"]:
        evidence = [each for each in tool["evidence"] if not each.startswith(tuple(f"{mark}: " for mark in tool.get("mark_evidence", {})))]
        lines.append(_line({"name": tool["tool"], "evidence": evidence, **{key: tool[key] for key in kept if tool.get(key)}}))
    return '{"tools": [\n' + ",\n".join(lines) + "\n]}\n"


def _line(value: Data) -> str:
    return f"  {json.dumps(value, ensure_ascii=False)}"


# --- For people -------------------------------------------------------------------------------

SEARCH = """
const field = document.getElementById("search"), count = document.getElementById("count");
const rows = [...document.querySelectorAll("tbody tr")].map(row => [row, row.textContent.toLowerCase() + " " + row.dataset.tools]);
function show() {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const [row, text] of rows) {
    row.hidden = !words.every(word => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  count.textContent = shown + " of " + rows.length + " servers";
}
field.addEventListener("input", show);
field.hidden = false;
show();
"""


def _document(title: str, body: str, style: str, script: str = "") -> str:
    scripts = f"<script>{script}</script>\n" if script else ""
    return (
        "<!-- Written by policies/pages.py. -->\n<!doctype html>\n"
        f'<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f'<link rel="stylesheet" href="{style}">\n</head>\n<body>\n{body}\n{scripts}</body>\n</html>\n'
    )


def _index(servers: list[Data]) -> str:
    tools = sum(len(server["tools"]) for server in servers)
    rows = "\n".join(_row(server) for server in servers)
    body = f"""<main>
<h1>Servers, and a policy for each</h1>
<p class="soft">{len(servers)} public MCP servers with {tools} tools, each installed and scanned, the riskiest first: by its tools of critical severity, then of high, then of medium.
A policy that somebody has read through stands beside each, with tests that cover it. <code>mcp-policy policy NAME</code> writes it. <a href="README.md">How this is made</a> · <a href="../attacks/README.md">Attacks</a></p>
<p><label for="search">Search by name, package, purpose or tool</label>
<input id="search" type="search" autocomplete="off" hidden></p>
<p class="soft" id="count" aria-live="polite">{len(servers)} servers</p>
<div class="wide"><table>
<thead><tr><th scope="col">server</th><th scope="col">what it is for</th><th scope="col">critical</th><th scope="col">high</th><th scope="col">medium</th><th scope="col">low</th><th scope="col">version, scanned</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
</main>"""
    return _document("Servers, and a policy for each", body, "style.css", SEARCH)


def _row(server: Data) -> str:
    numbers = "".join(f'<td class="number {each if server["severities"][each] else ""}">{server["severities"][each]}</td>' for each in SEVERITIES)
    names = html.escape(" ".join(tool["tool"].lower() for tool in server["tools"]), quote=True)
    name, package = html.escape(server["name"]), html.escape(server["package"])
    return (
        f'<tr data-tools="{names}"><td class="name"><a href="{name}/index.html">{name}</a><br><code class="soft">{package}</code></td><td>{html.escape(server["about"])}</td>'
        f'{numbers}<td class="soft date">{html.escape(server["version"])}<br>{server["scanned"]}</td></tr>'
    )


def _page(server: Data) -> str:
    name = html.escape(server["name"])
    together = "".join(f"<li>{html.escape(each['meaning'])}</li>" for each in server["together"])
    attacks = "".join(f'<li><a href="../../attacks/{each}.md">{html.escape(each.replace("-", " "))}</a></li>' for each in _attacks(server))
    rows = "\n".join(_tool(tool) for tool in server["tools"])
    unchecked = "".join(f"<li><code>{html.escape(each)}</code>: {html.escape(reason)}</li>" for each, reason in server["unchecked"])
    numbers = ", ".join(f'<span class="{each}">{server["severities"][each]} {each}</span>' for each in SEVERITIES if server["severities"][each])
    body = f"""<main>
<p><a href="../index.html">All servers</a></p>
<h1>{name}</h1>
<p>{html.escape(server["about"])}</p>
<p class="soft"><code>{html.escape(server["package"])}</code> {html.escape(server["version"])}, scanned on {server["scanned"]}; it calls itself <code>{html.escape(server["calls_itself"])}</code>. {len(server["tools"])} tools: {numbers}.</p>
{f'<h2>What its tools can do together</h2><ul>{together}</ul>' if together else ""}
<h2>Attacks on such access</h2>
<ul>{attacks}</ul>
<h2>The policy</h2>
<p>{html.escape(server["says"])}</p>
<pre>mcp-policy policy {name} --output policy.yaml
mcp-policy diff policy.yaml --was policies/catalogue/{name}/tools.json -- COMMAND   # what your server has that this one had not</pre>
<pre>{html.escape(server["policy"])}</pre>
<p class="soft"><a href="policy.yaml">policy.yaml</a> · <a href="policy.test.yaml">its tests</a> · <a href="tools.json">the tools as the server lists them</a></p>
{f'<h2>What no rule looks at, and why</h2><ul>{unchecked}</ul>' if unchecked else ""}
<h2>Its tools</h2>
<div class="wide"><table>
<thead><tr><th scope="col">tool</th><th scope="col">severity, class</th><th scope="col">marks</th><th scope="col">evidence</th><th scope="col">by the policy</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
</main>"""
    return _document(f"{server['name']}: tools, risk and a policy", body, "../style.css")


def _tool(tool: Data) -> str:
    flags = [f"{each['argument']} ({each['flag']})" for each in tool["flags"]]
    evidence = [*tool["evidence"], *tool["mark_evidence"].values(), *(each["evidence"] for each in tool["flags"])]
    kind = tool["class"] if "proposal" not in tool else f"{tool['class']} ({tool['proposal']['class']}?)"
    cells = [
        f"<code>{html.escape(tool['tool'])}</code>",
        f'<span class="{tool["severity"]}">{tool["severity"]}</span>, {html.escape(kind)}',
        html.escape(", ".join([*(each.replace("_", " ") for each in tool["marks"]), *flags])),
        html.escape("; ".join(dict.fromkeys(str(each) for each in evidence))),
        html.escape(tool["policy"]),
    ]
    classes = ["", ' class="severity"', "", "", ""]
    return "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, cells)) + "</tr>"


def _attacks(server: Data) -> list[str]:
    found: list[str] = [*server["attacks"]]
    for each in server["together"]:
        found += ATTACKS.get(("together", each["kind"]), [])
    for tool in server["tools"]:
        for each in tool["flags"]:
            found += ATTACKS.get(("flag", each["flag"]), [])
        found += ATTACKS.get(("class", tool["class"]), [])
    return [*dict.fromkeys([*found, "hidden-but-callable", "definition-swap"])]
