"""From a folder of labelled data to the two files stage 1 trains on, with real BM25 and the real bi-encoder."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dear.types import MAX_PASSAGE_CHARS
from training import cot_files, recipes
from training.cot import read_rows
from training.groups import read_groups
from training.mining import read_beir
from training.prepare import _teacher, mine_file, practice_groups, teach_file, teaching_groups
from training.teacher import minilm

THINGS = ("lighthouse", "windmill", "aqueduct", "observatory", "granary", "cathedral", "harbour", "foundry")


@pytest.fixture
def recipe(tmp_path) -> recipes.Recipe:
    folder = tmp_path / "data" / "train" / "things"
    folder.mkdir(parents=True)
    texts = [f"The {thing} of Oldtown was finished in {1700 + i} by the builder {thing.title()}son." for i, thing in enumerate(THINGS)]
    texts += [f"Visitors like the {thing} and its quiet garden in spring, when the crowds are small." for thing in THINGS]
    write(folder / "corpus.jsonl.gz", [{"id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)])
    write(folder / "queries.jsonl.gz", [{"id": f"q{i}", "text": f"when was the {thing} of Oldtown finished"} for i, thing in enumerate(THINGS)])
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(len(THINGS))))
    out = [f"{key}={tmp_path}/{name}" for key, name in (("mining.out", "g.jsonl.gz"), ("teacher.out", "t.jsonl.gz"), ("cot.groups", "t.jsonl.gz"))]
    more = [
        "data.train={things: 0}",
        "data.text=[]",
        "data.test=[]",
        "data.teaching=false",
        "data.practice=false",
        "mining.overlap=1.0",
        "mining.size=4",
        "mining.ratio=10",
    ]
    return recipes.load(
        "nano-cpu", [f"data.root={tmp_path}/data", *out, *more, f"cot.out={tmp_path}/c.jsonl", "cot.rows=0", "cot.quoted_rows=5", "cot.dev_rows=0"]
    )


def write(path: Path, rows: list[dict]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.model
def test_mine_then_teach_then_quote(recipe, monkeypatch):
    monkeypatch.delenv("DEAR_DATA", raising=False)
    assert mine_file(recipe) == len(THINGS)
    mined = list(read_groups(recipe.mining.out))
    assert all(sum(c.label for c in g.passages) == 1 and len(g.passages) > 4 for g in mined)
    assert all(c.teacher is None for g in mined for c in g.passages)
    report = teach_file(recipe)
    groups = list(read_groups(recipe.teacher.out))
    assert report.groups_lost == 0
    assert all(len(g.passages) == 4 and all(c.teacher is not None for c in g.passages) for g in groups)
    assert Path(recipe.teacher.out).with_name("t-report.json").is_file()
    assert cot_files.make(recipe) == (5, 0)
    assert all(row.source == "quoted/things" for row in read_rows(recipe.cot.out))
    assert cot_files.check(recipe, recipe.cot.out).ok


@pytest.mark.model
def test_a_teacher_that_also_counts_words(recipe, monkeypatch):
    """Each score is the bi-encoder's and the stated share of BM25; the file says which teacher wrote it."""
    monkeypatch.delenv("DEAR_DATA", raising=False)
    mine_file(recipe)
    groups = list(read_groups(recipe.mining.out))
    name, teacher = _teacher(replace(recipe, teacher=replace(recipe.teacher, bm25=0.5, grades=0.0)), Path(recipe.mining.out))
    assert name == "minilm + 0.5 bm25"
    assert _teacher(replace(recipe, teacher=replace(recipe.teacher, grades=2.0)), Path(recipe.mining.out))[0] == "minilm, 2 x grade"
    plain, both = minilm(groups), teacher(groups)
    words = [[2 * (b - a) for a, b in zip(*pair, strict=True)] for pair in zip(plain, both, strict=True)]
    assert all(weight >= -1e-6 for group in words for weight in group)
    best = [max(zip(row, g.passages, strict=True), key=lambda pair: pair[0])[1] for row, g in zip(words, groups, strict=True)]
    assert all(passage.label for passage in best), "the passage with the query's own words"


def test_what_dev_lists_ask_is_not_trained_on(recipe, monkeypatch):
    from training import judged

    assert all("/" in id for id in judged.held_out())
    assert len(judged.held_out()) > 100
    monkeypatch.setattr(judged, "held_out", lambda: frozenset({"things/q3", "others/q4"}))
    assert mine_file(recipe) == len(THINGS) - 1
    assert "things/q3" not in {group.query_id for group in read_groups(recipe.mining.out)}


def test_whole_articles_are_mined(recipe):
    folder = recipe.data.folder / "train" / "things"
    texts = {"d0": "The lighthouse of Oldtown is a long story. " * 1_000, "d1": "The windmill of Oldtown.", "d2": "Oldtown."}
    write(folder / "corpus.jsonl.gz", [{"id": id, "title": "", "text": text} for id, text in texts.items()])
    assert mine_file(recipe) == 2
    assert all("things/d0" in {c.id for c in group.passages} for group in read_groups(recipe.mining.out)), "the article is a negative"


def test_whole_articles_are_read(recipe):
    folder = recipe.data.folder / "train" / "things"
    texts = {"d0": "A long article. " * 2_000, "d1": "A short one."}
    write(folder / "corpus.jsonl.gz", [{"id": id, "title": "", "text": text} for id, text in texts.items()])
    assert [len(p.text) > MAX_PASSAGE_CHARS for p in read_beir(folder).passages.values()] == [True, False]


def test_practice_topics_are_taught_by_their_grades_and_stay_whole(recipe, monkeypatch):
    """With `teacher.grades` no model scores a group that is judged in full, no passage of it is dropped, and none is cut any further."""
    monkeypatch.delenv("DEAR_DATA", raising=False)
    settings = {"data": replace(recipe.data, train={}, practice=True), "teacher": replace(recipe.teacher, grades=3.0)}
    settings["mining"] = replace(recipe.mining, ratio=0.95, size=16, excerpts=1.0, excerpt_words=10)
    changed = replace(recipe, **settings)
    assert mine_file(changed) == len(list(practice_groups("train")))
    assert teach_file(changed).groups_lost == 0
    taught = {g.query_id: g for g in read_groups(changed.teacher.out)}
    for group in practice_groups("train"):
        assert [(c.id, c.text, 3.0 * c.label) for c in group.passages] == [(c.id, c.text, c.teacher) for c in taught[group.query_id].passages]


def test_teaching_groups_hold_the_whole_judged_topic():
    groups = list(teaching_groups("train"))
    assert len(groups) > 100
    assert all(max(c.label for c in g.passages) == 3 and len(g.passages) >= 12 for g in groups)
    assert not {g.query_id for g in groups} & {g.query_id for g in teaching_groups("test")}
