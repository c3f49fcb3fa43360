"""Reads what people handed in, folders and zip files alike, without believing any of it.

A tree names its files by the parts of their paths, as ``("c1_image_classification", "stub.py")``. No link is followed,
no device or pipe is opened, nothing is read beyond a bound, whatever sizes are declared, and nothing is unpacked: what
is wanted is looked up by its name.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

FOLDER, FILE, OTHER = "folder", "file", "other"
MOST_ENTRIES = 1000  #: of one folder that are looked at
MOST_MEMBERS = 20_000  #: of a zip file
MOST_DIRECTORY_BYTES = 2 << 20  #: of a zip file's list of members
MOST_NAME_BYTES = 255  #: of one part of a path, as file systems have it
_MOST_PARTS = 16

Parts = tuple[str, ...]


class Refused(ValueError):  # noqa: N818 (it reads as what happened)
    """A file or a whole tree is not taken; the text says why, in one line."""


class Tree(Protocol):
    def entries(self, folder: Parts) -> dict[str, str]:
        """What lies in a folder: for each name, FOLDER, FILE or OTHER (links, devices and so on).

        Empty where there is no such folder. Raises Refused where there is too much or nothing can be read.
        """

    def read(self, path: Parts, most: int) -> bytes:
        """A file's content. Raises Refused: it is no plain file, has more than `most` bytes or cannot be read."""

    def close(self) -> None: ...


class FolderTree:
    """A folder on disk, opened part by part: a link that takes a folder's place meanwhile is not followed either."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def entries(self, folder: Parts) -> dict[str, str]:
        found: dict[str, str] = {}
        try:
            with self._opened(folder, os.O_DIRECTORY) as handle, os.scandir(handle) as entries:
                for entry in entries:
                    if len(found) == MOST_ENTRIES:
                        raise Refused(f"more than {MOST_ENTRIES} entries in one folder")
                    found[entry.name] = _kind(entry.stat(follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Refused(_trouble(error)) from error
        return found

    def read(self, path: Parts, most: int) -> bytes:
        try:
            with self._opened(path, os.O_NONBLOCK) as handle:  # a pipe would wait for a writer
                about = os.fstat(handle)
                if not stat.S_ISREG(about.st_mode):
                    raise Refused("not a plain file")
                if about.st_nlink > 1:
                    # Made by somebody who could not read it, maybe: who grades can.
                    raise Refused("a hard link, which may name any file of this disk: copy the submissions elsewhere")
                if about.st_size > most:
                    raise Refused(_too_large(most))
                with os.fdopen(handle, "rb", closefd=False) as file:
                    data = file.read(most + 1)
        except OSError as error:
            raise Refused(_trouble(error)) from error
        if len(data) > most:
            raise Refused(_too_large(most))
        return data

    def close(self) -> None:
        pass

    @contextlib.contextmanager
    def _opened(self, path: Parts, flags: int) -> Iterator[int]:
        """A descriptor of what lies at `path`, no part of which is a link. Raises OSError."""
        common = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._root, common | os.O_DIRECTORY)
        try:
            for number, part in enumerate(path):
                last = number == len(path) - 1
                inner = os.open(part, common | (flags if last else os.O_DIRECTORY), dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)


class ZipTree:
    """A zip file. Members with absolute paths or ``..`` in them, links and encrypted ones are left aside."""

    def __init__(self, path: Path) -> None:
        """Raises Refused: it is not a readable zip file, or its list of members is too long."""
        self._open: list[Any] = []
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            file = os.fdopen(handle, "rb")
            self._open.append(file)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused("not a plain file")
            if os.fstat(handle).st_nlink > 1:
                raise Refused("a hard link, which may name any file of this disk: copy the submissions elsewhere")
            with _spoken():
                archive = zipfile.ZipFile(_Bounded(file))  # type: ignore[arg-type]
            self._open.append(archive)
            self._archive = archive
            self._members = _members(archive)
            self._folders = _folders(self._members)
        except OSError as error:
            self.close()
            raise Refused(_trouble(error)) from error
        except BaseException:
            self.close()
            raise

    def entries(self, folder: Parts) -> dict[str, str]:
        found = self._folders.get(folder, {})
        if len(found) > MOST_ENTRIES:
            raise Refused(f"more than {MOST_ENTRIES} entries in one folder")
        return found

    def read(self, path: Parts, most: int) -> bytes:
        info = self._members.get(path)
        if info is None:
            raise Refused("there is no such file")
        if _kind_of_member(info) != FILE:
            raise Refused("not a plain file")
        if info.flag_bits & 1:
            raise Refused("encrypted: hand in a zip file without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused("compressed in a way that is not usual for zip files: use stored or deflated")
        if info.file_size > most:
            raise Refused(_too_large(most))
        with _spoken(), self._archive.open(info) as file:
            data = file.read(most + 1)  # inflates no more than it is asked for, whatever the member declares
        if len(data) > most:
            raise Refused(_too_large(most))
        return data

    def close(self) -> None:
        while self._open:
            self._open.pop().close()


class _Bounded(io.RawIOBase):
    """A file of which no more is read at once than a list of members may take.

    `zipfile` reads a list in one piece, as long as the file says it is, and makes an object of each entry.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        wanted = MOST_DIRECTORY_BYTES + 1 if size is None or size < 0 else size
        if size is not None and size > MOST_DIRECTORY_BYTES:
            raise Refused("a list of members that is too long")
        data = self._file.read(wanted)
        if len(data) > MOST_DIRECTORY_BYTES:
            raise Refused("a list of members that is too long")
        return data


def _members(archive: zipfile.ZipFile) -> dict[Parts, zipfile.ZipInfo]:
    """The members whose names are decent paths, by their parts; of two with one name the later."""
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS:
        raise Refused(f"more than {MOST_MEMBERS} members")
    found: dict[Parts, zipfile.ZipInfo] = {}
    for info in infos:
        parts = tuple(info.filename.replace("\\", "/").rstrip("/").split("/"))  # some programs for Windows write these
        if len(parts) <= _MOST_PARTS and all(map(_decent, parts)):
            found[parts] = info
    return found


def _folders(members: dict[Parts, zipfile.ZipInfo]) -> dict[Parts, dict[str, str]]:
    """What lies in each folder, folders that are no members themselves among them."""
    found: dict[Parts, dict[str, str]] = {}
    for parts, info in members.items():
        for depth in range(len(parts)):
            kind = FOLDER if depth + 1 < len(parts) else _kind_of_member(info)
            inside = found.setdefault(parts[:depth], {})
            if inside.get(parts[depth]) != FOLDER:
                inside[parts[depth]] = kind
    return found


def _decent(part: str) -> bool:
    """Whether this can be one part of a path below a folder: an absolute path, for one, begins with an empty part."""
    encoded = part.encode("utf-8", "replace")
    return part not in ("", ".", "..") and "\0" not in part and len(encoded) <= MOST_NAME_BYTES


def _kind(mode: int) -> str:
    return FOLDER if stat.S_ISDIR(mode) else FILE if stat.S_ISREG(mode) else OTHER


def _kind_of_member(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16  # 0 where it was made by a program that knows no modes
    if info.is_dir():
        return FOLDER
    return FILE if not stat.S_IFMT(mode) or stat.S_ISREG(mode) else OTHER


@contextlib.contextmanager
def _spoken() -> Iterator[None]:
    """Turns everything that `zipfile` raises for a damaged file into Refused."""
    try:
        yield
    except Refused:
        raise
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, ValueError, RuntimeError, OverflowError,
        IndexError, TypeError,
    ) as error:  # fmt: skip
        raise Refused(f"a damaged zip file ({error or type(error).__name__})") from error


def _trouble(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return "a link, and links are not followed"
    if error.errno == errno.ENOTDIR:
        return "not a folder, or a link to one, which is not followed"
    return error.strerror or str(error)


def _too_large(most: int) -> str:
    return f"larger than {most >> 20} MiB" if most >= 1 << 20 else f"larger than {most} bytes"
