"""A small benchmark: passages, queries (q4 is not judged) and grades, and how to write them as files; and what two runs over it must agree in."""

from __future__ import annotations

import json
from pathlib import Path

from corpora.jvm import in_java, java_class

PASSAGES = {
    "sky-1": ("Light", "Short waves of sunlight scatter most. That is why the sky is blue at noon."),
    "sky-2": ("", "The sky looked grey that day. Rain fell on the town."),
    "sea-1": ("Sea", "The sea is deep. Salt water covers most of the earth."),
    "sea-2": ("", "A blue whale lives in the deep sea. It eats krill."),
    "bread-1": ("Bread", "Yeast makes gas. The gas lets the dough rise in the oven."),
    "bread-2": ("", "Bread is sold on the market. A loaf of bread costs little."),
}
QUERIES = {"q1": "why is the sky blue", "q2": "how deep is the sea", "q3": "what makes bread rise", "q4": "who wrote this"}
QRELS = {"q1": {"sky-1": 3, "sky-2": 0}, "q2": {"sea-1": 2, "sea-2": 1}, "q3": {"bread-1": 2, "bread-2": 0}}
TIMES = ("seconds_per_query", "seconds_total", "times_slower")


def timeless(value):
    """The figures without the clock's."""
    if isinstance(value, dict):
        return {name: timeless(item) for name, item in value.items() if name not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def write_rows(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_benchmark(folder: Path) -> Path:
    """Corpus, queries (q4 has no judgment) and qrels."""
    folder.mkdir(parents=True)
    write_rows(folder / "corpus.jsonl", ({"id": id_, "title": title, "text": text} for id_, (title, text) in PASSAGES.items()))
    write_rows(folder / "queries.jsonl", ({"id": id_, "text": text} for id_, text in QUERIES.items()))
    lines = [f"{query}\t{passage}\t{grade}\n" for query, grades in QRELS.items() for passage, grade in grades.items()]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
    return folder


@in_java
def write_raw_index(folder: str) -> None:
    """A Lucene index with its text in the stored field, as the prebuilt ones have it."""
    indexer = java_class("io.anserini.index.SimpleIndexer")(["-index", folder, "-collection", "JsonCollection", "-input", "", "-storeRaw"])
    for id_, (title, text) in PASSAGES.items():
        indexer.addRawDocument(json.dumps({"id": id_, "title": title, "contents": text}))
    indexer.close()
