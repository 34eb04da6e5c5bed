"""Each check on a case worked out by hand."""

import random

import pytest

from dear.evaluation import explanations as ex
from dear.evaluation.benchmarks import Benchmark
from dear.evaluation.questions import Opened, Question
from dear.evaluation.report import Measured
from dear.evaluation.stages import Ranked, Row
from dear.explain import kendall_tau, rank_biased_overlap
from dear.types import Evidence, Passage, Rationale

QUESTION = Question("q", "x", {"a": 2, "b": 0, "c": 1}, tuple(Passage(id_, "text") for id_ in "abcd"))


def answer(evidence=(), permutation="abcd", needs=("one", "two"), status="complete"):
    cited = tuple(Evidence(id_, "q", "quoted", 0 if found else -1, 1 if found else -1, found, meets) for id_, found, meets in evidence)
    return ex.Answered(QUESTION, tuple("abcd"), tuple(permutation), status, Rationale("", needs, cited))


def test_a_requirement_is_covered_by_a_grounded_quote_of_a_relevant_passage():
    one = answer([("a", True, (1,)), ("b", True, (2,)), ("c", False, (2,))])  # b is not relevant, c's quote is not found
    assert list(ex.coverage(one, 1)) == [True, False]
    assert list(ex.coverage(answer([("c", True, (1, 2))]), 1)) == [True, True]
    assert list(ex.coverage(answer([("c", True, (1, 2))]), 2)) == [False, False]  # grade 1 is below 2


def test_order_of_citations_against_the_ranking():
    assert ex.citation_order(answer([("a", True, ()), ("c", True, ()), ("a", True, ())])) == 1.0
    assert ex.citation_order(answer([("c", True, ()), ("a", True, ())])) == -1.0
    assert ex.citation_order(answer([("c", True, ()), ("a", True, ()), ("d", True, ())])) == pytest.approx(1 / 3)
    assert ex.citation_order(answer([("a", True, ())])) is None


def test_cited_before_uncited():
    assert ex.cited_first(answer([("a", True, ()), ("b", True, ())])) == 1.0
    assert ex.cited_first(answer([("d", True, ())])) == 0.0
    assert ex.cited_first(answer([("b", True, ())])) == pytest.approx(2 / 3)
    assert ex.cited_first(answer()) is None
    assert ex.cited_first(answer([(id_, True, ()) for id_ in "abcd"])) is None


def test_reading_answers():
    answers = [answer([("a", True, (1,)), ("b", False, (2,))]), answer(status="repaired", needs=())]
    assert ex.read_answers(answers, 1) == {
        "windows": 2, "parsed": 50.0, "quotes": 2, "grounded": 50.0, "requirements": 2, "requirement_coverage": 50.0,
        "cited_relevant": 50.0, "relevant_by_chance": 50.0, "order_agreement": 1.0, "cited_above_uncited": 100.0,
    }  # fmt: skip


def test_nothing_found_is_none_and_not_zero():
    found = ex.read_answers([], 1)
    assert found["windows"] == 0
    assert {found[name] for name in ("parsed", "grounded", "requirement_coverage", "order_agreement", "cited_above_uncited")} == {None}


def test_agreement_between_stages_over_what_the_listwise_stage_read():
    data = Opened(Benchmark("b", "B"), (QUESTION,))
    orders = {"bm25": "dabc", "pointwise": "abcd", "fast": "bacd"}
    rows = tuple(Row(stage, {"q": Ranked(tuple(order), 0.0)}) for stage, order in orders.items())
    found = ex.agreement(Measured(data, rows, (), {}), 3)  # a, b, c
    assert found["pointwise-fast"]["tau"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["bm25-pointwise"] == {"tau": 1.0, "rbo": 1.0}
    assert set(found) == {"bm25-pointwise", "bm25-fast", "pointwise-fast"}


def test_tau_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    dice = random.Random(7)
    for n in (2, 3, 10, 41):
        first = [f"p{i}" for i in range(n)]
        second = dice.sample(first, n)
        assert kendall_tau(first, second) == pytest.approx(stats.kendalltau(range(n), [second.index(id_) for id_ in first]).statistic)


def test_rbo_by_hand():
    # agreement at depths 1, 2, 3 is 0, 1, 1: 0.1 (0 + 0.9 + 0.81) + 0.9^3, the last term going on with the agreement of depth 3
    assert rank_biased_overlap("abc", "bac") == pytest.approx(0.9)
    # 0, 0, 2/3, 1: 0.1 (0.81 * 2/3 + 0.729) + 0.9^4
    assert rank_biased_overlap("abcd", "cdab") == pytest.approx(0.783)
    assert rank_biased_overlap("abc", "abc") == pytest.approx(1)


def test_rbo_weighs_the_head():
    assert rank_biased_overlap("abcdefgh", "bacdefgh") < rank_biased_overlap("abcdefgh", "abcdefhg")
