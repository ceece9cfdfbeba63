"""The tutorial is run, command by command, from an empty directory; what it prints must be what the page says.

`MCP_POLICY_BLESS=1` writes what was printed into the page, for review.
"""

from __future__ import annotations

from pathlib import Path

import rig

from pages import Page


def test_the_tutorial(tmp_path: Path) -> None:
    listen, admin = rig.free_ports(2)
    # As long as the page's own, so that columns stay columns.
    server = next(port for port in range(7000, 7999) if not rig.listens(port))
    ports = {"8000": str(server), "10000": str(listen), "9901": str(admin)}
    page = Page(rig.ROOT / "policies" / "TUTORIAL.md", ready={"python shop.py": 8000, "envoy -c": 10000})
    where = f"--listen 127.0.0.1:{listen} --upstream 127.0.0.1:{server} --admin 127.0.0.1:{admin}"
    assert len(page.run(tmp_path, ports, {r"render .*--for envoy ": where})) > 10
