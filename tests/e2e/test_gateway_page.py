"""Many servers behind one Envoy: every command and file of `envoy/GATEWAY.md`, and what it says of bridges, TLS, logins and browsers.

`MCP_POLICY_BLESS=1` writes what was printed into the page, for review.
"""

from __future__ import annotations

from pathlib import Path

import rig

from pages import Page
from servers import CLIENTS, NODE

PAGE = rig.ROOT / "envoy" / "GATEWAY.md"

NPX = f"""#!/bin/sh
# Stands in for npx, which would download: `npx -y PACKAGE[@VERSION] ARGUMENTS`.
package=$2
shift 2
case $package in
supergateway@*) program=supergateway/dist/index.js ;;
@modelcontextprotocol/server-everything) program=$package/dist/index.js ;;
*) echo "npx: no $package here" >&2; exit 1 ;;
esac
exec {NODE} {CLIENTS}/node_modules/$program "$@"
"""


def programs(directory: Path) -> Path:
    """What the page has installed, by the names that it has there."""
    folder = directory / "programs"
    folder.mkdir()
    (folder / "npx").write_text(NPX)
    (folder / "npx").chmod(0o755)
    (folder / "mcp-proxy").symlink_to(CLIENTS / "bin" / "mcp-proxy")
    return folder


def test_the_page(tmp_path: Path) -> None:
    listen, admin, proxy, gateway, prometheus, shop = rig.free_ports(6)
    texts = {str(old): str(new) for old, new in {10000: listen, 9901: admin, 8100: proxy, 8101: gateway, 8300: prometheus, 8443: shop}.items()}
    who = {f"GIT_{role}_{what}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    ready = {"python shop.py": 8443, "env PROMETHEUS_URL": 8300, "mcp-proxy": 8100, "npx -y supergateway": 8101, "env MCP_POLICY": 10000}
    page = Page(PAGE, ready=ready, programs=programs(tmp_path), env=who)
    where = f"--listen 127.0.0.1:{listen} --admin 127.0.0.1:{admin}"
    options = {r"render .*--for envoy --live ": where}
    assert len(page.run(tmp_path, texts, options)) > 20
