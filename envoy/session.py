#!/usr/bin/env python3
"""Draws a terminal session into an SVG file: what a command really prints on a terminal, in its colours.

    envoy/session.py docs/demo.svg --command "make demo" --from "2. A real" --to "What the agent got"

It runs the command, and draws the lines from the first that has the one text to before the next that has the other.
It needs nothing beyond Python's standard library.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import shlex
import sys
import unicodedata
from html import escape
from pathlib import Path

# How wide a character is and how high a line, in the font below.
CHARACTER, LINE, EDGE = 8.43, 20, 20
STYLES = {"1": "bold", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
CSS = (
    "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d4d8de;white-space:pre}"
    ".bold{font-weight:bold;fill:#fff}.red{fill:#ff7b72}.green{fill:#56d364}.yellow{fill:#e3b341}.cyan{fill:#76c7d6}"
)


def session(command: str) -> list[str]:
    """What the command prints on a terminal, line by line, with its codes of colours."""
    printed = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        printed.extend(data)
        return data

    status = pty.spawn(shlex.split(command), read)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"session.py: {command}: exit code {code}")
    return printed.decode().replace("\r\n", "\n").splitlines()


def chosen(lines: list[str], first: str, last: str) -> list[str]:
    """From the line that has the one text to before the next that has the other, without blank lines at both ends."""
    begin = next(at for at, line in enumerate(lines) if first in line)
    end = next((at for at, line in enumerate(lines) if at > begin and last in line), len(lines)) if last else len(lines)
    return "\n".join(lines[begin:end]).strip("\n").splitlines()


def drawn(line: str, at: int) -> str:
    """A line as SVG. Each run of characters is set at its own place, so that columns stay columns in any font."""
    column, style, runs = 0, "", []
    for text, code in re.findall(r"([^\x1b]+)|\x1b\[(\d*)m", line):
        if not text:
            style = STYLES.get(code, "")
            continue
        named = f' class="{style}"' if style else ""
        if text.strip():
            runs.append(f'<tspan x="{EDGE + column * CHARACTER:.1f}" textLength="{len(text) * CHARACTER:.1f}"{named}>{escape(text)}</tspan>')
        column += sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
    return f'<text y="{at}">{"".join(runs)}</text>' if runs else ""


def plain(line: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", line)


def draw(lines: list[str], title: str) -> str:
    """The whole picture."""
    width = 2 * EDGE + max(len(plain(line)) for line in lines) * CHARACTER
    height = 2 * EDGE + len(lines) * LINE
    rows = [drawn(line, EDGE + (at + 1) * LINE - 5) for at, line in enumerate(lines)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">'
    body = "\n".join(row for row in rows if row)
    return f'{head}\n<title>{escape(title)}</title>\n<style>{CSS}</style>\n<rect width="100%" height="100%" rx="10" fill="#0d1117"/>\n{body}\n</svg>\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--command", required=True)
    parser.add_argument("--from", dest="first", required=True)
    parser.add_argument("--to", dest="last", default="")
    arguments = parser.parse_args()
    lines = chosen(session(arguments.command), arguments.first, arguments.last)
    shown = [f"$ {arguments.command}", "", *lines]
    arguments.output.write_text(draw(shown, f"A terminal: {arguments.command}, as it ran"))


if __name__ == "__main__":
    main()
