"""Indexes on disk: kept by content, whole or not at all, one builder at a time, never served damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from corpora import indexes
from corpora.indexes import MARKER, damage, index_key, open_index
from corpora.lucene import LuceneRetriever
from dear.errors import BadInput, IndexFailure
from dear.types import Passage

ROOT = Path(__file__).resolve().parents[2]
MANY = [Passage(f"p{i:05}", " ".join(f"word{(i * 31 + j * j) % 5000}" for j in range(60))) for i in range(8_000)]
BUILD = """
import sys
from pathlib import Path
from corpora.indexes import open_index
from dear.types import Passage
n, folder = int(sys.argv[1]), Path(sys.argv[2])
passages = [Passage(f"p{i:05}", " ".join(f"word{(i * 31 + j * j) % 5000}" for j in range(60))) for i in range(n)]
print("start", flush=True)
print("built", open_index(passages, folder=folder, progress=lambda done, total: print("at", done, flush=True)), flush=True)
"""


def build_elsewhere(n, folder):
    """A process that builds the index of the first `n` of MANY."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", BUILD, str(n), str(folder)], stdout=subprocess.PIPE, text=True, env=env)


def found(index, passages, query="blue sky"):
    retriever = LuceneRetriever(index, {passage.id: passage for passage in passages})
    try:
        return [hit.id for hit in retriever.search(query, 10)]
    finally:
        retriever.close()


def stamp(index):
    return (index / MARKER).stat().st_mtime_ns


def test_built_once_then_served_from_the_cache(tmp_path, sky):
    steps = []
    index = open_index(sky, folder=tmp_path, progress=lambda *step: steps.append(step))
    assert found(index, sky)[0] == "s2"
    assert steps == [(7, 7)]
    before = stamp(index)
    assert open_index(sky, folder=tmp_path) == index
    assert stamp(index) == before
    assert json.loads((index / MARKER).read_text())["passages"] == len(sky)


def test_default_folder_is_the_cache(sky):
    assert open_index(sky).is_relative_to(os.environ["DEAR_CACHE"])


@pytest.mark.parametrize("change", [{"text": "other"}, {"title": "other"}, {"id": "other"}])
def test_other_passages_other_index(sky, change):
    assert index_key(sky) != index_key((replace(sky[0], **change), *sky[1:]))
    assert index_key(sky) != index_key(sky[1:])
    assert index_key((Passage("a", "bc"),)) != index_key((Passage("ab", "c"),))


def damages():
    def cut(index):
        path = max(index.glob("_*.*"), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def flip(index):
        path = max(index.glob("_*.*"), key=lambda path: path.stat().st_size)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def rewrite(**values):
        return lambda index: (index / MARKER).write_text(json.dumps({**json.loads((index / MARKER).read_text()), **values}))

    return {
        "segment cut": (cut, "another size"),
        "one bit flipped": (flip, "other content"),
        "segment gone": (lambda index: next(index.glob("_*.*")).unlink(), "is missing"),
        "segments file gone": (lambda index: next(index.glob("segments_*")).unlink(), "is missing"),
        "marker gone": (lambda index: (index / MARKER).unlink(), "is missing"),
        "marker cut": (lambda index: (index / MARKER).write_text('{"key"'), "cannot be read"),
        "marker of another index": (rewrite(key="0" * 32), "other passages"),
        "marker with another count": (rewrite(passages=3), "other passages"),
        "marker that lists nothing": (rewrite(files=[]), "no segments file"),
        "empty folder": (lambda index: [path.unlink() for path in index.iterdir()], "is missing"),
    }


@pytest.mark.parametrize("name", damages())
def test_damaged_index_is_rebuilt(tmp_path, sky, name):
    spoil, problem = damages()[name]
    index = open_index(sky, folder=tmp_path)
    spoil(index)
    assert problem in damage(index, index.name, len(sky))
    assert open_index(sky, folder=tmp_path) == index
    assert not damage(index, index.name, len(sky))
    assert found(index, sky)[0] == "s2"
    assert {path.name for path in tmp_path.iterdir()} == {index.name, f"{index.name}.lock"}


def test_a_file_where_the_index_should_be(tmp_path, sky):
    (tmp_path / index_key(sky)).write_text("not a folder")
    assert found(open_index(sky, folder=tmp_path), sky)[0] == "s2"


def test_killed_builder_leaves_nothing_that_is_served(tmp_path):
    builder = build_elsewhere(8_000, tmp_path)
    for line in builder.stdout:
        if line.startswith("at") and int(line.split()[1]) >= 1000:
            break
    builder.send_signal(signal.SIGKILL)
    builder.wait(timeout=30)
    builder.stdout.close()
    target = tmp_path / index_key(MANY)
    assert not target.exists()
    assert [path for path in tmp_path.iterdir() if path.is_dir()], "the half-built index lies beside its place"
    assert open_index(MANY, folder=tmp_path) == target
    assert {path.name for path in tmp_path.iterdir()} == {target.name, f"{target.name}.lock"}
    assert found(target, MANY, MANY[77].text)[0] == "p00077"


def test_two_processes_build_once(tmp_path):
    builders = [build_elsewhere(3000, tmp_path) for _ in range(2)]
    outputs = [builder.communicate(timeout=120)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    target = tmp_path / index_key(MANY[:3000])
    assert all(output.endswith(f"built {target}\n") for output in outputs)
    assert sorted("at 3000" in output for output in outputs) == [False, True], "one built, the other waited"
    assert not damage(target, target.name, 3000)


def test_passages_that_cannot_be_indexed(tmp_path, sky):
    with pytest.raises(BadInput, match="passage id 's1' occurs twice"):
        open_index((*sky, sky[0]), folder=tmp_path)
    with pytest.raises(IndexFailure, match="7 of 8 passages were indexed"):
        open_index((*sky, Passage("empty", "")), folder=tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_passages_without_a_searchable_word_are_indexed(tmp_path):
    odd = [Passage("a", "the of and"), Passage("b", "… !?"), Passage("c", "日本語"), Passage("d", "😀 emoji"), Passage("e", "sky")]
    assert sorted(found(open_index(odd, folder=tmp_path), odd, "sky emoji 本")) == ["c", "d", "e"]


def test_unwritable_cache(tmp_path, sky):
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexFailure, match="set DEAR_CACHE"):
        open_index(sky, folder=tmp_path / "file" / "lucene")


def test_searches_go_on_while_an_index_is_built(tmp_path, sky):
    """A build gives way between batches."""
    retriever = LuceneRetriever(open_index(sky, folder=tmp_path), {passage.id: passage for passage in sky})
    waits = []

    def progress(done, total):
        start = time.perf_counter()
        assert retriever.search("blue sky", 3)[0].id == "s2"
        waits.append(time.perf_counter() - start)

    indexes.open_index(MANY[:2000], folder=tmp_path, progress=progress)
    retriever.close()
    assert len(waits) == 4
