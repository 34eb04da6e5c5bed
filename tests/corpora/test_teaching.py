"""The loader of the teaching corpus, on a small folder of the same schema and on the bundled one where it stands."""

from __future__ import annotations

import json

import pytest

from corpora.formats import Query
from corpora.rows import RowError
from corpora.teaching import FOLDER, Support, Teaching, Written, load
from dear.types import Passage

PASSAGES = [
    {"id": "sky-01", "topic": "sky", "title": "Blue", "text": "Short waves scatter most.", "tags": ["full"]},
    {"id": "sky-02", "topic": "sky", "title": "Paint", "text": "Sky blue is a paint.", "tags": ["near-miss", "stuffed"]},
]
QUERIES = [{"id": "sky-q1", "topic": "sky", "split": "dev", "text": "why is the sky blue", "tags": ["how-why"]}]
RATIONALES = [
    {
        "query_id": "sky-q1", "needs": ["what scatters"], "near_miss": {"passage": "sky-02", "why": "Only a paint."},
        "evidence": [{"passage": "sky-01", "meets": [1], "quote": "Short waves scatter", "why": "Names the cause."}],
    }
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, rows in (("passages", PASSAGES), ("queries", QUERIES), ("rationales", RATIONALES)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nsky-q1\tsky-01\t3\nsky-q1\tsky-02\t0\n")
    return tmp_path


def test_everything_is_read(folder):
    data = Teaching(folder)
    assert data.passages == (Passage("sky-01", "Short waves scatter most.", "Blue"), Passage("sky-02", "Sky blue is a paint.", "Paint"))
    assert data.queries == (Query("sky-q1", "why is the sky blue", "dev", "sky", ("how-why",)),)
    assert data.qrels == {"sky-q1": {"sky-01": 3, "sky-02": 0}}
    assert data.topics == {"sky-01": "sky", "sky-02": "sky"}
    assert data.tags == {"sky-01": ("full",), "sky-02": ("near-miss", "stuffed")}
    support = Support("sky-01", (1,), "Short waves scatter", "Names the cause.")
    assert data.rationales == {"sky-q1": Written("sky-q1", ("what scatters",), (support,), "sky-02", "Only a paint.")}


def test_files_are_read_when_asked_for(folder):
    (folder / "rationales.jsonl").unlink()
    assert len(Teaching(folder).passages) == 2


@pytest.mark.parametrize("row", ['{"needs": []}', '{"query_id": "q", "needs": ["a"], "evidence": [3]}', json.dumps(RATIONALES[0]), "{"])
def test_bad_rationale(folder, row):
    with open(folder / "rationales.jsonl", "a", encoding="utf-8") as file:
        file.write(row + "\n")
    with pytest.raises(RowError, match=r"rationales.jsonl, row 2"):
        _ = Teaching(folder).rationales


@pytest.mark.skipif(not (FOLDER / "passages.jsonl").exists(), reason="the bundled teaching corpus is not in this checkout")
def test_bundled_corpus_holds_together():
    data = load()
    texts = {passage.id: passage.text for passage in data.passages}
    queries = {query.id for query in data.queries}
    assert set(data.qrels) <= queries
    assert {id_ for grades in data.qrels.values() for id_ in grades} <= set(texts)
    assert {query.split for query in data.queries} <= {"train", "dev", "test"}
    assert set(data.rationales) <= queries
    for query_id, written in data.rationales.items():
        for support in written.evidence:
            assert support.quote in texts[support.passage], (query_id, support.passage)
            assert all(1 <= need <= len(written.needs) for need in support.meets)
