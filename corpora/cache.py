"""Where built things are kept (indexes, embeddings): by content hash, written atomically, under a lock between processes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from dear.errors import IndexFailure
from dear.types import Passage

logger = logging.getLogger(__name__)
LOCK_SECONDS = 1800


def cache_dir() -> Path:
    """The cache folder: environment variable DEAR_CACHE, else `~/.cache/dear`."""
    return Path(os.environ.get("DEAR_CACHE") or Path.home() / ".cache" / "dear")


def content_hash(passages: Iterable[Passage], *extra: str) -> str:
    """SHA-256 (hex, 32 characters of it) over ids, titles and texts in order, and over `extra` (options, versions)."""
    digest = hashlib.sha256()
    for part in extra:
        _feed(digest, part)
    for passage in passages:
        for part in (passage.id, passage.title, passage.text):
            _feed(digest, part)
    return digest.hexdigest()[:32]


def _feed(digest: hashlib._Hash, part: str) -> None:
    data = part.encode("utf-8", "surrogatepass")
    digest.update(len(data).to_bytes(8, "big"))
    digest.update(data)


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of `target` (a file beside it, freed by the system when its holder dies); makes the folder."""
    from filelock import FileLock, Timeout

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(target.name + ".lock"))
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise IndexFailure(f"{target.name} has been locked for {LOCK_SECONDS} s: another process builds it, wait or end that one") from error
    except OSError as error:
        raise disk_failure(target, error) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a path to write beside `target`; it takes the target's place, synced to disk, only if no error is raised."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
        sync(Path(name))
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have the system write the file or folder to disk now; a folder is skipped where that is not possible."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        logger.debug("%s cannot be synced: %s", path, error)
    finally:
        os.close(handle)


def disk_failure(target: Path, error: OSError) -> IndexFailure:
    """The error to raise when the cache cannot be written."""
    reason = error.strerror or error
    return IndexFailure(f"{str(target.parent)!r} cannot be written ({reason}): free some space there, or set DEAR_CACHE to another folder")
