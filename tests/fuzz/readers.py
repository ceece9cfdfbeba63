"""Whatever the filter lets through, servers read as it did: the same method, tool, arguments and id, whichever reader of JSON they use.

    make fuzz-readers                   for SECONDS_EACH (60), from a new seed; what `make fuzz` has found of requests goes through too
    tests/e2e/test_readers.py           the same for one seed and some thousand bodies

Bodies are honest messages that were changed where readers differ: keys twice and disguised, escapes and surrogates, numbers, marks, NUL,
depth, encodings, what stands before and after. The filter's own reading comes from `reading.rs`. Readers that are there are the real ones:
Python's json, pydantic's parser, the models of the MCP SDK for Python, and in `readers.mjs` those of JavaScript. Others are models of what
their documentation says: Go's, which folds the case of keys, in its whole and its streaming form; one that takes the first of two keys;
one whose texts end at a NUL. A reader that refuses a body does not run it, and is content.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pydantic_core
from mcp_types.jsonrpc import jsonrpc_message_adapter

ROOT = Path(__file__).resolve().parents[2]
READING = Path(os.environ.get("MCP_POLICY_READING", ROOT / "target" / "debug" / "examples" / "reading"))
CLIENTS = ROOT / ".tools" / "clients"
POLICY: dict[str, Any] = {
    "version": "1",
    "default": "allow",
    "hide": ["secret"],
    "tools": {
        "never": {"action": "deny"},
        "pay": {"require": [{"conditions": [{"path": "args.amount", "op": "lte", "value": 5}]}]},
        "pick": {"deny_if": [{"conditions": [{"path": "args.kind", "op": "eq", "value": "root"}]}]},
    },
}

# --- Bodies -----------------------------------------------------------------------------------

# A message as a tree whose objects are lists of pairs, so that keys can come twice; bytes stand for themselves.
Tree = Any


def _tree(value: object) -> Tree:
    if isinstance(value, dict):
        return [(key, _tree(item)) for key, item in value.items()]
    if isinstance(value, list):
        return tuple(_tree(item) for item in value)
    return value


def _call(name: str, arguments: object, id: object = 7) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


HONEST: list[object] = [
    _call("search", {"q": "x", "limit": 10, "deep": {"a": [1, {"b": None}]}}),
    _call("pay", {"amount": 5, "to": "a"}),
    _call("pay", {"amount": 4.5, "note": "é ☃ 😀"}, "id-1"),
    _call("pick", {"kind": "user", "Kind": "other"}, -1),
    _call("never", {}),
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "a", "_meta": {"progressToken": 1}}},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": "r", "method": "resources/read", "params": {"uri": "file:///a"}},
    {"jsonrpc": "2.0", "id": 2, "result": {"content": []}},
    [_call("search", {}, 1), _call("pay", {"amount": 1}, 2), {"jsonrpc": "2.0", "method": "notifications/x"}],
]
NUMBERS = b"1e400 -1e400 1e-400 -0 -0.0 0e0 1.0 1e0 10e-1 5.0000000000000000001 9007199254740993 18446744073709551616 1E+2 00 01 0x10 1_0 +1 .5 5. NaN Infinity -Infinity 1n 4.999999999999999999999 5e0 0.5e1 6 true null \"5\" []".split()
TEXTS = [b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"never\\u0000"', b'"a\x00"', b'"a\tb"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\\x61"', b'"\\u{61}"', b'"\\U0061"', b"'a'", b'"\\/"', b'"\\a"', b'"\xe2\x80\xa8"', b'"\\uD800\\u0061"', b'"root"', b'"never"', b'"\\u006eever"', b'"n\xc2\xadever"', b'"NEVER"']
AFTER = [b" ", b"\n\r\t", b"\x00", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xe2\x80\xa8", b",", b"}", b"]", b"//x", b"/**/", b"#x", b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"never"}}', b"null", b";", b"\x1a", b"\xff", b"\x1e"]
BEFORE = [b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe", b" ", b"\n", b"\x00", b"\x0b", b"\xc2\xa0", b")]}',\n", b"//x\n", b"\x1e", b"\xe2\x80\x8b"]
CODECS = ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be", "utf-32", "utf-7", "utf-8-sig", "latin-1", "cp037"]
DISGUISES: list[Callable[[str], str]] = [
    str.upper,
    str.title,
    str.swapcase,
    lambda key: key.replace("s", "ſ"),
    lambda key: key.replace("k", "\u212a"),
    lambda key: key.replace("i", "ı"),
    lambda key: key.replace("I", "İ"),
    lambda key: key + "\0",
    lambda key: key + "\0x",
    lambda key: "\0" + key,
    lambda key: key + " ",
    lambda key: "\ufeff" + key,
    lambda key: key + "\u200b",
    lambda key: key[:1] + "\u00ad" + key[1:],
    lambda key: key.replace("a", "а"),
    lambda key: "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in key),
    lambda key: key.replace("o", "o\u0301"),
    lambda key: key.replace("e", "é"),
    lambda key: key.replace("u", "_u"),
    lambda key: "__proto__",
    lambda key: "constructor",
    lambda key: "toString",
    lambda key: key + "[]",
    lambda key: "$" + key,
    lambda key: "@" + key,
    lambda key: key[:-1],
    lambda key: "",
]


class Mutator:
    """Changes honest messages, always alike for the same seed."""

    def __init__(self, seed: int, others: Iterable[bytes] = ()) -> None:
        self._random = random.Random(seed)
        self._others = list(others)

    def bodies(self, count: int) -> Iterator[bytes]:
        """Changed bodies."""
        choose = self._random
        for _ in range(count):
            if self._others and choose.random() < 0.3:
                body = choose.choice(self._others)
            else:
                tree = _tree(choose.choice(HONEST))
                for _ in range(choose.choice([0, 1, 1, 1, 2, 3])):
                    tree = self._changed(tree)
                body = self._written(tree)
            for _ in range(choose.choice([0, 0, 0, 0, 1, 2])):
                body = self._bytes_changed(body)
            yield body

    def _changed(self, tree: Tree) -> Tree:
        """Changes one place of a tree."""
        choose = self._random
        if isinstance(tree, tuple) and tree and choose.random() < 0.9:
            at = choose.randrange(len(tree))
            return (*tree[:at], self._changed(tree[at]), *tree[at + 1 :])
        if isinstance(tree, list) and tree:
            at = choose.randrange(len(tree))
            key, value = tree[at]
            if choose.random() < 0.55 and (isinstance(value, (list, tuple)) or choose.random() < 0.5):
                return [*tree[:at], (key, self._changed(value)), *tree[at + 1 :]]
            return self._member_changed(list(tree), at)
        return self._value()

    def _member_changed(self, members: list[tuple[str, Tree]], at: int) -> Tree:
        choose = self._random
        key, value = members[at]
        other = key if choose.random() < 0.3 else choose.choice(DISGUISES)(key)
        replaced = choose.choice([value, self._value(), self._value(), [("amount", 9), ("name", "never"), ("kind", "root")]])
        match choose.randrange(6):
            case 0:
                members[at] = (other, value)
            case 1 | 2:
                members.insert(choose.randrange(len(members) + 1), (other, replaced))
            case 3:
                members.pop(at)
            case 4:
                choose.shuffle(members)
            case _:
                members[at] = (key, replaced)
        return members

    def _value(self) -> Tree:
        choose = self._random
        match choose.randrange(6):
            case 0 | 1:
                return choose.choice(NUMBERS)
            case 2 | 3:
                return choose.choice(TEXTS)
            case 4:
                levels = choose.choice([1, 2, 60, 120, 124, 126, 128, 130, 500, 1100])
                opened, closed = choose.choice([(b"[", b"]"), (b'{"a":', b"}")])
                return opened * levels + b"1" + closed * levels
            case _:
                return _tree(choose.choice([{}, [], "x", True, None, {"name": "never"}, ["never"], _call("never", {})]))

    def _text(self, text: str) -> bytes:
        """A text in some of the spellings that JSON has for it."""
        choose = self._random
        if choose.random() < 0.8:
            return json.dumps(text, ensure_ascii=choose.random() < 0.5).encode("utf-8", "surrogatepass")
        return b'"' + b"".join(b"\\u%04x" % each if choose.random() < 0.5 else json.dumps(chr(each))[1:-1].encode() for each in struct.unpack(f"<{len(text.encode('utf-16-le', 'surrogatepass')) // 2}H", text.encode("utf-16-le", "surrogatepass"))) + b'"'

    def _written(self, tree: Tree) -> bytes:
        space = self._random.choice([b"", b"", b"", b" ", b"\n\t"])
        if isinstance(tree, bytes):
            return tree
        if isinstance(tree, list):
            return b"{" + (b"," + space).join(self._text(key) + b":" + space + self._written(value) for key, value in tree) + b"}"
        if isinstance(tree, tuple):
            return b"[" + (b"," + space).join(map(self._written, tree)) + b"]"
        return self._text(tree) if isinstance(tree, str) else json.dumps(tree).encode()

    def _bytes_changed(self, body: bytes) -> bytes:
        choose = self._random
        at = choose.randrange(len(body) + 1)
        match choose.randrange(7):
            case 0:
                return body + choose.choice(AFTER)
            case 1:
                return choose.choice(BEFORE) + body
            case 2:
                try:
                    return body.decode().encode(choose.choice(CODECS))
                except UnicodeError:
                    return body
            case 3:
                return body[:at] + choose.choice(AFTER + BEFORE + [b'"', b"\\", b"{", b"[", b":"]) + body[at:]
            case 4:
                return body[:at] + body[at + choose.randrange(1, 4) :]
            case 5:
                return body[:at] + bytes([choose.randrange(256)]) + body[at + 1 :]
            case _:
                # A piece of it once more.
                end = min(len(body), at + choose.randrange(1, 40))
                return body[:end] + b"," * choose.randrange(2) + body[at:end] + body[end:]


# --- Readers ----------------------------------------------------------------------------------


class Refused(Exception):
    """A reader does not take a body."""


def _pairs_first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _folded(key: str) -> str:
    """As Go folds keys: letters of ASCII, and the two others that fold to one."""
    return key.replace("ſ", "s").replace("\u212a", "k").lower() if key.isascii() or "ſ" in key or "\u212a" in key else key


def _go(text: str, *, streaming: bool) -> Any:
    """Go's encoding/json into structs: keys in any case, the last one counts; arguments stay a map of exact keys."""
    pairs_of: dict[int, list[tuple[str, Any]]] = {}

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        pairs_of[id(made)] = pairs
        kept.append(made)
        return made

    kept: list[dict[str, Any]] = []
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    decoder = json.JSONDecoder(object_pairs_hook=keep, parse_constant=_no_constant)
    value = decoder.raw_decode(text.lstrip(" \t\r\n"))[0] if streaming else decoder.decode(text)

    def struct(value: Any, fields: tuple[str, ...]) -> Any:
        if not isinstance(value, dict):
            return value
        found = {_folded(key): item for key, item in pairs_of[id(value)]}
        return {field: found[field] for field in fields if field in found}

    def message(value: Any) -> Any:
        read = struct(value, ("jsonrpc", "id", "method", "params"))
        if isinstance(read, dict) and "params" in read:
            read["params"] = struct(read["params"], ("name", "arguments", "uri"))
        return read

    return [message(each) for each in value] if isinstance(value, list) else message(value)


def _no_constant(name: str) -> Any:
    raise Refused(name)


def _sdk(body: bytes) -> Any:
    message = jsonrpc_message_adapter.validate_json(body, by_name=False)
    return message.model_dump(exclude_unset=True)


# What each reader makes of a body, as plain values.
READERS: dict[str, Callable[[bytes], Any]] = {
    "Python's json": json.loads,
    "Python's json of a text": lambda body: json.loads(body.decode("utf-8", "replace")),
    "pydantic": pydantic_core.from_json,
    "Python SDK": _sdk,
    "Go, whole": lambda body: _go(body.decode("utf-8", "replace"), streaming=False),
    "Go, streaming": lambda body: _go(body.decode("utf-8", "replace"), streaming=True),
    "the first value": lambda body: json.JSONDecoder().raw_decode(body.decode("utf-8", "replace").lstrip())[0],
    "the first of two keys": lambda body: json.loads(body.decode("utf-8", "replace"), object_pairs_hook=_pairs_first),
}


def asked(value: Any) -> list[dict[str, Any]]:
    """What a server does for a body that it has read: for each message its method and id, and of a call the tool and the arguments."""
    messages = value if isinstance(value, list) else [value]
    return [_asked(message) for message in messages]


def _asked(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return {}
    found = {key: message[key] for key in ("method", "id") if message.get(key) is not None}
    params = message.get("params")
    if message["method"] == "tools/call" and isinstance(params, dict):
        found.update({key: params[key] for key in ("name", "arguments") if key in params})
    return found


def _typed(value: Any) -> Any:
    """The same with its types: Python takes True for 1, and 1 for 1.0."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value), value)


def differences(body: bytes, reading: dict[str, Any]) -> list[str]:
    """Where a reader in Python reads a body in another way than the filter, or the filter not as it would write it."""
    ours, found = reading["messages"], []
    for name, reader in {**READERS, "the filter's own writing": lambda _: json.loads(reading["written"])}.items():
        try:
            theirs = asked(reader(body))
        except (ValueError, RecursionError, Refused):
            continue
        if _typed(theirs) != _typed(ours):
            found.append(f"{name}: {theirs}, not {ours}")
    return found


# --- The comparison ---------------------------------------------------------------------------


def javascript(bodies: list[bytes], lines: list[str]) -> list[list[str]]:
    """Where readers in JavaScript differ. The filter's readings go there as they are: no number passes through Python."""
    rows = [f'{{"body":"{base64.b64encode(body).decode()}",{line[1:]}\n' for body, line in zip(bodies, lines)]
    script = Path(__file__).with_name("readers.mjs")
    done = subprocess.run([CLIENTS / "bin" / "node", script, CLIENTS / "node_modules"], input="".join(rows).encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    """Compares until the time is over; 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    ends, seed, counts = time.monotonic() + given.seconds, given.seed, Counter[str]()
    while time.monotonic() < ends:
        found = compare(seed, 4000, counts)
        print(f"seed {seed}: {dict(counts)}", flush=True)
        if found:
            print("\n".join(found[:20]), file=sys.stderr)
            return 1
        seed += 1
    return 0


def _found() -> Iterator[bytes]:
    """What `make fuzz` has found of requests, without the byte that says how they are cut."""
    for file in sorted((ROOT / "target" / "fuzz" / "corpus" / "request").glob("*")):
        # A fuzzer that runs meanwhile takes some away.
        with contextlib.suppress(FileNotFoundError):
            yield file.read_bytes()[1:]


def compare(seed: int, count: int, counts: Counter[str], corpus: bool = True) -> list[str]:
    """Compares some bodies; returns the differences."""
    bodies = list(Mutator(seed, _found() if corpus else []).bodies(count))
    with tempfile.TemporaryDirectory() as directory:
        policy = Path(directory) / "policy.json"
        policy.write_text(json.dumps(POLICY))
        sent = b"".join(struct.pack("<I", len(body)) + body for body in bodies)
        done = subprocess.run([READING, policy], input=sent, stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(bodies), f"{len(lines)} readings of {len(bodies)} bodies"
    passed = [(body, line) for body, line in zip(bodies, lines) if line != "-"]
    found = []
    for body, line in passed:
        found += [f"{body[:600]!r}\n  {each}" for each in differences(body, json.loads(line))]
    there = javascript([body for body, _ in passed], [line for _, line in passed])
    assert len(there) == len(passed)
    for (body, _), differing in zip(passed, there):
        found += [f"{body[:600]!r}\n  {each}" for each in differing]
    counts["bodies"] += len(bodies)
    counts["let through"] += len(passed)
    return found


if __name__ == "__main__":
    sys.exit(main())
