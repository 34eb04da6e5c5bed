"""The judged lists are what their data card says; with the data at hand, they become groups and rows, and nothing of a test set is in them."""

import gzip
import re
from collections import Counter
from pathlib import Path

import pytest

from corpora import teaching
from dear.errors import BadInput
from training import judged, recipes
from training.cot_augment import Mix, augment
from training.cot_check import check_rows, held_out
from training.groups import read_groups
from training.judged import reasons
from training.prepare import mine_file, teach_file

lists = judged.load()


def test_every_list_has_degrees_and_something_to_find():
    assert len({each.query_id for each in lists}) == len(lists) > 4000
    assert Counter(each.split for each in lists).keys() == {"train", "dev"}
    for each in lists:
        assert 4 <= len(each.degrees) <= 12, each.query_id
        assert set(each.degrees.values()) <= set(judged.LABELS), each.query_id
        assert max(each.degrees.values()) >= 2, each.query_id
        assert bool(each.query) == each.query_id.startswith(("written/", "web/"))


def test_written_queries_are_not_repeated():
    written = [each.query.lower() for each in lists if each.query]
    assert len(set(written)) == len(written)
    assert all(query == " ".join(query.split()) for query in written)


def test_data_that_was_not_graded_is_refused(tmp_path):
    folder = tmp_path / "train" / "boolq"
    folder.mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).write_text('{"id": "x", "text": "something else", "title": ""}\n')
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nx\tx\t1\n")
    for name in {id.partition("/")[0] for each in lists for id in (each.query_id, *each.degrees)} - {"boolq", "written", "web"}:
        (tmp_path / "train" / name).symlink_to(folder)
    with gzip.open(tmp_path / "train" / "questions.jsonl.gz", "wt") as file:
        file.write('{"id": "x", "text": "something else"}\n')
    with pytest.raises(BadInput, match=r"is not in .*data\.root"):
        list(judged.groups(tmp_path, "dev", scale=9.0))


def test_groups_hold_what_the_grader_saw(shared):
    by_id = {each.query_id: each for each in lists}
    groups = list(judged.groups(shared, "dev", scale=9.0))
    assert len(groups) == sum(each.split == "dev" for each in lists)
    for group in groups:
        degrees = by_id[group.query_id.removeprefix("judged/")].degrees
        assert [c.id for c in group.passages] == list(degrees)
        assert [c.teacher for c in group.passages] == pytest.approx([1.8 * degree for degree in degrees.values()])
        assert [c.label for c in group.passages] == [judged.LABELS[degree] for degree in degrees.values()]
        assert group.query
        assert all(c.text for c in group.passages)


def test_degrees_are_the_teacher_of_stage_1(shared, tmp_path, monkeypatch):
    """From `mine` and `teach` every list comes out whole, its scores those of the grader, unless nothing in it helps or all does."""
    monkeypatch.delenv("DEAR_DATA", raising=False)
    off = [f"data.{key}" for key in ("train={}", "text=[]", "teaching=false", "practice=false", "judged=true")]
    out = [f"mining.out={tmp_path}/g.jsonl.gz", f"teacher.out={tmp_path}/t.jsonl.gz", "mining.size=12", "teacher.grades=0"]
    recipe = recipes.load("nano-cpu", [f"data.root={shared}", *off, *out])
    train = {f"judged/{each.query_id}": each for each in lists if each.split == "train"}
    assert mine_file(recipe) == len(train)
    assert teach_file(recipe).dropped == 0
    taught = list(read_groups(recipe.teacher.out))
    assert len(taught) > 0.95 * len(train)
    for group in taught:
        assert {c.id: c.teacher for c in group.passages} == pytest.approx({id: 1.8 * degree for id, degree in train[group.query_id].degrees.items()})


def test_reasons_agree_with_degrees_and_nothing_of_a_test_set_is_in_them(shared):
    """The evidence is what has degree 2 or more, best first, each quote some words of its passage; no query is a test set's."""
    tests = held_out([shared / "test" / "noveleval", shared / "test" / "dl-sub"], 8, teaching.load(), ("dev", "test"))
    by_id = {each.query_id: each for each in lists}
    queries = reasons.queries(shared, "train")
    assert len(queries) > 380
    for query in queries:
        degrees = by_id[query.written.query_id].degrees
        cited = [s.passage for s in query.written.evidence]
        assert set(cited) == {id for id, degree in degrees.items() if degree >= 2}, query.query_id
        assert [degrees[id] for id in cited] == sorted((degrees[id] for id in cited), reverse=True), query.query_id
        assert all(3 <= len(s.quote.split()) <= 24 for s in query.written.evidence), query.query_id
        assert all(not s.quote[0].isspace() and not s.quote[-1].isspace() for s in query.written.evidence)
        met = {need for s in query.written.evidence if degrees[s.passage] >= 3 for need in s.meets}
        assert met == set(range(1, len(query.written.needs) + 1)), query.query_id
        assert not query.written.near_miss or degrees[query.written.near_miss] <= 1
    report = check_rows(list(augment(queries, 200, "nano", Mix(3, 10))), tests)
    assert set(report.problems) <= {"test passage"}, "a set's passage may share a run of words with a test's: `cot` drops such rows"
    assert report.grounded == report.quotes > 200
    assert not tests.queries & {" ".join(re.findall(r"\w+", each.query.lower())) for each in lists}
    assert Path(reasons.FILE).stat().st_size < 2**20
