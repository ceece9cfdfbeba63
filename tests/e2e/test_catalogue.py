"""The pages of the catalogue and of the attacks: fresh, and in Chromium readable, searchable and without anything from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig
from selenium import webdriver
from selenium.webdriver.common.by import By

import browser

CATALOGUE = rig.ROOT / "policies" / "catalogue"
SERVERS = json.loads((CATALOGUE / "catalogue.json").read_text())["servers"]


def test_what_is_written_is_fresh() -> None:
    ran = subprocess.run([sys.executable, str(rig.ROOT / "policies" / "pages.py"), "--check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def shown(driver: webdriver.Chrome) -> list[str]:
    """The servers that can be seen, from the top."""
    links = driver.find_elements(By.CSS_SELECTOR, "tbody tr:not([hidden]) td.name a")
    return [link.text for link in links]


def search(driver: webdriver.Chrome, words: str) -> list[str]:
    field = driver.find_element(By.ID, "search")
    field.clear()
    field.send_keys(words)
    return shown(driver)


def test_the_index_is_searched_and_has_the_riskiest_first(driver: webdriver.Chrome) -> None:
    driver.get((CATALOGUE / "index.html").as_uri())
    names = shown(driver)
    assert sorted(names) == sorted(server["name"] for server in SERVERS) and len(names) >= 50
    critical = {server["name"]: server["severities"]["critical"] for server in SERVERS}
    assert [critical[name] for name in names] == sorted(critical.values(), reverse=True)
    assert search(driver, "git_reset") == ["git"]
    assert search(driver, "ExecuteRangeQuery") == ["aws-prometheus"]
    assert {"github", "gitlab"} <= set(search(driver, "create merge")) | set(search(driver, "pull request"))
    assert search(driver, "no such thing") == []
    assert driver.find_element(By.ID, "count").text == f"0 of {len(SERVERS)} servers"
    assert browser.complaints(driver) == []
    assert all(address.startswith("file:") for address in browser.requested(driver))


def test_each_server_has_a_page_and_links_lead_somewhere(driver: webdriver.Chrome) -> None:
    for server in SERVERS:
        page = CATALOGUE / server["name"] / "index.html"
        text = page.read_text()
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (page.parent / link).exists(), (server["name"], link)
        assert text.count("<tr>") == server["tools"] + 1
    driver.get((CATALOGUE / "desktop-commander" / "index.html").as_uri())
    assert "start_process" in driver.find_element(By.TAG_NAME, "table").text
    assert "denied" in driver.find_element(By.XPATH, "//tr[td/code='start_process']").text
    assert browser.complaints(driver) == []


@pytest.mark.parametrize("page", ["index.html", "gitlab/index.html"])
def test_it_fits_a_telephone(driver: webdriver.Chrome, page: str) -> None:
    driver.set_window_size(400, 800)
    try:
        driver.get((CATALOGUE / page).as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    finally:
        driver.set_window_size(1000, 900)


def test_links_of_the_attacks_lead_somewhere() -> None:
    folder: Path = rig.ROOT / "policies" / "attacks"
    for page in folder.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (folder / link).exists(), (page.name, link)
