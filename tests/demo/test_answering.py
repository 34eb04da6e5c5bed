"""That nothing answers a query: said where it was measured, for the weights it was measured with, and only once all is scored."""

from __future__ import annotations

import pytest
from demo_parts import JUDGMENTS, QUERY, ROOT, Words, passages

from corpora.formats import Query
from corpora.registry import Corpus, open_corpus
from dear import events as ev
from dear.engines.choice import open_scorer
from dear.types import Hit, Passage
from demo import answer_level, answering
from demo.answer_level import Bests
from demo.answering import LEVEL, level_of, nothing_answers
from demo.api import _summed
from demo.handlers import reduce_all
from demo.recordings import recordings
from demo.render import notes

CHIP = f"{LEVEL.model} · fp32 · CPU"
WORDS = "No passage here scores as an answer."


@pytest.fixture
def weights(monkeypatch):
    """As if the student were the one that was measured, whatever lies here."""
    monkeypatch.setattr(answering, "_weights", lambda: LEVEL.weights)


def scored(*scores: float, chip: str = CHIP, over: bool = True):
    """The view of a run whose passages got these scores."""
    return reduce_all(run_of(*scores, chip=chip, over=over))


def run_of(*scores: float, chip: str = CHIP, over: bool = True) -> list[ev.Event]:
    """The events of such a run."""
    hits = [Hit(Passage(str(n), f"text {n}"), n, {"retrieval": -n}, {"retrieval": n}) for n in range(1, len(scores) + 1)]
    events = [ev.Started(QUERY, {"pointwise": chip}), ev.Retrieved(tuple(hits))]
    events += [ev.PointScore(hit.id, score, n, len(hits)) for n, (hit, score) in enumerate(zip(hits, scores, strict=True), 1)]
    ranked = sorted(zip(hits, scores, strict=True), key=lambda pair: -pair[1])
    done = [
        Hit(hit.passage, rank, {**hit.scores, "pointwise": score}, {**hit.ranks, "pointwise": rank}) for rank, (hit, score) in enumerate(ranked, 1)
    ]
    return [*events, ev.Pointwise(tuple(done))] if over else events


def test_it_is_said_below_the_level_alone(weights):
    low = LEVEL.score - 0.01
    page = notes(scored(low, low - 3))
    assert WORDS in page
    assert f"{low:.2f}".replace("-", "−") in page
    assert f"{LEVEL.answered} measured queries" in page
    assert notes(scored(LEVEL.score, low)) == ""
    assert notes(scored(low - 3, 2.0)) == "", "one answer is enough"


def test_the_api_says_it_in_numbers(weights):
    low = LEVEL.score - 0.01
    assert _summed(run_of(low, low - 3))["unanswered"] == {"best": low, "level": LEVEL.score}
    assert _summed(run_of(LEVEL.score, low))["unanswered"] is None
    assert _summed(run_of(low, low, over=False))["unanswered"] is None
    assert _summed(run_of(low, chip="dear-8b · nf4 · cuda:0"))["unanswered"] is None


def test_it_waits_until_all_is_scored(weights):
    low = LEVEL.score - 1
    assert WORDS not in notes(scored(low, low, over=False))
    assert notes(scored()) == ""


@pytest.mark.parametrize("chip", ["dear-8b · nf4 · cuda:0", "my-student · fp32 · CPU", f"{CHIP} · zero-shot", "fake · none · CPU", ""])
def test_of_other_models_nothing_is_said(weights, chip):
    assert level_of(chip) is None
    assert nothing_answers(chip, {"a": -99.0}) is None
    assert notes(scored(-99.0, chip=chip)) == ""


def test_of_other_weights_nothing_is_said(monkeypatch):
    monkeypatch.setattr(answering, "_weights", lambda: "0" * 64)
    assert level_of(CHIP) is None


def test_the_level_is_that_of_the_student_that_ships():
    if not level_of(CHIP):
        pytest.skip("the student was trained again, so the page says nothing: run `python -m demo.answer_level` and write what it prints down")
    for recording in recordings():
        assert WORDS not in notes(reduce_all(recording.events)), "the recorded queries have answers"


# ---- how it is measured


def test_each_query_is_scored_with_and_without_its_topic_and_its_answers():
    """The score is the passage's number, so that what was taken out can be seen."""
    hits = [Hit(Passage(f"{topic}-{n:02}", "text"), n, {}, {}) for n, topic in enumerate(("sky", "sky", "sea", "sky", "sea"), 1)]
    given = []

    def score(query, some):
        given.extend(hit.id for hit in some)
        return {hit.id: -float(hit.rank) for hit in some}

    query = Query("sky-q1", QUERY, topic="sky")
    found = answer_level.bests(query, hits, {"sky-01": 3, "sky-02": 1}, score)
    assert found == Bests(answered=-1.0, topic_gone=-3.0, answers_gone=-2.0)
    assert len(given) == len(set(given)), "nothing is scored twice"
    assert answer_level.bests(query, hits, {"sky-02": 1}, score).answered is None


def test_the_level_is_the_lowest_answered_query_rounded_down():
    found = [Bests(-4.99, -8.0, -5.05), Bests(1.2, -3.0, -6.0), Bests(None, -9.0, -9.0)]
    assert answer_level.level(found) == -5.0
    assert answer_level.counted(found, -5.0) == {"answered": "0 of 2", "topic gone": "2 of 3", "answers gone": "3 of 3"}


def test_a_split_is_measured(monkeypatch):
    corpus = Corpus("small", passages(), queries=[Query("q1", QUERY, "dev"), Query("q2", "jazz", "train")], qrels={"q1": JUDGMENTS})
    monkeypatch.setattr(corpus, "retriever", lambda kind: Words(passages()))
    (found,) = answer_level.measured("dev", corpus, lambda query, hits: {hit.id: float(len(hits)) for hit in hits})
    assert found.answered == len(passages())


def test_the_notes_for_instructors_say_what_it_is_worth():
    told = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    for words in (f"{LEVEL.score}".replace("-", "−"), f"{LEVEL.answered} development queries", "python -m demo.answer_level"):
        assert words in told


@pytest.mark.model
def test_the_student_tells_a_strange_question_from_one_with_an_answer():
    if not level_of(CHIP):
        pytest.skip("no level was measured for these weights")
    retriever, scorer, told = open_corpus("teaching").retriever("bm25"), open_scorer("dear-nano"), []
    for query in ("who won the world cup in 2018", "why is the sky blue"):
        found = [hit.passage for hit in retriever.search(query, 8)]
        batches = scorer.score(query, [passage.text for passage in found], [passage.title for passage in found])
        scores = {found[i].id: score for batch in batches for i, score in zip(batch.indices, batch.scores, strict=True)}
        told.append(nothing_answers(CHIP, scores) is not None)
    assert told == [True, False]
