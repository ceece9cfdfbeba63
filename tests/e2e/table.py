"""clients.md, which tests write together: each has a part of its own."""

from __future__ import annotations

import os
import re
from pathlib import Path

TABLE = Path(__file__).with_name("clients.md")
# Between two parts.
_SEAM = "\n<!-- -->\n"


def fresh(part: int, text: str) -> None:
    """Holds a part against what the SDKs did; MCP_POLICY_BLESS=1 rewrites it."""
    parts = TABLE.read_text().split(_SEAM) if TABLE.exists() else []
    if os.environ.get("MCP_POLICY_BLESS"):
        parts += [""] * (part + 1 - len(parts))
        parts[part] = text
        TABLE.write_text(_SEAM.join(parts))
    assert parts[part : part + 1] == [text], f"MCP_POLICY_BLESS=1 rewrites {TABLE.name}; review the diff"


def row(*cells: str) -> str:
    """A row of cells."""
    return f"| {' | '.join(cells)} |"


def stable(text: str) -> str:
    """A text without what differs from run to run, in one cell."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", text)
    text = re.sub(r"(retry in |\"retryAfterMs\":|\"windowSeconds\":)\d+", r"\1…", text)
    text = re.sub(r"sha-256:[\w-]+", "sha-256:…", text)
    return text.replace("|", "\\|").replace("\n", " ")
