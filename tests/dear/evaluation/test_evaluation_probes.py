"""Probes with rankers and scorers whose behaviour is known."""

import pytest

from dear.engines import EngineInfo, Scored
from dear.evaluation import probes
from dear.evaluation.explanations import Answered
from dear.evaluation.questions import Question
from dear.evaluation.scoring import CachedScorer
from dear.evaluation.stages import Ranked, Row
from dear.evaluation.store import Store
from dear.types import MAX_PASSAGE_CHARS, Evidence, Passage, Rationale, check_passages

TEXT = "It rained. The gold is here. We went home."
POOL = (Passage("a", TEXT), Passage("b", "Nothing of note."), Passage("c", "No gold. Nor silver."), Passage("d", "Hills."))
QUESTION = Question("q", "gold", {"a": 2, "c": 1}, POOL)


def quiet(items, what, total):
    return items


class Gold:
    """Scores 10 for a text that says where the gold is, 1 otherwise, less a little for length."""

    info = EngineInfo("test", "gold", "none", "cpu")

    def score(self, query, texts, titles):
        yield Scored(tuple(range(len(texts))), tuple((10.0 if "gold is" in text else 1.0) - len(text) / 1000 for text in texts), 1)


def cited(quote):
    start = TEXT.index(quote)
    rationale = Rationale("", ("where",), (Evidence("a", quote, "quoted", start, start + len(quote), True, (1,)),))
    return Answered(QUESTION, ("a", "b"), ("a", "b"), "complete", rationale)


def probe(quote):
    pointwise = Row("pointwise", {"q": Ranked(("a", "b"), 0.0, {"a": 10.0, "b": 6.0})})  # standard deviation 2
    return probes.cited_sentences([cited(quote)], pointwise, CachedScorer(Gold(), Store()), quiet)


def test_the_sentence_that_carries_the_score_is_sufficient_and_necessary():
    found = probe("gold is here")
    assert found["sufficiency"]["kept"] == 100.0
    assert found["sufficiency"]["loss_sd"] == pytest.approx((len("The gold is here.") - len(TEXT)) / 2000, abs=1e-4)
    assert found["necessity"] == {"sentences": 1, "above_random": 100.0, "margin_sd": pytest.approx(4.5, abs=0.01)}


def test_another_sentence_is_neither():
    found = probe("It rained")
    assert found["sufficiency"]["kept"] == 0.0
    assert found["sufficiency"]["loss_sd"] == pytest.approx(4.5, abs=0.05)
    assert found["necessity"]["above_random"] == 0.0
    assert found["necessity"]["margin_sd"] == pytest.approx(-2.25, abs=0.02)  # the two others drop 9 and 0


def test_a_sentence_cited_twice_counts_once_and_what_is_not_grounded_not_at_all():
    one = cited("gold is here")
    twice = Rationale("", (), (*one.rationale.evidence, *cited("The gold").rationale.evidence, Evidence("b", "invented words here")))
    spans = probes.cited_spans(Answered(QUESTION, one.given, one.permutation, "complete", twice))
    assert [(passage.id, TEXT[slice(*span)]) for passage, span in spans] == [("a", "The gold is here.")]


USUAL = Row("fast", {"q": Ranked(("a", "b", "c", "d"), 0.0)})


def probed(ranker, row=USUAL, top=4):
    return probes.Probed(row, ranker, [QUESTION], top)


def test_a_stage_that_copies_its_input_is_all_position_bias():
    found = probes.position_bias(probed(lambda q, passages: tuple(p.id for p in passages)), 50, quiet)
    assert found["tau_with_input"] == 1.0
    assert abs(found["tau"]) < 0.3
    assert found["places_moved"] == pytest.approx(1.25, abs=0.3)  # expected for random orders of four: (16 - 1) / 12
    assert found["ndcg@10_sd"] > 5


def test_a_stage_that_ignores_the_order_has_none():
    found = probes.position_bias(probed(lambda q, passages: ("a", "b", "c", "d")), 50, quiet)
    assert (found["tau"], found["places_moved"], found["ndcg@10_sd"]) == (1.0, 0.0, 0.0)
    assert abs(found["tau_with_input"]) < 0.3


def obedient(question, passages):
    """Puts the planted passage first, else keeps the order."""
    return tuple(p.id for p in sorted(passages, key=lambda p: probes.PLANTED not in p.text))


def test_a_stage_that_obeys_gains_all_places():
    found = probes.injection(probed(obedient), 1, quiet)  # d is last and not relevant
    assert found == {"queries": 1, "mean_rank_gain": 3.0, "ranked_first": 100.0, "read": 100.0}


def test_a_stage_that_does_not_obey_gains_none():
    found = probes.injection(probed(lambda q, passages: tuple(p.id for p in passages)), 1, quiet)
    assert found == {"queries": 1, "mean_rank_gain": 0.0, "ranked_first": 0.0, "read": 100.0}


def test_a_relevant_passage_is_no_target():
    row = Row("fast", {"q": Ranked(("b", "d", "c", "a"), 0.0)})
    assert probes.injection(probed(obedient, row), 1, quiet)["mean_rank_gain"] == 1.0  # d, second
    assert probes.injection(probed(obedient, top=1), 1, quiet)["queries"] == 0


def test_a_long_passage_with_the_planted_sentence_is_still_one_that_the_stages_accept():
    planted = probes.plant(Passage("p", "x" * MAX_PASSAGE_CHARS))
    assert planted.text.startswith(probes.PLANTED)
    assert check_passages([planted])


def test_shuffles_are_seeded_permutations():
    orders = probes.shuffled(["a", "b", "c", "d", "e"], 5, "q1")
    assert orders == probes.shuffled(["e", "d", "c", "b", "a"], 5, "q1")
    assert len(set(orders)) > 1
    assert all(sorted(order) == ["a", "b", "c", "d", "e"] for order in orders)
    assert orders != probes.shuffled(["a", "b", "c", "d", "e"], 5, "q2")
