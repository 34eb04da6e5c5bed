"""Reciprocal-rank fusion as a function, and the retriever that uses it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.fusion import HybridRetriever, reciprocal_rank_fusion
from corpora.retrieval import Retriever, make_hits
from dear.errors import BadInput
from dear.types import Passage, TermWeight

RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4)


def test_hand_computed():
    assert reciprocal_rank_fusion([["a", "b"], ["b", "c"]]) == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})


@given(RANKINGS, st.integers(0, 100))
def test_holds_every_id_once_in_score_order(rankings, k):
    fused = reciprocal_rank_fusion(rankings, k)
    assert set(fused) == {id_ for ranking in rankings for id_ in ranking}
    assert list(fused) == sorted(fused, key=lambda id_: (-fused[id_], id_))
    assert all(0 < score <= len(rankings) / (k + 1) + 1e-9 for score in fused.values())


@given(RANKINGS.flatmap(lambda rankings: st.tuples(st.just(rankings), st.permutations(rankings))))
def test_order_of_rankings_does_not_matter(pair):
    assert list(reciprocal_rank_fusion(pair[0]).items()) == list(reciprocal_rank_fusion(pair[1]).items())


@given(st.lists(st.text(), unique=True))
def test_one_ranking_keeps_its_order(ranking):
    assert list(reciprocal_rank_fusion([ranking])) == ranking


@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=2), st.data())
def test_moving_up_never_lowers_a_score(ranking, data):
    place = data.draw(st.integers(1, len(ranking) - 1))
    moved = [*ranking]
    moved[place - 1], moved[place] = moved[place], moved[place - 1]
    other = ["f", "a"]
    assert reciprocal_rank_fusion([moved, other])[ranking[place]] >= reciprocal_rank_fusion([ranking, other])[ranking[place]]


def test_bad_input():
    with pytest.raises(BadInput, match="same id twice"):
        reciprocal_rank_fusion([["a", "a"]])
    with pytest.raises(BadInput, match="k is -1"):
        reciprocal_rank_fusion([["a"]], k=-1)
    with pytest.raises(BadInput, match="no retrievers"):
        HybridRetriever([])


class Fixed:
    """A retriever that always finds the same ids."""

    def __init__(self, kind, ids, terms=()):
        self.kind, self.ids, self.terms, self.closed = kind, ids, terms, False

    def search(self, query, k):
        return make_hits((Passage(id_, id_), 1.0 / n, self.terms) for n, id_ in enumerate(self.ids[:k], 1))

    def close(self):
        self.closed = True


def test_hybrid():
    parts = [Fixed("dense", ["a", "b", "c"]), Fixed("bm25", ["c", "d"], (TermWeight("sky", 1.0),))]
    hybrid = HybridRetriever(parts)
    assert isinstance(hybrid, Retriever)
    hits = hybrid.search("sky", 3)
    assert [hit.id for hit in hits] == ["c", "a", "b"]
    assert hits[0].scores == {"retrieval": pytest.approx(1 / 63 + 1 / 61)}
    assert [hit.rank for hit in hits] == [hit.ranks["retrieval"] for hit in hits] == [1, 2, 3]
    assert hits[0].terms == (TermWeight("sky", 1.0),)
    assert {hit.id: hit.terms for hit in hybrid.search("sky", 10)} == {"c": parts[1].terms, "a": (), "b": (), "d": parts[1].terms}
    hybrid.close()
    assert all(part.closed for part in parts)
    with pytest.raises(BadInput, match="k is 0"):
        hybrid.search("sky", 0)
