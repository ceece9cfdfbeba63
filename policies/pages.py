"""Writes the pages of policies/attacks and policies/catalogue from their data, and what the command has of the catalogue.

    .tools/venv/bin/python policies/pages.py            # writes them
    .tools/venv/bin/python policies/pages.py --check    # says which are not fresh; exit code 1 if one is not

It asks the command (`make cli`, or $MCP_POLICY_CLI) what the tools of a server can do, so a change of its rules changes the pages.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "attacks"), str(HERE / "catalogue")]

import attack_pages  # noqa: E402
import catalogue_pages  # noqa: E402

ROOT = HERE.parent


def pages() -> dict[Path, str]:
    """Everything that is written, by its path."""
    return {**attack_pages.pages(), **catalogue_pages.pages()}


def stale() -> list[str]:
    """The files that are not as they would be written."""
    return [str(path.relative_to(ROOT)) for path, text in pages().items() if not path.exists() or path.read_text() != text]


def main() -> int:
    """Writes or checks."""
    if "--check" in sys.argv[1:]:
        found = stale()
        print(*(f"{path} is not fresh: policies/pages.py writes it" for path in found), sep="\n")
        return int(bool(found))
    for path, text in pages().items():
        # What is as it was keeps its time, so that nothing is built anew.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
