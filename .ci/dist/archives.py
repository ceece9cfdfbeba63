"""Archives whose bytes depend on nothing but what is in them: sorted, with one owner and one time."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A file of an archive."""

    data: bytes
    mode: int = 0o644


def of(file: Path, mode: int = 0o644) -> Entry:
    """A file as it is."""
    return Entry(file.read_bytes(), mode)


def tar(entries: Mapping[str, Entry], epoch: int, directories: bool = False, prefix: str = "") -> bytes:
    """A tar archive. With `directories` it also has an entry for each folder, as Debian's packages do."""
    out = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:

        def add(name: str, data: bytes, mode: int, kind: bytes) -> None:
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mode, info.mtime, info.type = len(data), mode, epoch, kind
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            archive.addfile(info, io.BytesIO(data))

        if directories and prefix:
            add("", b"", 0o755, tarfile.DIRTYPE)
        for name in sorted(entries):
            for parent in reversed(Path(name).parents) if directories else []:
                folder = f"{parent}/"
                if folder != "./" and folder not in folders:
                    folders.add(folder)
                    add(folder, b"", 0o755, tarfile.DIRTYPE)
            add(name, entries[name].data, entries[name].mode, tarfile.REGTYPE)
    return out.getvalue()


def tar_gz(entries: Mapping[str, Entry], epoch: int, directories: bool = False, prefix: str = "") -> bytes:
    """The same, compressed: without a name or a time in the head."""
    return gzip.compress(tar(entries, epoch, directories, prefix), compresslevel=9, mtime=0)


def zip_file(entries: Mapping[str, Entry], epoch: int, order: list[str] | None = None) -> bytes:
    """A zip archive. It knows no time before 1980."""
    when = datetime.fromtimestamp(max(epoch, 315532800), timezone.utc).timetuple()[:6]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in order or sorted(entries):
            info = zipfile.ZipInfo(name, when)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = (0o100000 | entries[name].mode) << 16
            archive.writestr(info, entries[name].data)
    return out.getvalue()
