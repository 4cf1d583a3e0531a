"""Puts a file's new content in place of the one it was made from: whole, or not at all.

Two dashboards over one file take turns by a lock on its folder. An editor knows of no lock: what it
saves in the last moment is found by exchanging the two files, as Linux can in one step, and looking
at what came out. Elsewhere the content is compared right before the file is replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_log = logging.getLogger(__name__)

Exchange = Callable[[Path, Path], None]
"""Has two files change places."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def turn(path: Path) -> Generator[None]:
    """Waits until no other dashboard is about to write a file of this folder."""
    if sys.platform == "win32":
        with (path.parent / f".{path.name}.lock").open("ab") as lock:
            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
            yield
    else:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
            except OSError as error:
                # Some network drives lock no folder; comparing the content is what is left.
                _log.warning("%s cannot be locked: %s", path.parent, error.strerror)
            yield
        finally:
            os.close(folder)


def replace(
    path: Path,
    content: bytes,
    before: bytes,
    swap: Exchange | None = None,
) -> bool:
    """Puts content in a file's place, with its mode and owner; False where it is not ``before``.

    Then nothing is written. A crash leaves the one content or the other. OSError where the file, or
    its folder, cannot be written.

    Args:
        path: The file itself, no link to it.
        content: What is to be in it.
        before: What it is made from.
        swap: Exchanges two files in one step; default: ``exchange``.
    """
    # A file that is kept from being written is not replaced, though its folder would allow it.
    path.open("r+b").close()
    for left in path.parent.glob(f".{path.name}.*.new"):
        # By a process that was killed.
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            _take_after(new, path)
            os.fsync(stream.fileno())
        if path.read_bytes() != before:
            return False
        return _put(new, path, content, before, swap or exchange)
    finally:
        new.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _put(
    new: Path,
    path: Path,
    content: bytes,
    before: bytes,
    swap: Exchange,
) -> bool:
    put, expected = content, before
    while True:
        try:
            swap(new, path)
        except OSError as error:
            if error.errno not in _CANNOT_EXCHANGE:
                raise
            new.replace(path)
            return True
        found = new.read_bytes()
        if found == expected:
            return put is content
        # Somebody saved in between: what they saved goes back.
        put, expected = found, put


def _take_after(new: Path, path: Path) -> None:
    shutil.copymode(path, new)
    if sys.platform != "win32":
        owner = path.stat()
        # Only root gives a file away; a group that one belongs to can be kept.
        for user, group in ((-1, owner.st_gid), (owner.st_uid, -1)):
            with contextlib.suppress(PermissionError):
                os.chown(new, user, group)


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def exchange(one: Path, other: Path) -> None:
    """Exchanges two files in one step; OSError with EINVAL or ENOSYS where that cannot be."""
    rename = _renameat2()
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = (os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if rename(_AT_FDCWD, *names, _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _sync_folder(folder: Path) -> None:
    """Has the system write down which file bears the name; Windows does by itself."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
