"""Rankings of whole pools, and measures equal to trec_eval's."""

import random

import pytest

from dear.engines.fake import FakeGenerator, FakeScorer, overlap
from dear.errors import BadInput
from dear.evaluation.benchmarks import Benchmark, lookup
from dear.evaluation.questions import Opened, Question
from dear.evaluation.scoring import CachedLister, CachedScorer
from dear.evaluation.stages import Ranked, Row, by_lister, by_scorer, first_stage, parse_stages, total_seconds, values
from dear.evaluation.store import Store
from dear.pipeline import Settings
from dear.types import Passage

POOL = tuple(Passage(id_, text) for id_, text in (("a", "rain"), ("b", "sky"), ("c", "blue sky"), ("d", "the blue sky"), ("e", "blue sky blue")))


def quiet(items, what, total):
    return items


def opened(*questions, benchmark=None):
    return Opened(benchmark or Benchmark("b", "B"), questions or (Question("q", "blue sky", {"c": 1}, POOL, 0.5),))


def test_the_first_passages_are_scored_and_the_rest_stays_behind():
    row = by_scorer("pointwise", opened(), CachedScorer(FakeScorer(), Store()), 3, quiet)
    assert row.ranked["q"].ids == ("c", "b", "a", "d", "e")
    assert row.ranked["q"].scores == {id_: overlap("blue sky", f" {text}") for id_, text in (("a", "rain"), ("b", "sky"), ("c", "blue sky"))}


def test_equal_scores_keep_the_order_they_came_in():
    pool = tuple(Passage(id_, "blue sky") for id_ in "zyx")
    row = by_scorer("pointwise", opened(Question("q", "blue sky", {}, pool)), CachedScorer(FakeScorer(), Store()), 3, quiet)
    assert row.ranked["q"].ids == ("z", "y", "x")


def test_listwise_reads_the_top_of_the_stage_before():
    data = opened()
    before = by_scorer("pointwise", data, CachedScorer(FakeScorer(), Store()), 5, quiet)
    lister = CachedLister(
        FakeGenerator("Needs: 1. sky\nRanking: [2] > [1]"), Store(), Settings(depth=2, window=2, stride=1, stages=("retrieval", "listwise"))
    )
    row = by_lister("listwise", data, lister, before, 2, quiet)
    head = before.ranked["q"].ids
    assert row.ranked["q"].ids == (head[1], head[0], *head[2:])
    assert row.after == "pointwise"
    assert row.ranked["q"].listing.given == (head[:2],)


def test_an_empty_pool_is_an_empty_ranking():
    data = opened(Question("q", "sky", {"c": 1}, ()))
    row = by_scorer("pointwise", data, CachedScorer(FakeScorer(), Store()), 5, quiet)
    lister = CachedLister(FakeGenerator(), Store(), Settings())
    assert row.ranked["q"].ids == by_lister("listwise", data, lister, row, 5, quiet).ranked["q"].ids == ()
    assert values(row, data)["ndcg@10"] == {"q": 0.0}


def test_seconds_add_up_along_the_stages():
    first = first_stage(opened())
    second, third = Row("pointwise", {"q": Ranked((), 2.0)}, "bm25"), Row("fast", {"q": Ranked((), 3.0)}, "pointwise")
    assert [total_seconds(row, [first, second, third]) for row in (first, second, third)] == [0.5, 2.5, 5.5]


def test_hand_computed_values():
    """Grades 3, 0, 2 at ranks 1, 2, 3; ideal 3, 2, 1: nDCG@10 = (3 + 2/2) / (3 + 2/1.58496 + 1/2)."""
    data = opened(Question("q", "x", {"a": 3, "c": 2, "lost": 1}, POOL), benchmark=lookup("dl-sub"))
    found = values(Row("r", {"q": Ranked(("a", "b", "c", "d", "e"), 0.0)}), data)
    assert found["ndcg@1"]["q"] == 1.0
    assert found["ndcg@10"]["q"] == pytest.approx(4.0 / (3 + 2 / 1.5849625 + 0.5), abs=1e-6)
    behind = values(Row("r", {"q": Ranked(("b", "d", "e", "c", "a"), 0.0)}), data)
    assert behind["mrr@10"]["q"] == 0.25
    only_grade_one = opened(Question("q", "x", {"b": 1}, POOL), benchmark=lookup("dl-sub"))
    assert values(Row("r", {"q": Ranked(("b",), 0.0)}), only_grade_one)["mrr@10"]["q"] == 0.0  # the track counts grades from 2


def test_measures_are_trec_evals_on_a_golden_run():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    dice = random.Random(5)
    pools = {f"q{n}": [f"d{i}" for i in range(dice.randint(1, 60))] for n in range(25)}
    grades = {
        query: {id_: dice.choice([0, 0, 1, 2, 3]) for id_ in [*pool, "unseen"] if dice.random() < 0.7} or {"d0": 1} for query, pool in pools.items()
    }
    questions = [Question(query, "x", grades[query], tuple(Passage(id_, "t") for id_ in pool)) for query, pool in pools.items()]
    orders = {query: tuple(dice.sample(pool, len(pool))) for query, pool in pools.items()}
    found = values(Row("r", {query: Ranked(order, 0.0) for query, order in orders.items()}), opened(*questions))
    run = {query: {id_: 1000.0 - rank for rank, id_ in enumerate(order)} for query, order in orders.items()}
    theirs = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.1,5,10", "recip_rank"}).evaluate(run)
    for query in pools:
        for k in (1, 5, 10):
            assert found[f"ndcg@{k}"][query] == pytest.approx(theirs[query][f"ndcg_cut_{k}"], abs=1e-9)
        reciprocal = theirs[query]["recip_rank"]
        assert found["mrr@10"][query] == pytest.approx(reciprocal if reciprocal >= 0.1 else 0.0, abs=1e-9)


def test_a_query_missing_from_the_run_counts_nothing():
    data = opened(Question("q", "x", {"a": 1}, POOL), Question("lost", "y", {"a": 1}, POOL))
    assert values(Row("r", {"q": Ranked(("a",), 0.0)}), data)["ndcg@10"] == {"q": 1.0, "lost": 0.0}


def test_top_k_by_answer():
    data = opened(Question("q", "x", {"a": 0, "c": 1}, POOL), Question("r", "x", {"a": 0}, POOL), benchmark=lookup("nq"))
    found = values(Row("r", {"q": Ranked(("a", "b", "c"), 0.0), "r": Ranked(("a",), 0.0)}), data)
    assert {column: of["q"] for column, of in found.items()} == {"top@1": 0.0, "top@5": 1.0, "top@20": 1.0, "mrr@10": pytest.approx(1 / 3)}
    assert {of["r"] for of in found.values()} == {0.0}


@pytest.mark.parametrize("text", ["", "bm25,bm25", "bm26"])
def test_stages_are_checked(text):
    with pytest.raises(BadInput):
        parse_stages(text)
