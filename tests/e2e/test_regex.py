"""`regex` means what RE2 means: every pattern that a policy may have finds in every text what PyPI's google-re2 finds, or is refused.

The command judges all pairs of patterns and texts in three processes: one refuses patterns, two replay what is left.
"""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

import cli
import re2

# Patterns that must be taken, as policies have them.
HONEST = [
    "", "a", "abc", "a|b", "^a", "a$", "^$", "^a$", ".", ".*", "a.c", "^.$", "a*", "a+?", "a??", "(a|b)*c", "(?:a|b)+", "(?P<n>a)", "(?<n>a)", "()", "(|a)", "a||b", "(?:)",
    r"^\d+$", r"\D", r"^\D+$", r"\w+", r"^\W$", r"\s", r"^\S+$", r"\bdrop\b", r"\Bx\B", r"\B", r"[\d\s]", r"^[\W_]+$", r"[^\d]", r"^[^\s\w]+$", r"[\D]", r"[^\D]",
    "[a-z]", "[^a-z]", "[]a]", "[^]a]", "[a-]", "[-a]", r"[a\-z]", r"[\]]", r"[\[]", "[a&b]", "[a~b]", "[&]", "[.*+?]", "[[:alpha:]]", "^[[:^alpha:]]$", "[[:word:][:space:]]", "[[:space:]]", "[:alpha:]",
    "(?i)drop", "(?i)k", "(?i)s", "(?i)ſ", "(?i)ß", "(?i)σ", "(?i)İ", "(?i)é", "(?i)[k-s]", r"(?i)\w", r"(?i)^\W$", "(?i)[^s]", "(?i)[[:lower:]]", "(?i)^[[:^upper:]]$", "(?i)a(?-i)b", "a(?i)b|c", "(?i:a)b", "(?is:a.b)",
    "(?s).", "(?s)^.$", "(?m)^b", "(?m)a$", "(?m)^$", r"(?m)\A", r"\Aa", r"a\z", r"(?ms)^.$", "(?U)a+", "(?U:a*?)b", "(?s-i:A.)",
    "a{3}", "a{2,}", "a{1,3}", "^a{0,2}$", "a{0}", "^(ab){2}$", r"\x61", r"\x{e9}", r"\xe9", r"\t", r"\n", r"\.", r"\*", r"\\", r"\-", r"\/", r"\"", r"\~", r"\&", r"\@", r"\ ", r"\}", r"\a\f\v",
    r"^[\w.+-]+@[\w-]+\.[\w.]+$", r"^https://[a-z0-9.-]+(:\d{1,5})?/", r"(?i)\b(drop|delete|truncate)\b", r"[;&|`$]", r"^/data/([^./][^/]*/)*[^./][^/]*$", r"^(\d{1,3}\.){3}\d{1,3}$", r"AKIA[0-9A-Z]{16}", "é", "日本", "^[à-ÿ]$", "^[а-я]+$",
    "^*", "$*", "(^)*a", "(?:a*)*", "(?:a|)+b", "x*", "^.{3}$", "}", "]", "a}", "a]",
]

# Patterns that RE2 and other engines read in two ways, or that one of them does not take. Whatever becomes of them, it is no other meaning.
ODD = [
    "[;&&|]", "[a&&b]", "[&&]", "[a--b]", "[+--]", "[!--/]", "[a~~b]", "[a-z&&[^b]]", "[[]", "[[a]b]", "[a[b]]", "[[a]", r"[[\d]]", "[^[a]]", "[[:foo:]]", "[[:alpha]", "[[=a=]]", "[[.a.]]", "[a-b-c]", "[a-]", "[--a]", "[]-a]", "[^]-a]", "[]-]", "[^--]", "[b-a]", "[]", "[^]", "[a",
    r"\<", r"\>", r"\<a\>", r"\b{start}", r"\b{end}", r"\b{start-half}", r"\b{2}", r"\b*", r"\B+", r"\Q.\E", r"\Qa", r"\E", r"\C", r"\1", r"\0", r"\07", r"\101", r"\8", r"\pL", r"\PN", r"\p{L}", r"\p{Greek}", r"[\pL]", r"[^\p{Lu}]", r"\p{^L}",
    "(?x)a b", "(?x: a )", "(?u)a", "(?-u)a", "(?-u:é)", "(?R)a$", "(?i-)a", "(?-)a", "(?)a", "(?:", "(?", "(?i", "(?a)b", "(?#c)a", "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", "(?>a)", r"(?P=n)", "(?'n'a)", "(?<1>a)", "(?P<1>a)", "(?P<a.b>c)", "(?P<é>c)", "(?P<a>b)(?P<a>c)", "(?ii)a", "(?i-i)a", "(?i)*a",
    "x{,2}", "x{,}", "x{}", "x{", "x{a}", "x{2", "x{2,1}", "x{ 2 }", "x{2, 3}", "{", "{2}", "a{2}{3}", "a**", "a*+", "a++", "a?+", "a???", "a{2}*", "a*{2}", "a{2}?", "a{2}??", "(?:a*)+", "(?:a{2}){3}", "*", "+a", "?", "|*", "(*a)", "a|*",
    "a{1000}", "a{1001}", "a{0,1001}", "a{1001,}", "(a{500}){2}", "(a{500}){3}", "((a{10}){10}){11}", "(a{100}b{1000})", "(a{2,}){501}", "(a{0}){2000}",
    r"\h", r"\H", r"\R", r"\X", r"\K", r"\G", r"\Z", r"\e", r"\cA", r"\N", r"\u0061", r"\u{61}", r"\U00000061", r"\x{}", r"\x{110000}", r"\x{d800}", r"\x6", r"\x{ 61 }", r"\xFF", r"\x{0061}", r"\_", r"\%", r"\#", r"\,", r"\:", r"\=", r"\!", r"\'", r"\`", r"\é", "\\\n", "\\\t", "\\\x7f", "\\",
    "a\tb", "a\nb", "a#b", "(a", "a)", "()*", "(?:$)+a", r"a\zb", r"\z\n", "a^b", "a$b", "$a", "(?m)a$\nb", "(?s)a.b|(?i)C", "(?i)\u212a", "(?i)ς", "(?i)ǅ", "(?i)ŉ", "(?i)ΐ", "(?i)ﬅ", "(?i)ᲀ", "(?i)Ⴀ", "(?i)Ꭰ", "(?i)[\u017f]", "(?i)[^\u212a]", r"(?i)[\W]", r"(?i)[^\w]", r"(?i)[\D]",
    r"\w{3}", r"\d{2,3}\b", r"\s+$", r"(?m)\s$", r"[\s\S]", r"^[\s\S]{2}$", r"[\w\W]", r"[^\w\W]", r"\b\B", r"\b$", r"^\b", r"\B$", r"^\B", r"^\B$", r"a\Bé", r"é\b", r"\bé", r"\b\d+\b",
]

TEXTS = [
    "", "a", "b", "c", "ab", "abc", "aab", "aaa", "A", "B", "C", "aB", "Ab", "a b", "a;b", "a&b", "a&&b", "a|b", "-", "--", "~", "a~b", "a-b", "[", "]", "a]", "[a]", "[]", "<a>", "<", ">", "^", "$", "a$", "{", "}", "x{,2}", "x{}", "x{2", "xx", "xxx",
    "aa", "aaaa", "aaaaaa", "123", "1", "٣", "٣٤", "12 34", " ", "\t", "\n", "\v", "\f", "\r", "\x1c", "\x85", "\u00a0", "\u2028", "a\n", "a\nb", "\na", "\n\n", "a\r\n", "a\r\nb", "_", "é", "éa", "aé", "aéa", "É", "ß", "ẞ", "ss", "SS",
    "ſ", "s", "S", "k", "K", "\u212a", "σ", "ς", "Σ", "İ", "i", "I", "ı", "i\u0307", "ǅ", "ǆ", "日本", "日", "drop", "xdropx", "édropé", "drop table", "DROP", "dropé", "ɒdrop", "\0", "a\0b", "\x7f", "Q.E", ".", "*", "\\", "/", "alpha", ":", "ПРИВЕТ", "привет",
    "a" * 20, "a" * 999, "a" * 1000, "a" * 1001, "user@example.com", "юзер@example.com", "https://a.test:80/x", "/data/a/b", "/data/../b", "1.2.3.4", "१.२.३.४", "AKIAABCDEFGHIJKLMNOP", "😀", "a😀b", "\ufffd", "{start}", "b{start}", "{2}", "u0061", "\u0061", "z", "Z", "ÿ", "à",
]

PIECES = ["a", "b", "B", "é", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\b", r"\B", "^", "$", "[ab]", "[^a]", r"[\d-]", "[a-z]", "&&", "--", "~~", "[", "]", "[[:digit:]]", "(?i)", "(?s)", "(?m)", "(?-i)", "(?i:", "(", ")", "(?:", "|", "*", "+", "?", "{2}", "{0,2}", "{,2}", "{", "}", "\\", "<", "-", ",", "k", "ſ", r"\x6b", r"\z", r"\A", "\n", " "]
CLASS = ["a", "b", "k", "é", "-", "&", "~", "[", "]", "^", r"\d", r"\W", r"\s", "[:alpha:]", "[:^digit:]", ":", "z", "0", r"\-", r"\]", ".", "|", ";"]


def generated(count: int) -> list[str]:
    dice = random.Random(8)
    loose = ("".join(dice.choices(PIECES, k=dice.randint(1, 6))) for _ in range(count))
    classes = ("".join([dice.choice(["", "(?i)", "^"]), "[", dice.choice(["", "^"]), *dice.choices(CLASS, k=dice.randint(1, 5)), "]", dice.choice(["", "+$", "*"])]) for _ in range(count))
    return [*loose, *classes]


def entries(patterns: dict[str, str]) -> dict:
    """A policy with one tool for each pattern, denied where the pattern occurs in `v`."""
    condition = lambda pattern: {"path": "args.v", "op": "regex", "value": pattern}
    tools = {tool: {"decode_json_strings": False, "deny_if": [{"conditions": [condition(pattern)]}]} for tool, pattern in patterns.items()}
    return {"version": "1", "default": "deny", "tools": tools}


def refused(patterns: dict[str, str], folder: Path) -> dict[str, dict]:
    """What `validate` refuses, with message and help, by tool."""
    policy = folder / "all.json"
    policy.write_text(json.dumps(entries(patterns)))
    [report] = json.loads(cli.run("validate", "--format", "json", policy, expect=1).stdout)
    errors = [problem for problem in report["problems"] if problem["severity"] == "error"]
    assert all(problem["code"] == "P010" and problem.get("help") for problem in errors), errors
    return {problem["place"].split(".")[1]: problem for problem in errors}


def test_every_pattern_means_what_re2_means_by_it(tmp_path: Path) -> None:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    theirs, wrong = {}, []
    patterns = {f"t{at}": pattern for at, pattern in enumerate(dict.fromkeys([*HONEST, *ODD, *generated(500)]))}
    for tool, pattern in patterns.items():
        try:
            theirs[tool] = re2.compile(pattern, options)
        except re2.error:
            theirs[tool] = None
    ours = refused(patterns, tmp_path)
    taken = {tool: pattern for tool, pattern in patterns.items() if tool not in ours}
    for tool, pattern in patterns.items():
        if tool in taken and theirs[tool] is None:
            wrong.append(f"{pattern!r}: taken, and RE2 refuses it")
        if tool in ours and pattern in HONEST:
            wrong.append(f"{pattern!r}: {ours[tool]['message']}")
    policy = tmp_path / "taken.json"
    policy.write_text(json.dumps(entries(taken)))
    # Another text is compared in both its forms, and RE2 knows but one.
    texts = [text for text in TEXTS if unicodedata.is_normalized("NFC", text)]
    pairs = [(tool, text) for tool in taken if theirs[tool] for text in texts]
    for finds, decision in ((True, "deny"), (False, "allow")):
        calls = [(tool, text) for tool, text in pairs if bool(theirs[tool].search(text)) is finds]
        for tool in others(policy, calls, decision, tmp_path):
            among = [text for of, text in calls if of == tool]
            wrong.append(f"{patterns[tool]!r}: re2 {'finds it in each' if finds else 'does not find it in any'} of {among}, and we do otherwise")
    assert len(taken) > 600, len(taken)
    assert not wrong, "\n".join(wrong)


def others(policy: Path, calls: list[tuple[str, str]], decision: str, folder: Path) -> list[str]:
    """The tools of which some call is decided otherwise."""
    log = folder / "calls.jsonl"
    log.write_text("".join(json.dumps({"tool": tool, "arguments": {"v": text}}) + "\n" for tool, text in calls))
    report = json.loads(cli.run("replay", "--format", "json", policy, "--log", log).stdout)
    assert report["calls"] == len(calls) and not report["unreadable"]
    return sorted({outcome["call"] for outcome in report["outcomes"] if outcome["decision"] != decision})
