"""Stage 1 over any scorer: one event a passage, then the list; nothing but whole and finite scores."""

import math

import pytest

from dear import events as ev
from dear.engines import EngineInfo, Scored
from dear.engines.fake import FakeScorer
from dear.errors import EngineError
from dear.pointwise import score_hits
from dear.types import Hit, Passage

HITS = [
    Hit(Passage(f"p{i}", text), i + 1, {"retrieval": 1.0 / (i + 1)})
    for i, text in enumerate(["the sea", "blue sky", "sky blue sky", "bread", "blue"])
]


class Broken:
    """A scorer that yields what it is given, to show what is refused."""

    info = EngineInfo("broken", "broken", "none", "cpu")

    def __init__(self, *batches):
        self.batches, self.closed = batches, False

    def score(self, query, texts, titles):
        try:
            yield from self.batches
        finally:
            self.closed = True


def test_scores_arrive_one_by_one_and_then_the_list():
    events = list(score_hits("why is the sky blue", HITS, FakeScorer(batch_size=2)))
    points, last = events[:-1], events[-1]
    assert [p.passage_id for p in points] == [hit.id for hit in HITS]
    assert [(p.done, p.total) for p in points] == [(i, 5) for i in range(1, 6)]
    assert isinstance(last, ev.Pointwise)
    assert {hit.id for hit in last.hits} == {hit.id for hit in HITS}
    assert [hit.rank for hit in last.hits] == [1, 2, 3, 4, 5]
    scores = [hit.scores["pointwise"] for hit in last.hits]
    assert scores == sorted(scores, reverse=True)
    assert last.hits[0].scores["retrieval"] == HITS[int(last.hits[0].id[1])].scores["retrieval"]


def test_no_passages_give_an_empty_list():
    assert list(score_hits("q", [], FakeScorer())) == [ev.Pointwise(())]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_stops_the_stage(score):
    scorer = Broken(Scored((0,), (1.0,), 3), Scored((1,), (score,), 3))
    with pytest.raises(EngineError, match="'p1' was scored"):
        list(score_hits("q", HITS, scorer))
    assert scorer.closed


def test_passages_left_out_or_scored_twice_stop_the_stage():
    with pytest.raises(EngineError, match="1 of 5 passages"):
        list(score_hits("q", HITS, Broken(Scored((0,), (1.0,), 3))))
    with pytest.raises(EngineError, match="twice"):
        list(score_hits("q", HITS, Broken(Scored((0, 0), (1.0, 2.0), 3))))


def test_closing_stops_the_model():
    scorer = Broken(*(Scored((i,), (float(i),), 1) for i in range(5)))
    stream = score_hits("q", HITS, scorer)
    next(stream)
    stream.close()
    assert scorer.closed
