"""The tutorial is run, command by command, from an empty directory; what it prints must be what the page says.

`MCP_POLICY_BLESS=1` writes what was printed into the page, for review.
"""

from __future__ import annotations

from pathlib import Path

import rig

from pages import Page
from registry import VERSION, Registry, make_image, program, taken_by_istio


def test_the_tutorial(tmp_path: Path) -> None:
    make_image(rig.ROOT / "target" / "image")
    (tmp_path / "registry").mkdir()
    with Registry(tmp_path / "registry") as registry:
        run(tmp_path, registry)
        # What the page pushes is what a mesh takes.
        assert taken_by_istio(registry, "mcp-policy", "1") == Path(rig.WASM).read_bytes()


def run(tmp_path: Path, registry: Registry) -> None:
    listen, admin = rig.free_ports(2)
    # As long as the page's own, so that columns stay columns.
    server = next(port for port in range(7000, 7999) if not rig.listens(port))
    ports = {"8000": str(server), "10000": str(listen), "9901": str(admin)}
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "skopeo").symlink_to(program("skopeo", "registry"))
    page = Page(rig.ROOT / "policies" / "TUTORIAL.md", ready={"python shop.py": 8000, "envoy -c": 10000}, programs=programs)
    where = f"--listen 127.0.0.1:{listen} --upstream 127.0.0.1:{server} --admin 127.0.0.1:{admin}"
    # What is pushed goes to the registry here, which speaks plain HTTP and whose images are not signed.
    here = "--dest-tls-verify=false --insecure-policy"
    ports["docker://registry.example.com/mcp-policy:1"] = registry.reference("mcp-policy:1")
    assert f"target/image:{VERSION}" in page.file.read_text()
    assert len(page.run(tmp_path, ports, {r"render .*--for envoy ": where, r"^skopeo copy": here})) > 10
