"""Whatever the filter lets through, servers read as it did: see `tests/fuzz/readers.py`, of which this is one seed, always the same."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import readers  # noqa: E402

SEED, BODIES = 2026, 6000
CALL = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search","arguments":{"n":1}}}'
SEARCH = {"method": "tools/call", "id": 7, "name": "search", "arguments": {"n": 1}}


def test_servers_read_what_passes_as_the_filter_does() -> None:
    counts: Counter[str] = Counter()
    found = readers.compare(SEED, BODIES, counts, corpus=False)
    assert not found, "\n".join(found[:5])
    # Else most of it was a shot at nothing.
    assert counts["let through"] > BODIES / 10, counts


# A body, what a filter with a fault would have read of it, and who notices.
DIFFERING: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "the last key": (CALL.replace('"name"', '"name":"never","name"'), SEARCH, {"the first of two keys"}),
    "the first key": (CALL.replace(',"arguments"', ',"name":"never","arguments"'), SEARCH, {"Python's json", "pydantic", "Python SDK", "JSON.parse"}),
    "another case": (CALL.replace(',"arguments"', ',"Name":"never","arguments"'), SEARCH, {"Go, whole", "Go, streaming"}),
    "a long s": (CALL.replace("arguments", "argumentſ"), {**SEARCH, "arguments": {}}, {"Go, whole"}),
    "a second value": (CALL.replace("search", "never") + CALL, SEARCH, {"the first value", "Go, streaming"}),
    "another encoding": (CALL.replace("search", "never"), SEARCH, {"Python's json", "body-parser", "TypeScript SDK"}),
    "a number": (CALL.replace(":1}", ":1.0}"), SEARCH, {"Python's json"}),
    "an id": (CALL.replace("7", '"7"'), SEARCH, {"Python's json", "JSON.parse"}),
    "a prototype": (CALL.replace('"n":1', '"__proto__":{"n":2}'), SEARCH, {"JSON.parse"}),
}


@pytest.mark.parametrize("name", DIFFERING)
def test_a_filter_that_read_it_otherwise_would_be_noticed(name: str) -> None:
    text, read, noticing = DIFFERING[name]
    line = json.dumps({"written": CALL, "messages": [read]})
    told = readers.differences(text.encode(), json.loads(line)) + readers.javascript([text.encode()], [line])[0]
    assert noticing <= {each.partition(":")[0] for each in told}, told
