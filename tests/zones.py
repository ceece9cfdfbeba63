"""Writes src/matcher/zones.tsv, the rules of time zones, and tests/data/zones.tsv, what they must come to.

Both come from the IANA time zone database as the package `tzdata` of PyPI carries it: the rules are the footers of its files (RFC 9636, 3.3),
the expected offsets are asked of Python's own `zoneinfo`. A zone whose file holds changes that its rule does not know (they are decided from
year to year) is left out: nobody would tell a filter that is loaded.

    .tools/venv/bin/pip install --upgrade tzdata && .tools/venv/bin/python tests/zones.py
"""

import struct
from datetime import datetime, timedelta, timezone
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import tzdata

ROOT = Path(__file__).resolve().parent.parent
# Zones that the corpus of decisions names.
KNOWN = ["Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata"]
NOW = datetime.now(timezone.utc).timestamp()
HEADER = struct.Struct(">4sc15x6l")


def rule(name):
    """The rule of a zone from now on; None where there is none."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    _, _, isut, isstd, leaps, times, types, chars = HEADER.unpack_from(data)
    second = HEADER.size + times * 5 + types * 6 + chars + leaps * 8 + isstd + isut
    times = HEADER.unpack_from(data, second)[5]
    changes = struct.unpack_from(f">{times}q", data, second + HEADER.size)
    footer = data.rstrip(b"\n").rsplit(b"\n", 1)[1].decode()
    return footer if all(change < NOW for change in changes) else None


def main():
    # The machine's own database may be older.
    reset_tzpath(to=[])
    names = resources.files("tzdata").joinpath("zones").read_text().split()
    rules = {}
    for name in sorted(names):
        found = rule(name)
        if found:
            rules.setdefault(found, []).append(name)
    version = f"# IANA time zone database {tzdata.IANA_VERSION}\n"
    table = version + "".join(f"{found}\t{' '.join(of)}\n" for found, of in sorted(rules.items()))
    (ROOT / "src/matcher/zones.tsv").write_text(table)

    rows = ["# zone, seconds since 1970, minutes ahead of UTC: written by tests/zones.py\n"]
    # Rules are those of now: what was before may have been otherwise.
    begins = [(of[0], datetime(2027, 1, 1, tzinfo=timezone.utc)) for of in rules.values()]
    for name, at in begins + [(name, datetime(2026, 6, 1, tzinfo=timezone.utc)) for name in KNOWN]:
        zone = ZoneInfo(name)
        ahead = lambda second: datetime.fromtimestamp(second, zone).utcoffset() // timedelta(minutes=1)
        start = int(at.timestamp())
        # One row in the middle of nowhere, and both sides of every change until 2041 (with a leap year, and one of each first weekday).
        rows.append(f"{name}\t{start}\t{ahead(start)}\n")
        for hour in range(start, start + 14 * 366 * 86400, 3600):
            before, after = ahead(hour), ahead(hour + 3600)
            if before != after:
                low, high = hour, hour + 3600
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if ahead(middle) == before else (low, middle)
                rows += [f"{name}\t{low}\t{before}\n", f"{name}\t{high}\t{after}\n"]
    (ROOT / "tests/data/zones.tsv").write_text("".join(rows))


if __name__ == "__main__":
    main()
