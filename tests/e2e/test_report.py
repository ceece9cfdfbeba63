"""The page that `mcp-policy report` writes, in a real browser: its numbers, and nothing of a log that runs or breaks out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import browser
import cli

Json = dict[str, Any]

# Names that callers could make up. Each would show if it were taken for more than a text.
HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</td></table><style>* { display: none }</style>",
    "\"><svg onload=document.title='owned'>",
    "\u202egpj.exe\u2069",
    "اسم الأداة",
    "x" * 200,
    "javascript:document.title='owned'",
    "{{7*7}}&lt;b&gt;",
    "\u0000\u001b[2J\u200b",
]
HEADINGS = [
    "At a glance",
    "Decisions over time",
    "Who was stopped, and by what",
    "What would have been stopped",
    "Limits",
    "Refused at the front door",
    "Withheld responses",
    "Policies",
]


def line(minute: int, decision: str, **more: Any) -> str:
    time = f"2026-11-27T{minute // 60:02}:{minute % 60:02}:00.000Z"
    record = {"audit": 1, "time": time, "policy": "shop", "digest": "sha-256:abc", "mode": "enforce", "decision": decision}
    return json.dumps({**record, "method": "tools/call", **more})


def log() -> list[str]:
    """1200 calls that pass, and some of everything else."""
    counted = [{"rule": "/tools/refund/limits/0", "counter": "refunds", "used_percent": 97}]
    lines = [line(at % 600, "allow", tool="search", grant="alice") for at in range(1200)]
    for at, name in enumerate(HOSTILE):
        denied = {"reason": "tool_not_allowed", "rule": f"/default{name}", "tool": name, "grant": name}
        lines += [line(at * 30, "deny", **denied), line(at * 30, "would_deny", **denied)]
        lines.append(line(at, "refuse", reason=name))
        lines.append(line(at, "withheld", cause=name))
        lines.append(line(at, "allow", tool="refund", grant=name, limits=[{**counted[0], "counter": name}]))
        candidate = {"decision": "deny", "reason": name, "rule": name}
        lines.append(line(at, "allow", tool="refund", grant="bob", limits=counted, candidate=candidate, approval="user:7"))
    lines.append(line(5, "ask", tool="close", reason="approval_required", rule="/tools/close/action", grant="bob"))
    lines.append(line(6, "pass", policy="<b>", digest="<i>", mode="<u>"))
    return lines


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json]:
    """The page, and the same figures for programs."""
    folder = tmp_path_factory.mktemp("report")
    file = folder / "<i>audit.jsonl"
    file.write_text("\n".join(log()) + "\nnot json\n")
    page = folder / "report.html"
    cli.run("report", "--log", file, "--output", page)
    figures = cli.run("report", "--log", file, "--format", "json")
    return page, json.loads(figures.stdout)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def opened(driver: webdriver.Chrome, page: Path, width: int = 1280, scheme: str = "light") -> None:
    """The page as a reader sees it on a screen of this width."""
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.requested(driver)
    browser.complaints(driver)
    driver.get(page.as_uri())


def table(driver: webdriver.Chrome, caption: str) -> list[list[str]]:
    """The cells of a table, row by row."""
    found = [table for table in driver.find_elements(By.TAG_NAME, "table") if table.find_element(By.TAG_NAME, "caption").text == caption]
    assert len(found) == 1, caption
    rows = found[0].find_elements(By.CSS_SELECTOR, "tbody tr")
    return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]


def test_the_page_tells_the_figures(driver: webdriver.Chrome, written: tuple[Path, Json]) -> None:
    page, figures = written
    opened(driver, page)
    assert [heading.text for heading in driver.find_elements(By.TAG_NAME, "h1")] == ["What the MCP policy decided"]
    assert [heading.text for heading in driver.find_elements(By.TAG_NAME, "h2")] == HEADINGS
    cards = {card.find_element(By.TAG_NAME, "span").text: card.find_element(By.TAG_NAME, "strong").text for card in driver.find_elements(By.CSS_SELECTOR, ".cards li")}
    assert cards == {
        "decisions": "1,262",
        "let through": "1,221",
        "denied by policy": "10",
        "would have been stopped": "10",
        "asked about": "1",
        "refused at the front door": "10",
        "responses withheld": "10",
        "callers": "13",
    }
    decisions = figures["decisions"]
    assert (decisions["allow"], decisions["pass"], decisions["deny"], sum(decisions.values())) == (1220, 1, 10, figures["lines"])
    assert sum(sum(stretch["decisions"].values()) for stretch in figures["over_time"]["stretches"]) == figures["lines"]
    rules = table(driver, "By rule")
    assert ["1", "asked"] in [row[:2] for row in rules]
    assert len(rules) == len(figures["stopped_by_rule"]["rows"]) == 11
    search = [row for row in table(driver, "By caller") if row[0] == "bob"]
    assert search == [["bob", "0", "1", "0", "10", "2026-11-27 00:05", "2026-11-27 00:05"]]
    assert [row[1] for row in table(driver, "Limits, the fullest first")] == ["97 %"] * 11
    assert len(table(driver, "By the candidate policy")) == len(table(driver, "By cause")) == len(table(driver, "By reason")) == 10
    assert "not json" not in driver.page_source and "1 line could not be read" in driver.find_element(By.TAG_NAME, "footer").text
    # Drawn, and told in words too.
    chart = driver.find_element(By.CSS_SELECTOR, "svg.chart")
    assert "Decisions over time" in chart.get_attribute("aria-label")
    assert len(chart.find_elements(By.TAG_NAME, "rect")) > 20


def test_nothing_of_a_log_runs_or_is_loaded(driver: webdriver.Chrome, written: tuple[Path, Json]) -> None:
    page, _ = written
    opened(driver, page)
    assert driver.title == "What the MCP policy decided"
    assert browser.requested(driver) == {page.as_uri()}
    assert browser.complaints(driver) == [], "not even the page's own policy had anything to stop"
    for tag in ("script", "img", "iframe", "link", "object", "form", "a"):
        assert driver.find_elements(By.TAG_NAME, tag) == [], tag
    assert len(driver.find_elements(By.TAG_NAME, "style")) == 1
    policy = driver.find_element(By.CSS_SELECTOR, "meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    names = [row[0] for row in table(driver, "By what was called")]
    for hostile in HOSTILE[:4] + [HOSTILE[5]] + HOSTILE[7:9]:
        assert hostile in names
    assert "\\u{202e}gpj.exe\\u{2069}" in names and "\\u{0}\\u{1b}[2J\\u{200b}" in names
    assert any(name.startswith("xxx") and name.endswith("…") and len(name) == 101 for name in names)
    for odd in ("\u202e", "\u2069", "\u200b", "\u001b"):
        assert odd not in driver.page_source


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 768, 1280])
def test_the_page_fits_and_can_be_read(driver: webdriver.Chrome, written: tuple[Path, Json], width: int, scheme: str) -> None:
    opened(driver, written[0], width, scheme)
    assert driver.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # What a box cannot hold is cut off or lies over something else.
    over = driver.execute_script(
        "return [...document.querySelectorAll('section')].flatMap(section => { const right = section.getBoundingClientRect().right;"
        " return [...section.querySelectorAll('td, th, li, p, svg')].filter(e => e.getBoundingClientRect().width > 1 && e.getBoundingClientRect().right > right + 1)"
        ".map(e => e.outerHTML.slice(0, 200)) })"
    )
    assert over == []
    assert driver.execute_script(CONTRAST) == []


def test_tables_say_what_their_cells_are(driver: webdriver.Chrome, written: tuple[Path, Json]) -> None:
    opened(driver, written[0])
    tables = driver.find_elements(By.TAG_NAME, "table")
    assert len(tables) == 11
    for found in tables:
        columns = found.find_elements(By.CSS_SELECTOR, "thead th[scope=col]")
        rows = found.find_elements(By.CSS_SELECTOR, "tbody tr")
        assert columns and all(len(row.find_elements(By.CSS_SELECTOR, "th, td")) == len(columns) for row in rows)
        assert len(found.find_elements(By.CSS_SELECTOR, "tbody th[scope=row]")) == len(rows)


# Texts with less contrast to what is behind them than WCAG 2.2 asks for (AA, 4.5 : 1).
CONTRAST = """
const numbers = colour => { const c = colour.match(/[\\d.]+/g).map(Number); return colour.startsWith('color(srgb') ? [c[0]*255, c[1]*255, c[2]*255, c[3] ?? 1] : [c[0], c[1], c[2], c[3] ?? 1] };
const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
const behind = e => { const own = numbers(getComputedStyle(e).backgroundColor);
  if (own[3] === 1) return own; return [...over(own, e.parentElement ? behind(e.parentElement) : [255, 255, 255, 1]), 1] };
const light = rgb => { const l = rgb.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2] };
const faint = [];
for (const e of document.querySelectorAll('body *')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.closest('svg')) continue;
  const under = behind(e), ink = over(numbers(getComputedStyle(e).color), under);
  const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faint.push([e.tagName, e.className, e.textContent.slice(0, 40), (a + 0.05) / (b + 0.05)]);
}
return faint;
"""
