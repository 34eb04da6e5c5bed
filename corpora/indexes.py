"""Lucene indexes on disk: built atomically, kept by content hash, verified before use, rebuilt when damaged."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpora.cache import cache_dir, content_hash, disk_failure, locked, sync
from corpora.jvm import anserini_jar, in_java, java_class
from corpora.retrieval import check_ids
from dear.errors import IndexFailure
from dear.types import Passage

logger = logging.getLogger(__name__)
MARKER = "dear-index.json"
FORMAT = "1"
BATCH = 500
# English analysis (Porter stemmer, Lucene's stop words) as in Anserini's baselines; document vectors are what RM3 reads.
OPTIONS = ("-collection", "JsonCollection", "-input", "", "-storeDocvectors", "-memoryBuffer", "64")
Progress = Callable[[int, int], None]


def index_key(passages: Sequence[Passage]) -> str:
    """The content hash an index of `passages` is kept under: texts, analysis options and Anserini's version count."""
    return content_hash(passages, FORMAT, *OPTIONS, anserini_jar().name)


def open_index(passages: Sequence[Passage], *, folder: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of a sound index of `passages`: the one kept in the cache, else built now (5,000 passages take 1–2 s).

    An index without marker, of other content, or with a missing or altered file is rebuilt. `progress(done, total)`.
    Raises `BadInput` on a duplicate id, `IndexFailure` when the index cannot be built.
    """
    check_ids(passages)
    key = index_key(passages)
    target = (folder or cache_dir() / "lucene") / key
    with locked(target):
        if not (problem := damage(target, key, len(passages))):
            return target
        logger.debug("index %s is built: %s", target, problem)
        try:
            _replace(target, key, passages, progress)
        except OSError as error:
            raise disk_failure(target, error) from error
    return target


def damage(index: Path, key: str, count: int) -> str:
    """Why the index must not be served, or an empty string when it is sound (every file's size and CRC-32 are checked)."""
    try:
        marker = json.loads((index / MARKER).read_bytes())
        wanted = {name: (size, crc) for name, size, crc in marker["files"]}
        if marker["key"] != key or marker["passages"] != count:
            return "it holds other passages"
        for name, (size, crc) in wanted.items():
            if (index / name).stat().st_size != size:
                return f"{name} has another size"
            if _crc(index / name) != crc:
                return f"{name} has other content"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it cannot be read ({error!r})"
    return "" if any(name.startswith("segments_") for name in wanted) else "it has no segments file"


def _replace(target: Path, key: str, passages: Sequence[Passage], progress: Progress | None) -> None:
    """Build beside `target`, then move into its place. The caller holds the lock, so leftovers of this key are nobody's."""
    for leftover in target.parent.glob(f".{key}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=target.parent))
    try:
        count = write_index(building, passages, progress)
        if count != len(passages):
            raise IndexFailure(f"{count} of {len(passages)} passages were indexed: remove those without text, then try again")
        _mark(building, key, count)
        if target.exists():
            os.rename(target, building.with_name(building.name + "-old"))
        os.replace(building, target)
        sync(target.parent)
    finally:
        for leftover in target.parent.glob(f".{key}-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _mark(index: Path, key: str, count: int) -> None:
    """Write the marker last: an index without it is half-built."""
    files = [(path.name, path.stat().st_size, _crc(path)) for path in sorted(index.iterdir()) if path.name != "write.lock"]
    for name, _, _ in files:
        sync(index / name)
    (index / MARKER).write_text(json.dumps({"key": key, "passages": count, "files": files}), encoding="utf-8")
    sync(index / MARKER)
    sync(index)


def _crc(path: Path) -> int:
    value = 0
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def write_index(folder: Path, passages: Sequence[Passage], progress: Progress | None = None) -> int:
    """Write a Lucene index of `passages` into an empty folder and return how many it holds."""
    indexer = _new_indexer(str(folder))
    try:
        for start in range(0, len(passages), BATCH):
            _add(indexer, passages[start : start + BATCH])
            if progress:
                progress(min(start + BATCH, len(passages)), len(passages))
    finally:
        _finish(indexer)
    return _count(str(folder))


@in_java
def _new_indexer(folder: str) -> list[Any]:
    return [java_class("io.anserini.index.SimpleIndexer")(["-index", folder, *OPTIONS, "-threads", "1"])]


@in_java
def _add(indexer: list[Any], passages: Sequence[Passage]) -> None:
    document = java_class("io.anserini.collection.JsonCollection$Document")
    indexer[0].addJsonDocuments([document.fromFields(passage.id, passage.full_text) for passage in passages])


@in_java
def _finish(indexer: list[Any]) -> None:
    indexer.pop().close()


@in_java
def _count(folder: str) -> int:
    reader = java_class("io.anserini.index.IndexReaderUtils").getReader(folder)
    try:
        return reader.numDocs()
    finally:
        reader.close()
