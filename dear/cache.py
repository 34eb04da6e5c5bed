"""Folders that are built once and kept: atomic, safe between processes, and rebuilt when a file is truncated or changed."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from dear.errors import CheckpointError

logger = logging.getLogger(__name__)

MARKER = "dear-cache.json"
_verified: set[tuple] = set()


def cache_dir() -> Path:
    """Where built things are kept: `DEAR_CACHE`, else `~/.cache/dear`."""
    return Path(os.environ.get("DEAR_CACHE") or Path.home() / ".cache" / "dear").expanduser()


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def build_once(folder: Path, build: Callable[[Path], None], *, key: Mapping[str, str]) -> Path:
    """Return `folder` as `build(empty folder)` filled it, building at most once over all processes.

    A marker in the folder holds `key` and each file's size and SHA-256; where they do not agree the folder is built again.
    Raises `CheckpointError` when the disk is full or cannot be written.
    """
    from filelock import FileLock

    if is_intact(folder, key):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not is_intact(folder, key):
                _build(folder, build, key)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise CheckpointError(f"{folder} cannot be written ({reason}): free some space, or set DEAR_CACHE to a folder you may write") from error
    return folder


def is_intact(folder: Path, key: Mapping[str, str]) -> bool:
    """Whether the folder was built for `key` and every file is still what was written; checked once a process and state."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files: dict[str, dict] = marker["files"]
        if marker["key"] != dict(key):
            return False
        stats = {name: (folder / name).stat() for name in files}
        state = (str(folder), *sorted((name, s.st_size, s.st_mtime_ns) for name, s in stats.items()))
        if state in _verified:
            return True
        for name, entry in files.items():
            if stats[name].st_size != entry["size"] or sha256(folder / name) != entry["sha256"]:
                logger.warning("%s is damaged: it is built again", folder / name)
                return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    _verified.add(state)
    return True


def _build(folder: Path, build: Callable[[Path], None], key: Mapping[str, str]) -> None:
    for left in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed; only the lock's holder has one
        shutil.rmtree(left, ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        build(work)
        names = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
        files = {name: {"size": (work / name).stat().st_size, "sha256": sha256(work / name)} for name in names}
        (work / MARKER).write_text(json.dumps({"key": dict(key), "files": files}, indent=1), encoding="utf-8")
        work.chmod(0o755)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
