"""Hard negatives: which are thrown out as answers nobody labelled, and which of the others a group keeps."""

from __future__ import annotations

import pytest

from dear.errors import BadInput
from training.groups import Candidate, Group
from training.mining import Mining, drop_false_negatives, fitted


def group(*scores: float | None) -> Group:
    """A group whose first passage is the labelled one, with these teacher scores."""
    return Group("q", "why", "set", tuple(Candidate(f"d{i}", "", f"text {i}", int(i == 0), score) for i, score in enumerate(scores)))


def kept(given: Group, **settings) -> list[str]:
    groups, _ = drop_false_negatives([given], **{"ratio": 0.9, "size": 10, **settings})
    return [c.id for g in groups for c in g.passages]


def test_what_the_teacher_puts_too_near_the_positive_goes():
    given = group(10.0, 9.5, 9.0, 2.0)
    assert kept(given) == ["d0", "d2", "d3"], "9.0 is at the limit and stays"
    assert kept(given, judged=frozenset({("q", "d1")})) == ["d0", "d1", "d2", "d3"], "somebody looked at d1"
    _, report = drop_false_negatives([given], ratio=0.9, size=10)
    assert (report.seen, report.dropped, report.groups_lost) == (3, 1, 0)
    assert report.quantiles["dropped"] == (9.5, 9.5, 9.5)


def test_a_group_without_a_negative_is_lost():
    groups, report = drop_false_negatives([group(1.0, 5.0)], ratio=0.9, size=10)
    assert groups == []
    assert report.groups_lost == 1


def test_the_hardest_stay_where_a_group_is_cut():
    given = group(10.0, 1.0, 2.0, 8.0, 4.0)
    assert kept(given, size=3) == ["d0", "d1", "d2"]
    assert kept(given, size=3, hardest=True) == ["d0", "d3", "d4"]


def test_without_the_teacher_nothing_is_filtered():
    with pytest.raises(BadInput, match="no teacher score"):
        kept(group(1.0, None))


def test_a_teacher_with_negative_scores_filters_alike():
    """Logits: 0.9 of a positive at -10 is a tenth below it, not above it."""
    given = group(-10.0, -10.5, -11.0, -18.0)
    assert kept(given) == ["d0", "d2", "d3"], "-11 is at the limit and stays"


def test_groups_that_bring_their_own_negatives_are_cut_to_the_pool():
    given = Group("q", "why", "set", tuple(Candidate(f"d{i}", "", f"text {i}", int(i in (3, 7))) for i in range(30)))
    (one,) = fitted([given], Mining(positives=1, pool=8))
    assert [c.id for c in one.passages if c.label] == ["d3"]
    assert len(one.passages) == 8
    assert [c.id for c in one.passages] == sorted((c.id for c in one.passages), key=lambda id: int(id[1:])), "in the order they had"
    assert list(fitted([given], Mining(positives=1, pool=8))) == [one], "seeded"
    assert list(fitted([given], Mining(positives=5, pool=99))) == [given]
