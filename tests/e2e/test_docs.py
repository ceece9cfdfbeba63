"""Pages: what they tell readers to run is run, where they point is something, and their tables are whole."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import rig
import yaml

import cli
from pages import Page, steps
from test_authors import stand_in_for_uvx

README = rig.ROOT / "README.md"
SESSION = rig.ROOT / "envoy" / "session.py"
PAGES = [README, rig.ROOT / "RELEASING.md", *sorted((rig.ROOT / "docs").glob("*.md")), rig.ROOT / "envoy" / "kubernetes" / "README.md"]
# Pages whose `console` blocks a test runs.
RUN = {
    "README.md": "test_docs.py", "docs/author.md": "test_authors.py", "envoy/kubernetes/README.md": "test_kubernetes.py",
    "policies/TUTORIAL.md": "test_tutorial.py", "envoy/CHANGES.md": "test_changes.py", "envoy/GATEWAY.md": "test_gateway_page.py",
    "policies/skills/mcp-policy/SKILL.md": "test_authors.py",
}  # fmt: skip


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", pattern], cwd=rig.ROOT, check=True, capture_output=True, text=True).stdout
    return [rig.ROOT / name for name in listed.splitlines()]


def test_the_readme(tmp_path: Path) -> None:
    page = Page(README, ready={}, programs=stand_in_for_uvx(tmp_path / "programs"))
    assert len(page.run(tmp_path, {"0000": "0000"})) == 3


def test_every_page_with_commands_is_run() -> None:
    for page in tracked("*.md"):
        name = str(page.relative_to(rig.ROOT))
        if steps(page.read_text().splitlines()):
            runner = RUN.get(name) or next((file.name for file in Path(__file__).parent.glob("test_*.py") if page.name in file.read_text()), "")
            assert runner and page.name in (Path(__file__).parent / runner).read_text(), f"no test runs the commands of {name}"


def test_every_other_command_says_where_it_runs_or_why_not() -> None:
    rows = yaml.safe_load((rig.ROOT / "tests" / "data" / "docs" / "commands.yaml").read_text())
    used = set()
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in block.splitlines():
                found = [row["command"] for row in rows if line.startswith(row["command"])]
                assert len(found) == 1, f"{page.name}: `{line}` is in no row, or in several, of tests/data/docs/commands.yaml"
                used.update(found)
    for row in rows:
        assert set(row) in ({"command", "test"}, {"command", "not"}), row
        assert (rig.ROOT / row.get("test", "README.md")).is_file(), row
        assert row["command"] in used or any(row["command"] in page.read_text() for page in PAGES), f"no page has `{row['command']}`"


def anchors(page: Path) -> set[str]:
    """What headings are called, as code hosts do it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    found = set(re.findall(r'<a id="([\w-]+)"></a>', text))
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(name if name not in found else f"{name}-1")
    return found


def test_every_link_leads_somewhere() -> None:
    wrong = []
    for page in tracked("*.md"):
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                wrong.append(f"{page.relative_to(rig.ROOT)}: {target}")
    assert not wrong, "\n".join(wrong)


def test_every_dependency_has_its_sentence() -> None:
    cargo = tomllib.loads((rig.ROOT / "Cargo.toml").read_text())
    tables = [cargo, *cargo["target"].values()]
    wanted = {name for table in tables for kind in ("dependencies", "dev-dependencies") for name in table.get(kind, {})}
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]{10,} \|", (rig.ROOT / "docs" / "contributor.md").read_text(), re.M)
    assert sorted(rows) == sorted(wanted)


def test_every_sub_command_has_its_row() -> None:
    listed = cli.run("help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    rows = (rig.ROOT / "docs" / "author.md").read_text()
    for name in re.findall(r"^  (\w+)", listed, re.M):
        assert name == "help" or f"`mcp-policy {name}" in rows, f"docs/author.md has no row for {name}"


def test_a_session_is_drawn_as_it_was_printed(tmp_path: Path) -> None:
    script = tmp_path / "talks.sh"
    script.write_text("#!/bin/sh\nprintf 'before\\n\\033[1mTitle\\033[0m <&>\\n  \\033[32mpassed\\033[0m\\nend\\n'\n")
    script.chmod(0o755)
    picture = tmp_path / "session.svg"
    subprocess.run([sys.executable, SESSION, picture, "--command", str(script), "--from", "Title", "--to", "end"], check=True, capture_output=True)
    texts = ["".join(each.itertext()) for each in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [f"$ {script}", "Title <&>", "passed"] or texts == [f"$ {script}", "Title <&>", "  passed"]
    script.write_text("#!/bin/sh\nexit 3\n")
    failed = subprocess.run([sys.executable, SESSION, picture, "--command", str(script), "--from", "x"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "exit code 3" in failed.stderr


def test_the_picture_shows_what_the_demo_does() -> None:
    """Its lines are those of the demo as it is now: a demo that has changed needs `envoy/session.py` again."""
    source = (rig.ROOT / "envoy" / "demo.py").read_text()
    texts = ["".join(each.itertext()) for each in ElementTree.parse(rig.ROOT / "docs" / "demo.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "$ make demo" and len(texts) > 8
    for text in texts[1:]:
        label = re.match(r"\s*[✓⊘=] (\w+)", text)
        assert not label or label[1] in source, text
