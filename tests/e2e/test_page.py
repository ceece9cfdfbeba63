"""The page that runs the engine in a browser, used as a person uses it: opened from disk, by mouse and by keyboard, narrow and wide."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import browser
import cli
import rig

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "target/page/index.html"
BUILD = ROOT / "target/page.build"
ENGINE = ROOT / "target/wasm32-unknown-unknown/release/mcp_policy.wasm"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# Texts of a server that would show if they were taken for more than texts.
HOSTILE = [
    {"name": "<img src=x onerror=\"document.title='owned'\">", "description": "<script>document.title='owned'</script>"},
    {"name": "delete_user", "description": "\u202e</script><svg onload=document.title='owned'>", "inputSchema": {"properties": {"__proto__": {"type": "string"}}}},
]


class Page:
    """The page, as somebody sees it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str = PAGE.as_uri()) -> None:
        self.driver.get("about:blank")
        self.driver.get(address)
        self.wait(lambda: self.run("return document.documentElement.dataset.ready"))

    def run(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(script, *args)

    def wait(self, seen: Callable[[], Any], seconds: float = 20) -> Any:
        end = time.monotonic() + seconds
        while not (found := seen()):
            assert time.monotonic() < end, f"not seen in {seconds} s: {self.run('return document.body.innerText')[:2000]}"
            time.sleep(0.05)
        return found

    def click(self, selector: str, text: str = "") -> None:
        found = [each for each in self.driver.find_elements(By.CSS_SELECTOR, selector) if text in each.text and each.is_displayed()]
        assert found, f"no {selector} with {text!r}"
        found[0].click()

    def example(self, name: str = "refunds") -> None:
        self.open()
        self.click(".card", name)
        self.wait(self.decision)

    def decision(self) -> dict[str, str] | None:
        return self.run("const v = document.querySelector('.decision .verdict'); return v && {...v.dataset}")

    def text(self) -> str:
        """The text of the policy, from the address: what is there can be shared."""
        script = """
            const done = arguments[0], hash = location.hash.slice(1).replaceAll('-', '+').replaceAll('_', '/')
            const bytes = Uint8Array.from(atob(hash), (c) => c.charCodeAt(0))
            new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json().then((read) => done(read.text))"""
        time.sleep(0.7)
        return self.driver.execute_async_script(script)

    def field(self, label: str, text: str, within: str = "") -> None:
        field = self.driver.find_element(By.CSS_SELECTOR, f"{within} [aria-label={json.dumps(label)}]")
        field.clear()
        field.send_keys(text, Keys.ENTER)

    def size(self, width: int, height: int, colours: str = "light") -> None:
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": colours}]})

    def findings(self) -> list[Any]:
        """What axe-core finds. It is handed in from outside: the page's own policy lets no script in."""
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": (BUILD / "node_modules/axe-core/axe.min.js").read_text()})
        script = "const done = arguments[1]; axe.run(document, {runOnly: arguments[0]}).then((r) => done(r.violations.map((v) => [v.id, v.nodes.map((n) => [n.target.join(' '), n.failureSummary])])))"
        return self.driver.execute_async_script(script, AXE_RULES)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert PAGE.exists(), "run `make page`"
    with browser.chromium(tmp_path_factory.mktemp("page")) as driver:
        found = Page(driver)
        found.size(1400, 900)
        yield found
        asked = {url for url in browser.requested(driver) if not url.startswith(("data:", "file:///work", PAGE.as_uri(), "about:", "http://127.0.0.1:", "blob:"))}
        assert not asked, "the page asks nobody for anything"


@pytest.fixture(autouse=True)
def quiet(page: Page) -> Iterator[None]:
    """Nothing is complained of: no script fails, and nothing meets the page's own security policy."""
    browser.complaints(page.driver)
    page.size(1400, 900)
    yield
    assert browser.complaints(page.driver) == []
    assert "owned" not in page.driver.title


def test_the_page_says_what_the_command_says() -> None:
    node = rig.TOOLS / "clients/bin/node"
    ran = subprocess.run([node, ROOT / "tests/page/parity.mjs", ENGINE, cli.BINARY, BUILD], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "no byte differs" in ran.stdout


def test_changes_of_the_form_leave_the_rest_of_the_text() -> None:
    node = rig.TOOLS / "clients/bin/node"
    ran = subprocess.run([node, ROOT / "tests/page/document.mjs", BUILD], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_an_example_shows_a_decision_at_once(page: Page) -> None:
    page.example()
    assert page.decision() == {"decision": "deny", "reason": "requirement_not_met", "rule": "/tools/create_refund/require/0"}
    assert "Refund at most 100.00" in page.driver.find_element(By.CSS_SELECTOR, ".decision blockquote").text
    assert "args.amount lte 10000 is false: found the number 25000" in page.driver.find_element(By.CSS_SELECTOR, ".decision").text
    page.click(".switch button", "Text")
    lit = page.run("return [...document.querySelector('#policy .editor-host').shadowRoot.querySelectorAll('.lit-deny')].map((e) => e.textContent).join('|')")
    assert "conditions:" in lit and "on_deny" in lit


def test_counters_fill_up(page: Page) -> None:
    page.example()
    page.run("document.querySelector('.call fieldset .quiet').click()")
    area = page.driver.find_element(By.CSS_SELECTOR, ".call fieldset textarea")
    area.clear()
    area.send_keys('{"payment": "p", "amount": 100}')
    decisions = []
    for _ in range(4):
        page.click(".call .main")
        decisions.append(page.decision()["decision"])
    assert decisions == ["allow", "allow", "allow", "deny"]
    assert "3 of 3 used in a day" in page.driver.find_element(By.CSS_SELECTOR, ".decision").text
    page.click(".call button", "Empty the counters")
    assert page.decision()["decision"] == "allow"


def test_a_sentence_changes_the_text_and_loses_nothing(page: Page) -> None:
    page.example()
    before = page.text()
    page.field("Value", "30000", '[aria-label="Entry create_refund"] .check:nth-of-type(1) .condition:nth-of-type(2)')
    after = page.wait(lambda: (text := page.text()) != before and text)
    assert after == before.replace("op: lte, value: 10000", "op: lte, value: 30000")
    assert page.decision()["decision"] == "ask"


def test_the_text_changes_the_form(page: Page) -> None:
    page.example()
    page.click(".switch button", "Text")
    content = page.run("return document.querySelector('#policy .editor-host').shadowRoot.querySelector('.cm-content')")
    content.send_keys(Keys.CONTROL, Keys.END)
    content.send_keys("  rm_all: {action: deny}", Keys.ENTER)
    page.click(".switch button", "Form")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, '[aria-label="Entry rm_all"]'))


def test_a_mistake_is_shown_and_cured(page: Page) -> None:
    page.example()
    page.click(".switch button", "Text")
    content = page.run("return document.querySelector('#policy .editor-host').shadowRoot.querySelector('.cm-content')")
    content.send_keys(Keys.CONTROL, Keys.END)
    content.send_keys("  x: {acton: deny}", Keys.ENTER)
    page.wait(lambda: "Not valid" in page.driver.find_element(By.CSS_SELECTOR, ".problems").text)
    assert page.run("return document.querySelector('#policy .editor-host').shadowRoot.querySelectorAll('.cm-lintRange-error').length") > 0
    page.click(".cure", "Write action")
    page.wait(lambda: "Not valid" not in page.driver.find_element(By.CSS_SELECTOR, ".problems").text)
    assert "x: {action: deny}" in page.text()


def test_completion_knows_the_language_and_the_tools(page: Page) -> None:
    page.example()
    page.click(".switch button", "Text")
    content = page.run("return document.querySelector('#policy .editor-host').shadowRoot.querySelector('.cm-content')")
    content.send_keys(Keys.CONTROL, Keys.END)
    shown = "return [...document.querySelector('#policy .editor-host').shadowRoot.querySelectorAll('.cm-tooltip-autocomplete li')].map((e) => e.textContent)"
    content.send_keys("  upd")
    assert any("update_order" in each for each in page.wait(lambda: page.run(shown)))
    content.send_keys("ate_order: {require: [{conditions: [{path: args")
    assert any("args.status" in each for each in page.wait(lambda: page.run(shown)))
    content.send_keys(".status, op: not")
    assert any("not_in" in each for each in page.wait(lambda: [each for each in page.run(shown) if "not" in each]))


def test_tools_are_sorted_by_keyboard_alone(page: Page) -> None:
    page.example()
    box = page.driver.find_element(By.CSS_SELECTOR, ".list")
    box.send_keys(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.driver.find_element(By.CSS_SELECTOR, ".tool.active .name").text == "update_order"
    box.send_keys("d")
    assert "update_order: {action: deny" in page.text()
    box.send_keys("h")
    assert "hide: [run_report, update_order]" in page.text()
    box.send_keys(" ", Keys.ARROW_DOWN, " ", "a")
    text = page.text()
    assert "hide: [run_report]" in text and "# Small refunds pass" in text
    assert "delete_customer: {}" in text


def test_a_try_is_kept_as_a_test_and_runs(page: Page) -> None:
    page.example()
    page.click(".call button", "Keep as a test")
    verdict = page.wait(lambda: page.run("const v = document.querySelector('.results .verdict'); return v && v.dataset.tests === '3' && {...v.dataset}"))
    assert verdict == {"tests": "3", "failed": "0"}
    page.field("Value", "90000", '[aria-label="Entry create_refund"] .check:nth-of-type(1) .condition:nth-of-type(2)')
    page.click(".results .main")
    assert page.wait(lambda: page.run("return document.querySelector('.results .verdict').dataset.failed !== '0'"))


def test_the_list_is_what_the_caller_sees(page: Page) -> None:
    page.example()
    assert "alice sees 5 of 7 tools" in page.driver.find_element(By.CSS_SELECTOR, ".seen").text


def test_attacks_are_stopped_and_a_change_is_compared(page: Page) -> None:
    page.example()
    page.click("[role=tab]", "Attacks")
    page.wait(lambda: "none gets further" in page.driver.find_element(By.ID, "below-panel").text)
    page.click("[role=tab]", "Compare")
    page.click("#below-panel button", "Take the present one")
    page.wait(lambda: page.run("return document.querySelector('.results .verdict')?.dataset.differences === '0'"))
    page.run("const s = document.querySelector('[aria-label=\"What becomes of tools that no entry names\"]'); s.value = 'allow'; s.dispatchEvent(new Event('change', {bubbles: true}))")
    page.wait(lambda: page.run("return Number(document.querySelector('.results .verdict')?.dataset.differences) > 0"))


def test_what_is_in_the_address_comes_back(page: Page) -> None:
    page.example("files")
    text, address = page.text(), page.driver.current_url
    page.open(address)
    assert page.wait(page.decision)["reason"] == "denied_by_condition"
    assert page.text() == text
    page.open(PAGE.as_uri() + "#H4sIAAA")
    assert "no policy that can be read" in page.driver.find_element(By.CSS_SELECTOR, "[role=alert]").text


def test_what_a_server_says_stays_text(page: Page) -> None:
    page.open()
    page.run("const a = document.getElementById('tools-text'); a.value = arguments[0]; a.dispatchEvent(new Event('input', {bubbles: true}))", json.dumps({"tools": HOSTILE}))
    page.click(".import .main")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".tool"))
    page.click(".tool", "delete_user")
    page.click(".wide", "Sort these")
    page.wait(lambda: "delete_user" in page.text())
    assert page.run("return document.querySelectorAll('#page img, #page svg, #page script').length") == 0


def test_five_thousand_tools_are_no_burden(page: Page) -> None:
    page.open()
    kinds = ["list", "get", "create", "update", "delete", "run"]
    tools = [{"name": f"{kinds[at % 6]}_thing_{at}", "description": f"Thing {at}.", "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}} for at in range(5000)]
    start = time.monotonic()
    page.run("const a = document.getElementById('tools-text'); a.value = arguments[0]; a.dispatchEvent(new Event('input', {bubbles: true}))", json.dumps({"tools": tools}))
    page.click(".import .main")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".tool"))
    listed = time.monotonic() - start
    page.click(".wide", "Sort these 5000")
    page.wait(page.decision, 60)
    assert page.run("return document.querySelectorAll('.tool').length") < 60
    took = page.run("return document.querySelector('.try .count').textContent")
    print(f"5000 tools shown in {listed:.1f} s; a change is checked and decided in {took}")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400, 3840])
def test_everybody_can_use_it(page: Page, width: int, colours: str) -> None:
    page.size(width, 2160 if width == 3840 else 900, colours)
    page.open()
    assert page.findings() == []
    page.run("[...document.querySelectorAll('.card')].find((e) => e.textContent.includes('refunds')).click()")
    page.wait(page.decision) if width > 1020 else time.sleep(0.5)
    parts = range(4) if width == 360 else range(1)
    for part in parts:
        page.run("document.querySelectorAll('.parts button')[arguments[0]].click()", part)
        for view in ("Form", "Text"):
            page.run("[...document.querySelectorAll('.switch button')].find((e) => e.textContent === arguments[0]).click()", view)
            time.sleep(0.2)
            assert page.findings() == []
            assert page.run("return document.documentElement.scrollWidth <= innerWidth")
