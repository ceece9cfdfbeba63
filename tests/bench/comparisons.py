"""What the worst requests cost under the worst policies, beside parsing the same bytes: `python tests/bench/comparisons.py`, after `make cli`.

Each line is a policy and a body of a megabyte, judged by the command (the filter's engine, native). `ratio` is its time by that of the same
body under a policy without conditions, which parses it and no more; `ms` is what judging adds. In Envoy's V8 it is about twice as much.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLI = Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/mcp-policy")
CALLS = 20
LONG = 1_000_000


def deny_if(*conditions: dict) -> dict:
    return {"decode_json_strings": False, "deny_if": [{"conditions": [condition]} for condition in conditions]}


def condition(op: str, value: object, path: str = "args.v") -> dict:
    return {"path": path, "op": op, "value": value}


# name: entry, arguments
CASES: dict[str, tuple[dict, dict]] = {
    "one plain regex": (deny_if(condition("regex", r"(?i)\bdrop\b")), {"v": "drop_ " * (LONG // 6)}),
    "a table that is large": (deny_if(condition("regex", "(?:a|b)*a(?:a|b){9}c")), {"v": "abbab" * (LONG // 5)}),
    "a regex state by state": (deny_if(condition("regex", "(?:a|b)*a(?:a|b){20}c")), {"v": "abbab" * (LONG // 5)}),
    "a large counted repetition": (deny_if(condition("regex", r"(?:[ab]\w{0,400}){2}c")), {"v": "ab" * (LONG // 2)}),
    "the same over many elements": (deny_if(condition("regex", "(?:a|b)*a(?:a|b){20}c", "args.v[*]")), {"v": ["abba"] * 125_000}),
    "300 regexes": (deny_if(*(condition("regex", f"(?i)x.*{n}y") for n in range(300))), {"v": "x" * LONG}),
    "300 contains": (deny_if(*(condition("contains", "a" * 30 + str(n)) for n in range(300))), {"v": "a" * LONG}),
    "contains with a long needle over many": (deny_if(condition("contains", "ab" * 100_000, "args.v[*]")), {"v": ["abab"] * 125_000}),
    "in with 1000 over many": (deny_if(condition("in", ["x" * 20 + str(n) for n in range(1000)], "args.v[*]")), {"v": ["x" * 4] * 125_000}),
    "a long glob": (deny_if(condition("glob", "*" + "a?" * 2000 + "b*")), {"v": "a" * LONG}),
    "globs with many stars over many": (deny_if(condition("glob", "*a" * 2000, "args.v[*]")), {"v": ["aaaa"] * 125_000}),
    "300 paths into many": (deny_if(*(condition("eq", n, f"args.v[*].k{n}") for n in range(300))), {"v": [{"k": 1}] * 60_000}),
    "keys that almost fit": (deny_if(*(condition("eq", n, f"args.{'k' * 50}{n}") for n in range(300))), {"k" * 50 + "x" * (n % 7) + hex(n): 1 for n in range(14_000)}),
    "JSON text 50 times": ({**deny_if(*(condition("eq", 1, f"args.v[0].k{n}") for n in range(50))), "decode_json_strings": True}, {"v": json.dumps([{"k": 1}] * 60_000)}),
    "nearly JSON text 300 times": ({"deny_if": deny_if(*(condition("eq", str(n)) for n in range(300)))["deny_if"]}, {"v": "[" + "1," * (LONG // 2) + "x"}),
    "combining characters 100 times": (deny_if(*(condition("contains", str(n)) for n in range(100))), {"v": "e\u0301" * (LONG // 3)}),
    "numbers of a megabyte": (deny_if(*(condition("eq", n) for n in range(300))), {"v": 0}),
}


def seconds(entry: dict, body: str, folder: Path) -> float:
    policy = folder / "policy.json"
    policy.write_text(json.dumps({"version": "1", "default": "deny", "tools": {"t": entry}}))
    log = folder / "log.jsonl"
    times = []
    for calls in (1, CALLS + 1):
        log.write_text((body + "\n") * calls)
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([CLI, "replay", policy, "--log", log], check=True, capture_output=True)
            best = min(best, time.perf_counter() - start)
        times.append(best)
    return (times[1] - times[0]) / CALLS


def main() -> None:
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, (entry, arguments) in CASES.items():
            text = json.dumps(arguments, ensure_ascii=False)
            if name == "numbers of a megabyte":
                text = '{"v": 0.' + "0" * LONG + "1}"
            body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{text}}}}}'
            plain = seconds({}, body, Path(folder))
            judged = seconds(entry, body, Path(folder))
            added = (judged - plain) * 1000 / (len(body.encode()) / 1e6)
            worst = max(worst, added)
            print(f"{name:40} ratio {judged / plain:6.2f}   {added:7.2f} ms per MB more")
    print(f"worst: {worst:.1f} ms per MB")


if __name__ == "__main__":
    main()
