"""Takes the pictures of the page that docs/ shows, from the page that `make page` builds: `.tools/venv/bin/python tests/page/pictures.py`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e")]

import browser  # noqa: E402
from playwright.sync_api import Browser, Page, expect  # noqa: E402

DOCS = ROOT / "docs"


def opened(running: Browser, width: int, height: int, colours: str) -> Page:
    """The example, with its decision."""
    tab = running.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if colours == "dark" else "light")
    tab.goto((ROOT / "target/page/index.html").as_uri())
    tab.locator("html[data-ready]").wait_for()
    if width < 1000:
        tab.locator(".parts button", has_text="Policy").click()
    tab.locator(".card", has_text="refunds").first.click()
    expect(tab.locator(".said")).to_be_empty(timeout=15_000)
    return tab


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mcp-policy-page-") as home, browser.playwright(Path(home)) as running:
        wide = opened(running, 1360, 860, "light")
        wide.locator(".tool", has_text="create_refund").click()
        wide.locator('[aria-label="Entry create_refund"]').evaluate("(entry) => entry.scrollIntoView()")
        wide.screenshot(path=DOCS / "page.png")
        dark = opened(running, 1360, 860, "dark")
        dark.get_by_role("button", name="Text", exact=True).click()
        dark.get_by_role("tab", name="Attacks").click()
        dark.screenshot(path=DOCS / "page-dark.png")
        small = opened(running, 360, 740, "light")
        small.screenshot(path=DOCS / "page-small.png")


if __name__ == "__main__":
    main()
