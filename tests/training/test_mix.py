"""A further piece's file: lists by kind, without those already read, graded by their teacher's column."""

from __future__ import annotations

import pytest

from dear.errors import BadInput
from training import recipes
from training.groups import read_groups, write_groups
from training.mix import KINDS, kind_of, mix_files

BARE = ["data.train={}", "data.text=[]", "data.judged=false", "mix.dev_out=''", *(f"mix.{kind}=0" for kind in KINDS)]


def recipe(folder, *more: str) -> recipes.Recipe:
    return recipes.load("nano-cpu", [*BARE, f"mix.out={folder}/mix.jsonl.gz", *more])


def test_so_many_lists_of_each_kind_and_none_of_what_was_read(tmp_path):
    counts, dev = mix_files(recipe(tmp_path, "mix.practice=5", "mix.news=3", "mix.teaching=2"))
    assert counts == {"questions": 0, "sets": 0, "written": 0, "web": 0, "practice": 5, "news": 3, "teaching": 2}
    assert dev == 0
    first = list(read_groups(tmp_path / "mix.jsonl.gz"))
    assert all(c.teacher == 3.0 * c.label and len(c.text.split()) <= 80 for g in first for c in g.passages)
    assert all(2 < len(g.passages) <= 12 for g in first)
    counts, _ = mix_files(
        recipe(tmp_path, "mix.practice=-1", "mix.teaching=-1", f"mix.without=[{tmp_path}/mix.jsonl.gz]", "mix.out=" + str(tmp_path / "rest.jsonl"))
    )
    rest = list(read_groups(tmp_path / "rest.jsonl"))
    assert counts["teaching"] == 214
    assert not {g.query_id for g in first} & {g.query_id for g in rest}


def test_what_helps_stays_where_a_list_is_cut(tmp_path):
    whole = recipe(tmp_path, "mix.teaching=-1", "mix.size=100", f"mix.out={tmp_path}/whole.jsonl")
    cut = recipe(tmp_path, "mix.teaching=-1", "mix.size=4")
    mix_files(whole)
    mix_files(cut)
    useful = {g.query_id: sum(c.label > 0 for c in g.passages) for g in read_groups(whole.mix.out)}
    assert max(useful.values()) > 3
    for group in read_groups(cut.mix.out):
        assert len(group.passages) <= 4
        assert sum(c.label > 0 for c in group.passages) == min(3, useful[group.query_id])


def test_more_of_a_passage_is_read_where_asked(tmp_path):
    short, long = recipe(tmp_path, "mix.teaching=-1"), recipe(tmp_path, "mix.teaching=-1", "mix.words=130", f"mix.out={tmp_path}/long.jsonl")
    mix_files(short)
    mix_files(long)
    texts = {(g.query_id, c.id): c.text for g in read_groups(short.mix.out) for c in g.passages}
    grown = {(g.query_id, c.id): c.text for g in read_groups(long.mix.out) for c in g.passages}
    assert texts.keys() == grown.keys()
    assert all(text in grown[key] for key, text in texts.items())
    more = [text for key, text in grown.items() if text != texts[key]]
    assert len(more) > 100
    assert 80 < max(len(text.split()) for text in more) <= 130


def test_the_draw_is_the_seeds(tmp_path):
    ids = []
    for seed in (1, 1, 2):
        mix_files(recipe(tmp_path, "mix.practice=6", f"mix.seed={seed}"))
        ids.append([(g.query_id, [c.id for c in g.passages]) for g in read_groups(tmp_path / "mix.jsonl.gz")])
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_dev_lists_are_of_the_dev_split(tmp_path):
    _, dev = mix_files(recipe(tmp_path, "mix.teaching=1", "mix.dev_lists=4", f"mix.dev_out={tmp_path}/dev.jsonl"))
    found = list(read_groups(tmp_path / "dev.jsonl"))
    assert dev == len(found) == 12
    assert [kind_of(g) for g in found].count("teaching") == 4
    everything = recipe(tmp_path, "mix.practice=-1", "mix.news=-1", "mix.teaching=-1")
    mix_files(everything)
    assert not {g.query_id for g in found} & {g.query_id for g in read_groups(everything.mix.out)}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "mix asks for no lists"),
        (["mix.questions=3"], "mix.questions 3 exceeds the 0 lists"),
        (["mix.teaching=9999"], "mix.teaching 9999 exceeds the 216 lists"),
        (["mix.teaching=1", "mix.without=[nowhere.jsonl]"], "which does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_anything_is_written(tmp_path, overrides, said):
    write_groups(tmp_path / "mix.jsonl.gz", [])
    before = (tmp_path / "mix.jsonl.gz").read_bytes()
    with pytest.raises(BadInput, match=said):
        mix_files(recipe(tmp_path, *overrides))
    assert (tmp_path / "mix.jsonl.gz").read_bytes() == before


def test_judged_lists_by_kind(shared, tmp_path, monkeypatch):
    monkeypatch.delenv("DEAR_DATA", raising=False)
    wanted = ["data.judged=true", f"data.root={shared}", "mix.questions=3", "mix.sets=2", "mix.written=4", "mix.web=5"]
    counts, _ = mix_files(recipe(tmp_path, *wanted))
    assert counts | {"questions": 3, "sets": 2, "written": 4, "web": 5} == counts
    assert all(c.teacher in {0.0, 1.8, 3.6, 5.4, 7.2, 9.0} for g in read_groups(tmp_path / "mix.jsonl.gz") for c in g.passages)


def test_similarity_orders_what_degrees_leave_equal(shared, tmp_path, monkeypatch):
    monkeypatch.delenv("DEAR_DATA", raising=False)
    wanted = ["data.judged=true", f"data.root={shared}", "mix.questions=2", "mix.web=3", "mix.practice=2"]
    plain, added = recipe(tmp_path, *wanted, f"mix.out={tmp_path}/a.jsonl"), recipe(tmp_path, *wanted, "mix.similarity=1.2")
    mix_files(plain)
    mix_files(added)
    for one, other in zip(read_groups(plain.mix.out), read_groups(added.mix.out), strict=True):
        assert [c.text for c in one.passages] == [c.text for c in other.passages]
        moved = [after.teacher - before.teacher for before, after in zip(one.passages, other.passages, strict=True)]
        if kind_of(one) == "practice":
            assert not any(moved)
        else:
            assert sum(moved) == pytest.approx(0, abs=1e-6)
            assert sum(m * m for m in moved) / len(moved) == pytest.approx(1.2**2)
            nearest = max(zip(moved, one.passages, strict=True), key=lambda pair: pair[0])[1]
            assert any(word in nearest.text.lower() for word in one.query.lower().split() if len(word) > 3)


def test_gapped_copies_join_the_lists_that_have_an_answer_to_take_out(shared, tmp_path, monkeypatch):
    monkeypatch.delenv("DEAR_DATA", raising=False)
    wanted = ["data.judged=true", f"data.root={shared}", "mix.questions=40", "mix.web=2", "mix.gapped=true"]
    mix_files(recipe(tmp_path, *wanted))
    lists = list(read_groups(tmp_path / "mix.jsonl.gz"))
    copies = [(group, c) for group in lists for c in group.passages if c.id.endswith("/gapped")]
    assert 5 < len(copies) < 40
    for group, copy in copies:
        whole = next(c for c in group.passages if c.id == copy.id.removesuffix("/gapped"))
        assert (copy.label, copy.teacher) == (1, 3.6)
        assert whole.label == 3
        assert len(copy.text) < len(whole.text)
        assert set(copy.text.split()) <= set(whole.text.split())
