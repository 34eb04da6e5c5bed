"""Fixtures: a small benchmark in every shape a benchmark can have, and an empty store for each test."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from small_benchmarks import QRELS, QUERIES, write_benchmark, write_raw_index


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Every test starts with an empty store."""
    monkeypatch.setenv("DEAR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def room():
    """What the command line hands in: the modules that read and search text."""
    return lambda name: importlib.import_module(f"corpora.{name}")


@pytest.fixture
def small(tmp_path) -> Path:
    """A folder benchmark."""
    return write_benchmark(tmp_path / "data" / "deeper" / "small")


@pytest.fixture
def staged(tmp_path) -> Path:
    """The layout the network gives for DL19: a Lucene index with stored text, Anserini's topics and TREC qrels."""
    folder = tmp_path / "mirror" / "dl19"
    (folder / "index").mkdir(parents=True)
    write_raw_index(str(folder / "index"))
    (folder / "topics.dl19-passage.txt").write_text("".join(f"{n}\t{text}\n" for n, text in enumerate(QUERIES.values(), 101)), encoding="utf-8")
    lines = [f"{n} 0 {passage} {grade}\n" for n, grades in enumerate(QRELS.values(), 101) for passage, grade in grades.items()]
    (folder / "qrels.dl19-passage.txt").write_text("".join(lines), encoding="utf-8")
    return folder
