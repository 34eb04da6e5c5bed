"""Rows whose figures are known, on the evaluation sets where they lie (DEAR_SHARED_DATA, else ../shared/data), to a point."""

import pytest

from dear.evaluation.opening import Want
from dear.evaluation.run import Plan, evaluate


def ndcg(room, name, stage, **want):
    plan = Plan((name,), stages=(stage,), peers=(), explain=False, want=Want(**want))
    (result,) = evaluate(plan, room)
    return result.line["queries"], result.line["rows"][0]["ndcg@10"]


@pytest.mark.parametrize(("split", "queries", "value"), [("dev", 36, 64.5), ("test", 48, 65.2)])
def test_bm25_on_the_teaching_corpus(room, split, queries, value):
    assert ndcg(room, "teaching", "bm25", split=split) == (queries, pytest.approx(value, abs=0.5))


@pytest.mark.parametrize(("name", "queries", "value"), [("noveleval", 21, 70.9), ("dl-sub", 43, 72.8)])
def test_bm25_on_shared_sets(room, shared, name, queries, value):
    assert ndcg(room, name, "bm25", data=shared) == (queries, pytest.approx(value, abs=0.5))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("noveleval", 74.1), ("dl-sub", 79.4), ("teaching", 78.9)])
def test_minilm(room, shared, name, value):
    assert ndcg(room, name, "dense", data=shared)[1] == pytest.approx(value, abs=0.5)
