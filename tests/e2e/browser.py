"""Chromium without a window, driven by Selenium, or by Playwright where a person's way through a page is tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rig
from playwright.sync_api import Browser, sync_playwright
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

UNPACKED = rig.TOOLS / "chromium"


def find(name: str) -> str:
    """A program that `envoy/tools.sh chromium` unpacked, else the one on PATH."""
    if found := shutil.which(name, path=str(UNPACKED)) or shutil.which(name):
        return found
    raise rig.RigError(f"no {name}: run `envoy/tools.sh chromium`")


def has_sandbox() -> bool:
    """Chromium's sandbox needs user namespaces, which some containers do not have, and refuses to work for root."""
    if os.geteuid() == 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False, capture_output=True).returncode == 0


# Nothing of the browser's own goes out.
SILENT = ("--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@contextmanager
def playwright(directory: Path) -> Iterator[Browser]:
    """A new browser with a home of its own, for Playwright's contexts."""
    home = {"HOME": str(directory), "PATH": os.environ["PATH"], "TMPDIR": str(directory), "NO_PROXY": "*"}
    with sync_playwright() as running:
        flags = [*SILENT, *([] if has_sandbox() else ["--no-sandbox"])]
        browser = running.chromium.launch(executable_path=find("chromium"), headless=True, args=flags, env=home)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def chromium(directory: Path) -> Iterator[webdriver.Chrome]:
    """A new browser with a home of its own, which also writes down what its pages ask for and complain of."""
    options = webdriver.ChromeOptions()
    options.binary_location = find("chromium")
    for flag in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1000,900", "--lang=en"):
        options.add_argument(flag)
    if not has_sandbox():
        # It opens nothing but pages of these tests.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    home = {"HOME": str(directory), "PATH": os.environ["PATH"], "TMPDIR": str(directory)}
    # No proxy of the machine's is asked for pages on this machine.
    service = Service(find("chromedriver"), log_output=str(directory / "chromedriver.log"), env={**home, "NO_PROXY": "*"})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def requested(driver: webdriver.Chrome) -> set[str]:
    """The addresses that pages have asked for since this was called before, whether they were let or not."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {_url(event) for event in events if event["method"] == "Network.requestWillBeSent"}


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the console has shown since this was called before."""
    return [entry["message"] for entry in driver.get_log("browser")]


def _url(event: dict[str, Any]) -> str:
    return event["params"]["request"]["url"]
