#!/usr/bin/env python3
"""Draws what grafana-dashboard.json shows, from a running Prometheus, into one SVG file, without Grafana.

    envoy/picture.py http://127.0.0.1:9090 dashboard.svg --minutes 60

    picture.draw("http://127.0.0.1:9090", Path("dashboard.svg"), time.time() - 60, time.time())

The titles, the queries and the places come from the dashboard itself, so the picture cannot show anything else.
It needs nothing beyond Python's standard library.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).resolve().parent / "grafana-dashboard.json"

# Grafana's page has 24 columns. These are a column's width and a row's height here.
COLUMN, ROW, GAP = 50, 27, 8
POINTS = 120
CHARACTER = 5.9  # how wide one is in the font of legends

PALETTE = ("#5794f2", "#73bf69", "#ff9830", "#b877d9", "#f2495c", "#14b8a6", "#d6a51b", "#e36bb1", "#8a8f98", "#8d6e63")
NAMED = {
    "green": "#56a64b",
    "blue": "#5794f2",
    "red": "#e5484d",
    "dark-red": "#a3282d",
    "yellow": "#d6a51b",
    "light-yellow": "#ecd06f",
    "orange": "#ff9830",
    "purple": "#b877d9",
}
UNITS = {"reqps": "/s", "ops": "/s", "percent": " %", "µs": " µs"}

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #24292f; }
.page { fill: #f6f8fa; } .card { fill: #ffffff; stroke: #d0d7de; } .grid { stroke: #d8dee4; }
.title { font-weight: 600; font-size: 12.5px; } .row { font-weight: 600; font-size: 14px; } .quiet { fill: #656d76; }
.mono { font-family: ui-monospace, monospace; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .page { fill: #0d1117; } .card { fill: #161b22; stroke: #30363d; } .grid { stroke: #30363d; } .quiet { fill: #8d96a0; }
}
"""

Panel = dict[str, Any]


class PictureError(Exception):
    """Prometheus does not answer, or not to this; the text says what."""


@dataclass(frozen=True)
class Window:
    """What is shown, in Unix seconds, and what Grafana's variables are for it."""

    start: float
    end: float
    scrape: float
    policy: str = ".*"

    @property
    def step(self) -> float:
        """The time between two points."""
        return max(self.scrape, (self.end - self.start) / POINTS)

    def fill(self, expression: str) -> str:
        """Puts values in place of the variables, by Grafana's own rule for `$__rate_interval`."""
        rate = max(self.step + self.scrape, 4 * self.scrape)
        values = {
            "$__rate_interval_ms": f"{rate * 1000:.0f}",
            "$__rate_interval": f"{rate * 1000:.0f}ms",
            "$policy": self.policy,
        }
        for name, value in values.items():
            expression = expression.replace(name, value)
        if "$" in expression:
            raise PictureError(f"a variable of the dashboard has no value here: {expression}")
        return expression


@dataclass
class Series:
    """One line of a panel: its name in the legend, its value by point, and its labels."""

    name: str
    values: dict[int, float]
    labels: dict[str, str]


# --- The dashboard and Prometheus -------------------------------------------------------------


def panels(path: Path = DASHBOARD) -> list[Panel]:
    """The panels of the dashboard, those that are headings too."""
    return list(json.loads(path.read_text())["panels"])


def queries(panel: Panel) -> list[str]:
    """The expressions of a panel, with Grafana's variables in them."""
    return [target["expr"] for target in panel.get("targets", [])]


class Prometheus:
    """The parts of its API that are needed."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def get(self, path: str, **parameters: str) -> Any:
        """Asks, and returns the data of the answer."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        # A proxy in the environment must not be asked for what is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=30) as reply:
                return json.loads(reply.read())["data"]
        except urllib.error.HTTPError as error:
            raise PictureError(f"{parameters.get('query', path)}: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise PictureError(f"{self._url} does not answer: {error}") from error

    def scrape_interval(self) -> float:
        """The longest time between two scrapes of a target that has the filter's metrics, else of any."""
        targets = self.get("targets", state="active")["activeTargets"]
        having = {(each["metric"].get("job"), each["metric"].get("instance")) for each in self.instant("mcp_policy_info")}
        wanted = [each for each in targets if (each["labels"].get("job"), each["labels"].get("instance")) in having]
        return max((_seconds(each["scrapeInterval"]) for each in wanted or targets), default=15.0)

    def instant(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """An expression's vector."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        return list(self.get("query", query=expression, **when)["result"])

    def range(self, expression: str, window: Window) -> list[dict[str, Any]]:
        """An expression's matrix."""
        within = {"start": f"{window.start:.3f}", "end": f"{window.end:.3f}", "step": f"{window.step:.3f}"}
        return list(self.get("query_range", query=expression, **within)["result"])


def _seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", duration))


def fetch(prometheus: Prometheus, panel: Panel, window: Window) -> list[Series]:
    """What a panel shows. Values are numbered by their point, from the window's start."""
    found = []
    for target in panel["targets"]:
        expression = window.fill(target["expr"])
        for each in _ask(prometheus, target, expression, window):
            labels = each["metric"]
            name = re.sub(r"{{\s*(\w+)\s*}}", lambda match, of=labels: of.get(match[1], ""), target["legendFormat"])  # type: ignore[misc]
            points = {round((when - window.start) / window.step): float(value) for when, value in each["values"]}
            points = {at: value for at, value in points.items() if math.isfinite(value)}
            found.append(Series(" ".join(name.split()), points, labels))
    return found


def _ask(prometheus: Prometheus, target: dict[str, Any], expression: str, window: Window) -> Iterator[dict[str, Any]]:
    if target.get("instant"):
        for each in prometheus.instant(expression, window.end):
            yield {"metric": each["metric"], "values": [each["value"]]}
    else:
        yield from prometheus.range(expression, window)


# --- The drawing ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture."""

    x: float
    y: float
    width: float
    height: float

    def inset(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The same without its edges."""
        return Box(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


def draw(prometheus_url: str, path: Path, start: float, end: float) -> None:
    """Draws the dashboard for a stretch of time, in Unix seconds."""
    prometheus = Prometheus(prometheus_url)
    window = Window(start, end, prometheus.scrape_interval())
    shown = panels()
    height = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in shown) * ROW + GAP
    width = 24 * COLUMN + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>The dashboard of mcp-policy</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for panel in shown:
        at = panel["gridPos"]
        box = Box(at["x"] * COLUMN + GAP, at["y"] * ROW + GAP, at["w"] * COLUMN - GAP, at["h"] * ROW - GAP)
        if panel["type"] == "row":
            parts.append(_text(box.x + 2, box.y + 14, panel["title"], "row"))
        else:
            parts += _card(panel, box, fetch(prometheus, panel, window), window)
    path.write_text("\n".join([*parts, "</svg>", ""]))


def _card(panel: Panel, box: Box, series: Sequence[Series], window: Window) -> Iterator[str]:
    yield f"<g><title>{escape(panel['description'])}</title>"
    yield f'<rect class="card" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6"/>'
    yield _text(box.x + 10, box.y + 18, panel["title"], "title")
    inner = box.inset(10, 30, 10, 8)
    series = [each for each in series if each.values]
    if not series:
        yield _text(box.x + box.width / 2, box.y + box.height / 2 + 6, "nothing in this time", "quiet", "middle")
    elif panel["type"] == "table":
        yield from _table(inner, series)
    elif panel["type"] == "heatmap":
        yield from _heatmap(inner, series, window)
    else:
        yield from _graph(panel, inner, series, window)
    yield "</g>"


def _graph(panel: Panel, box: Box, series: Sequence[Series], window: Window) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    fixed = {each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"] for each in panel["fieldConfig"]["overrides"]}
    colours = [NAMED[fixed[each.name]] if each.name in fixed else PALETTE[n % len(PALETTE)] for n, each in enumerate(series)]
    legend, lines = _legend(box, series, colours)
    yield from legend
    plot = box.inset(46, 4, 4, 20 + lines * 15)

    if stacked:
        top = max(sum(each.values.get(at, 0) for each in series) for at in _points(window))
    else:
        top = max(max(each.values.values()) for each in series)
    top = defaults.get("max") or _round_up(top)
    yield from _axes(plot, top, UNITS.get(defaults["unit"], ""), window)
    if stacked:
        yield from _bars(plot, series, colours, top, window)
    else:
        for each, colour in zip(series, colours):
            yield from _line(plot, each, colour, top, window)


def _bars(plot: Box, series: Sequence[Series], colours: Sequence[str], top: float, window: Window) -> Iterator[str]:
    each_width = plot.width / (_last(window) + 1)
    heights = dict.fromkeys(_points(window), 0.0)
    for each, colour in zip(series, colours):
        path = []
        for at, value in sorted(each.values.items()):
            # The end may be rounded to one point more.
            if value <= 0 or at not in heights:
                continue
            tall = value / top * plot.height
            x, y = plot.x + at * each_width, plot.y + plot.height - heights[at] - tall
            path.append(f"M{x:.1f} {y:.1f}h{max(each_width - 0.6, 0.6):.1f}v{tall:.1f}h-{max(each_width - 0.6, 0.6):.1f}z")
            heights[at] += tall
        if path:
            yield f'<path fill="{colour}" d="{"".join(path)}"/>'


def _line(plot: Box, series: Series, colour: str, top: float, window: Window) -> Iterator[str]:
    path, before = [], None
    for at, value in sorted(series.values.items()):
        x = plot.x + (at + 0.5) / (_last(window) + 1) * plot.width
        y = plot.y + plot.height * (1 - min(value / top, 1))
        # A gap in the data is a gap in the line; a point alone is a dot.
        path.append(f"{'L' if before == at - 1 else 'M'}{x:.1f} {y:.1f}{'' if before == at - 1 else 'h.1'}")
        before = at
    yield f'<path fill="none" stroke="{colour}" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" d="{"".join(path)}"/>'


def _heatmap(box: Box, series: Sequence[Series], window: Window) -> Iterator[str]:
    """Rows are buckets. Prometheus says how many are in each and in all below it."""
    plot = box.inset(46, 4, 4, 20)
    buckets = sorted(series, key=lambda each: float(each.labels["le"]))
    below: dict[int, float] = {}
    cells = []
    for row, each in enumerate(buckets):
        cells += [(row, at, value - below.get(at, 0)) for at, value in each.values.items()]
        below = each.values
    most = max(value for _, _, value in cells) or 1
    wide, tall = plot.width / (_last(window) + 1), plot.height / len(buckets)
    for row, each in enumerate(buckets):
        label = "more" if each.labels["le"] == "+Inf" else f"≤ {float(each.labels['le']):g} %"
        yield _text(plot.x - 6, plot.y + plot.height - (row + 0.5) * tall + 4, label, "quiet", "end")
    yield f'<rect class="grid" fill="none" x="{plot.x}" y="{plot.y}" width="{plot.width}" height="{plot.height}"/>'
    for row, at, value in cells:
        if value > most * 1e-6:
            x, y = plot.x + at * wide, plot.y + plot.height - (row + 1) * tall
            yield (
                f'<rect fill="#ff7a1a" fill-opacity="{0.2 + 0.8 * math.sqrt(value / most):.2f}" '
                f'x="{x:.1f}" y="{y:.1f}" width="{max(wide - 0.6, 0.6):.1f}" height="{tall - 0.6:.1f}"/>'
            )
    yield from _times(plot, window)


def _table(box: Box, series: Sequence[Series]) -> Iterator[str]:
    columns = (("policy", 0.0, 0.2), ("version", 0.2, 0.1), ("digest", 0.3, 0.7))
    for label, share, _ in columns:
        yield _text(box.x + share * box.width, box.y + 12, label, "quiet")
    shown = int((box.height - 12) // 20) - 1
    for number, each in enumerate(sorted(series, key=lambda each: sorted(each.labels.items()))):
        y = box.y + 34 + number * 20
        if number >= shown and len(series) > shown + 1:
            yield _text(box.x, y, f"and {len(series) - number} more", "quiet")
            return
        for label, share, wide in columns:
            text = each.labels.get(label, "")
            fits = int(wide * box.width / (CHARACTER + 1))
            yield _text(box.x + share * box.width, y, text if len(text) <= fits else text[: fits - 1] + "…", "mono")


def _legend(box: Box, series: Sequence[Series], colours: Sequence[str]) -> tuple[list[str], int]:
    """Names at the foot of a panel, in three lines at most, and how many lines they are."""
    places: list[tuple[int, float, str, str]] = []
    line, x = 0, 0.0
    for number, (each, colour) in enumerate(zip(series, colours)):
        room = int((box.width - 20) / CHARACTER)
        name = each.name if len(each.name) <= room else each.name[: room - 1] + "…"
        width = len(name) * CHARACTER + 26
        if x and x + width > box.width:
            line, x = line + 1, 0.0
        if line == 2 and number < len(series) - 1 and x + width + 70 > box.width:
            places.append((line, x, f"and {len(series) - number} more", ""))
            break
        places.append((line, x, name or "–", colour))
        x += width
    top = box.y + box.height - line * 15
    parts = []
    for at, left, name, colour in places:
        if colour:
            parts.append(f'<rect fill="{colour}" x="{box.x + left:.1f}" y="{top + at * 15 - 9:.1f}" width="10" height="10" rx="2"/>')
        parts.append(_text(box.x + left + 15, top + at * 15, name))
    return parts, line + 1


def _axes(plot: Box, top: float, unit: str, window: Window) -> Iterator[str]:
    for share in (0, 0.5, 1):
        y = plot.y + plot.height * (1 - share)
        yield f'<line class="grid" x1="{plot.x}" x2="{plot.x + plot.width:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(plot.x - 6, y + 4, f"{share * top:g}{unit}" if share else "0", "quiet", "end")
    yield from _times(plot, window)


def _times(plot: Box, window: Window) -> Iterator[str]:
    form = "%H:%M:%S" if window.end - window.start < 900 else "%H:%M" if window.end - window.start < 86400 * 2 else "%d.%m. %H:%M"
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        when = time.strftime(form, time.gmtime(window.start + share * (window.end - window.start)))
        yield _text(plot.x + share * plot.width, plot.y + plot.height + 15, f"{when} UTC" if share == 0 else when, "quiet", anchor)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(_printable(text))}</text>'


def _printable(text: str) -> str:
    """XML has no controls, and a name must not turn the text around."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _last(window: Window) -> int:
    return int((window.end - window.start) / window.step)


def _points(window: Window) -> range:
    return range(_last(window) + 1)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 …: an axis with plain numbers."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Draws the dashboard of mcp-policy from a running Prometheus.")
    parser.add_argument("prometheus", help="its address, such as http://127.0.0.1:9090")
    parser.add_argument("file", type=Path, help="the SVG file that is written")
    parser.add_argument("--minutes", type=float, default=60, help="how far back it goes (60)")
    arguments = parser.parse_args()
    now = time.time()
    try:
        draw(arguments.prometheus, arguments.file, now - 60 * arguments.minutes, now)
    except PictureError as error:
        print(f"picture.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
