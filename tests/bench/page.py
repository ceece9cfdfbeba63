"""How long a person waits for the page that `make page` builds: for the first decision, and for each key with 5,000 tools.

It runs in Chromium without a window, as the tests have it, on a page that is opened from disk. A key's time is what the browser itself measures (the
Event Timing API): from the key until the picture after it is drawn, in steps of 8 ms. `--keep` writes results-page.md.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e")]

import browser  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

PAGE = ROOT / "target/page/index.html"
RESULTS = Path(__file__).with_name("results-page.md")
POLICY = '{"version": "1", "default": "deny", "tools": {"pay": {"require": [{"conditions": [{"path": "args.amount", "op": "lte", "value": 100}]}]}}}'
KINDS = ["list", "get", "create", "update", "delete", "run"]
KEYS = 60

OBSERVE = """
window.keys = []
new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (entry.name === 'keydown') window.keys.push(entry.duration) })
  .observe({type: 'event', durationThreshold: 16, buffered: true})
window.decided = new Promise((done) => new MutationObserver((_, own) => {
  if (document.querySelector('.decision .verdict')) { own.disconnect(); requestAnimationFrame(() => done(performance.now())) }
}).observe(document, {subtree: true, childList: true}))
"""


def shared(state: dict[str, object]) -> str:
    packed = gzip.compress(json.dumps(state).encode())
    return f"{PAGE.as_uri()}#{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"


def first_decision(running: Browser) -> tuple[float, float]:
    """Milliseconds until the page can be used, and until it shows the decision on the call in its address."""
    tab = running.new_page()
    tab.add_init_script(OBSERVE)
    tab.goto(shared({"text": POLICY, "call": {"tool": "pay", "args": '{"amount": 7}'}}))
    decided = tab.evaluate("window.decided")
    ready = float(tab.locator("html[data-ready]").get_attribute("data-ready") or 0)
    tab.close()
    return ready, decided


def typed(tab: Page, keys: str) -> list[float]:
    """What each key took; those under 16 ms are not told apart."""
    tab.evaluate("window.keys.length = 0")
    for key in keys:
        tab.keyboard.press(key)
        tab.wait_for_timeout(120)
    tab.wait_for_timeout(1000)
    slow = tab.evaluate("window.keys")
    return sorted(slow + [16.0] * max(0, len(keys) - len(slow)))


def five_thousand(running: Browser) -> dict[str, list[float]]:
    tab = running.new_page(viewport={"width": 1400, "height": 900})
    tab.add_init_script(OBSERVE)
    tab.goto(PAGE.as_uri())
    tab.locator("html[data-ready]").wait_for()
    tools = [{"name": f"{KINDS[at % 6]}_thing_{at}", "description": f"Thing {at}.", "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}} for at in range(5000)]
    tab.locator("#tools-text").fill(json.dumps({"tools": tools}))
    tab.get_by_role("button", name="Show the tools").click()
    tab.get_by_role("button", name="Sort these 5000").click()
    tab.locator(".decision .verdict").wait_for()
    tab.get_by_role("button", name="Text", exact=True).click()
    tab.locator("#policy .cm-content").focus()
    tab.keyboard.press("Control+End")
    tab.wait_for_timeout(1000)
    found = {"a key in the text": typed(tab, ("  # a note\n" * 10)[:KEYS].replace("\n", "!"))}
    tab.get_by_role("button", name="Form", exact=True).click()
    tab.get_by_label("Filter the tools").fill("")
    tab.locator(".list").focus()
    tab.keyboard.press("Home")
    tab.wait_for_timeout(1000)
    tab.evaluate("window.keys.length = 0")
    found["a key that moves a tool"] = typed(tab, "dadadadadadadadadada")
    found["a letter of the filter"] = (tab.get_by_label("Filter the tools").focus(), typed(tab, "delete_thing_4"))[1]
    tab.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write results-page.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mcp-policy-page-") as home, browser.playwright(Path(home)) as running:
        loads = [first_decision(running) for _ in range(10)]
        keys = five_thousand(running)
    size = PAGE.stat().st_size
    packed = len(gzip.compress(PAGE.read_bytes(), 9))
    lines = [
        "# How long a person waits for the page",
        "",
        f"Written by `make bench-page`; [page.py](page.py) says how it is measured. {os.cpu_count()} cores, with {os.getloadavg()[0]:.0f} programs waiting for them. The page has {size:,} bytes, {packed:,} compressed.",
        "",
        "| | median, ms | worst, ms |",
        "|---|---|---|",
        f"| from opening the page until it can be used | {statistics.median(load[0] for load in loads):.0f} | {max(load[0] for load in loads):.0f} |",
        f"| from opening an address with a policy and a call until its decision is shown | {statistics.median(load[1] for load in loads):.0f} | {max(load[1] for load in loads):.0f} |",
    ]
    for what, times in keys.items():
        at_95 = times[int(len(times) * 0.95) - 1]
        lines.append(f"| with 5,000 tools and entries: {what} ({len(times)} keys, 95 % under {at_95:.0f}) | {statistics.median(times):.0f} | {times[-1]:.0f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.keep:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
