"""Passages cut to the sentences nearest the query: the same rule for all, scored again, and whole where the answer was cut away."""

from __future__ import annotations

from training.excerpts import excerpt_groups
from training.groups import Candidate, Group

LONG = (
    "The harbour was dug by hand over many winters. Ships from the north brought timber and salt. "
    "The lighthouse was finished in 1742 by a local mason. Its lamp burned whale oil for a century. Gulls nest on it now."
)
SHORT = "A lighthouse warns ships."


def group(query: str, *texts: str) -> Group:
    return Group("q", query, "set", tuple(Candidate(f"d{i}", "", text, int(i == 0), 10.0) for i, text in enumerate(texts)))


def length(groups):
    """A stand-in teacher whose score is the number of words."""
    return [[float(len(c.text.split())) for c in g.passages] for g in groups]


def flat(groups):
    return [[10.0] * len(g.passages) for g in groups]


def cut(groups, teacher=flat, share=1.0, words=12):
    return list(excerpt_groups(groups, teacher, share=share, words=words, seed=1))


def test_the_sentence_that_shares_most_is_kept_word_for_word():
    (found,) = cut([group("when was the lighthouse finished", LONG, SHORT)])
    assert found.passages[0].text == "The lighthouse was finished in 1742 by a local mason."
    assert found.passages[1].text == SHORT


def test_neighbours_fill_the_room_that_is_left():
    (found,) = cut([group("when was the lighthouse finished", LONG, SHORT)], words=20)
    kept = found.passages[0].text
    assert kept in LONG
    assert "1742" in kept
    assert 12 < len(kept.split()) <= 20


def test_the_teacher_scores_what_is_left():
    (found,) = cut([group("which bird nests there", SHORT, LONG)], teacher=lambda groups: [[9.0, float(len(groups[0].passages[1].text.split()))]])
    assert found.passages[1].teacher == len(found.passages[1].text.split()) < len(LONG.split())


def test_a_group_whose_answer_was_cut_away_stays_whole():
    before = group("when was the lighthouse finished", LONG, SHORT)
    assert cut([before], teacher=lambda groups: [[8.4, 10.0]]) == [before]
    assert cut([before], teacher=lambda groups: [[8.6, 10.0]]) != [before]


def test_share_is_seeded_and_order_is_kept():
    groups = [group(f"lighthouse number {i}", LONG, SHORT) for i in range(200)]
    first, again = cut(groups, share=0.5), cut(groups, share=0.5)
    assert first == again
    changed = sum(a != b for a, b in zip(groups, first, strict=True))
    assert 70 < changed < 130
    assert [g.query for g in first] == [g.query for g in groups]
    assert cut(groups, share=0.0) == groups
