"""A newer question has the page: what an earlier run still had to say is not sent; and a late answer takes back nothing a visitor did."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from demo_parts import BROAD, QUERY, Words, passages

from corpora.registry import Corpus
from dear import events as ev
from dear.engines.fake import FakeGenerator, FakeScorer
from demo import session
from demo.kept_runs import KeptRuns
from demo.resources import Resources
from demo.uploads import Uploads

pytest.importorskip("gradio")
ANNA = SimpleNamespace(session_hash="anna")
SETTINGS = ("small", "bm25", 20, 10, 10, 5, "fake", True)
SETUPS = ["pointwise", "auto", "retrieved", "listwise", "auto", "retrieved"]


@pytest.fixture
def resources() -> Resources:
    """Resources whose parts are there already, with a model of 2 ms a token."""
    found = Resources(corpora=("small",), models=("fake",))
    parts = {"corpus:small": Corpus("small", passages()), "retriever:small:bm25": Words(passages())}
    for key, value in (parts | {"scorer:fake": FakeScorer(), "generator:fake": FakeGenerator(delay=0.002)}).items():
        found._jobs[key].state, found._jobs[key].value = "ready", value
    return found


@pytest.fixture
def explain_tab(resources):
    from demo.tabs.explain import ExplainTab

    return ExplainTab(resources, session.Tickets(), Uploads(resources), KeptRuns())


def skipped(value: object) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update" and len(value) == 1


def test_a_run_under_way_says_nothing_more_once_another_was_asked(explain_tab):
    first = explain_tab.begin(BROAD, *SETTINGS, ANNA)[0]
    run = explain_tab.run(first, ANNA)
    next(run)
    second = explain_tab.begin(QUERY, *SETTINGS, ANNA)[0]
    assert list(run) == []
    assert explain_tab.resources.model_lock.acquire(timeout=2), "and it has let go of the model"
    explain_tab.resources.model_lock.release()
    assert len(list(explain_tab.run(second, ANNA))) > 1


def test_a_run_that_was_never_begun_leaves_the_buttons_of_the_next_alone(explain_tab):
    first = explain_tab.begin(BROAD, *SETTINGS, ANNA)[0]
    explain_tab.begin(QUERY, *SETTINGS, ANNA)
    (only,) = explain_tab.run(first, ANNA)
    assert all(skipped(value) for value in only)


def test_stopping_is_still_said(explain_tab):
    ticket = explain_tab.begin(BROAD, *SETTINGS, ANNA)[0]
    run = explain_tab.run(ticket, ANNA)
    next(run)
    explain_tab.stop(ANNA)
    assert "best so far" in str(list(run)[-1])


def test_of_two_questions_that_wait_the_last_is_run_and_once(explain_tab):
    """Gradio keeps the fields of a run that waits as they were, and reads the ticket when its turn comes: the first comes with the second's."""
    explain_tab.begin(BROAD, *SETTINGS, ANNA)
    second = explain_tab.begin(QUERY, *SETTINGS, ANNA)[0]
    assert len(list(explain_tab.run(second, ANNA))) > 1
    events = explain_tab.kept.events("anna")
    assert events[0].query == QUERY
    assert isinstance(events[-1], ev.Final)
    (only,) = explain_tab.run(second, ANNA)
    assert all(skipped(value) for value in only), "its own run finds the ticket taken, and ends nothing"
    assert explain_tab.kept.events("anna") == events


def test_a_question_that_cannot_be_asked_leaves_the_one_that_waits(explain_tab):
    ticket = explain_tab.begin(QUERY, *SETTINGS, ANNA)[0]
    given, alert, go, stop, *_ = explain_tab.begin("", *SETTINGS, ANNA)
    assert skipped(given), "its ticket stays on the page"
    assert "empty" in alert
    assert (go.visible, stop.visible) == (False, True)
    assert len(list(explain_tab.run(ticket, ANNA))) > 1
    assert explain_tab.begin("", *SETTINGS, ANNA)[0] is None, "nothing waits any more"


def test_a_run_that_waits_for_its_turn_is_stopped_at_once(explain_tab):
    ticket = explain_tab.begin(BROAD, *SETTINGS, ANNA)[0]
    alert, go, stop, *shown = explain_tab.stop(ANNA)
    assert (alert, go.visible, stop.visible) == ("", True, False)
    assert session.STOPPED in str(shown)
    assert "card-1" in str(shown), "the candidates stay"
    assert "spinner" not in str(shown)
    (only,) = explain_tab.run(ticket, ANNA)
    assert all(skipped(value) for value in only), "its turn comes, and nothing is run"
    assert all(skipped(value) for value in explain_tab.stop(ANNA)), "nothing is left to stop"


def test_a_comparison_and_a_walk_that_wait_are_stopped_at_once(resources):
    from demo.learning.walk import Made
    from demo.tabs.compare import CompareTab
    from demo.tabs.learn import LearnTab

    compare = CompareTab(resources, Uploads(resources), session.Tickets())
    ticket = compare.begin(BROAD, "small", 6, "fake", True, *SETUPS, ANNA)[0]
    assert "Two whole rankings are needed" in str(compare.stop(ANNA))
    (only,) = compare.run(ticket, {}, ANNA)
    assert all(skipped(value) for value in only)

    learn = LearnTab(resources, Uploads(resources), session.Tickets())
    ticket, walk, made, *_ = learn.begin("", BROAD, "small", ANNA)
    said, *_ = learn.stop(made, ANNA)
    assert isinstance(said, Made)
    assert said.problems == (session.STOPPED,)
    (only,) = learn.rank(ticket, walk, ANNA)
    assert all(skipped(value) for value in only)


def test_what_could_not_run_is_not_said_to_have_met_a_queue(explain_tab):
    answer = explain_tab.turned_away("", *SETTINGS, ANNA)
    assert "empty" in answer[0]
    ticket = explain_tab.begin(BROAD, *SETTINGS, ANNA)[0]
    full = explain_tab.turned_away(BROAD, *SETTINGS, ANNA)
    assert "The candidates are here" in full[0]
    (only,) = explain_tab.run(ticket, ANNA)
    assert all(skipped(value) for value in only), "an earlier question's turn does not run it after all"
    explain_tab.resources._jobs["retriever:small:bm25"].state = "loading"
    early = explain_tab.turned_away(BROAD, *SETTINGS, ANNA)
    assert "Too many people" in early[0]
    assert "The candidates are here" not in early[0]
    assert "spinner" not in str(early)


def test_a_comparison_says_nothing_more_once_another_was_asked(resources):
    from demo.tabs.compare import CompareTab

    tab = CompareTab(resources, Uploads(resources), session.Tickets())
    given = (BROAD, "small", 6, "fake", True, *SETUPS)
    first = tab.begin(*given, ANNA)[0]
    run = tab.run(first, {}, ANNA)
    next(run)
    tab.begin(*given, ANNA)
    assert list(run) == []


def test_a_walk_says_nothing_more_once_another_was_begun(resources):
    from demo.tabs.learn import LearnTab

    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    first, walk, *_ = tab.begin("", BROAD, "small", ANNA)
    run = tab.rank(first, walk, ANNA)
    next(run)
    tab.begin("", QUERY, "small", ANNA)
    assert list(run) == []


def test_an_experiment_says_nothing_more_once_another_walk_was_begun(resources):
    from demo.tabs.learn import LearnTab

    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    _, walk, *_ = tab.begin("", BROAD, "small", ANNA)
    trying = tab.leave_out(next(iter(walk.letters.values())), walk, (), ANNA)
    next(trying)
    tab.begin("", QUERY, "small", ANNA)
    assert list(trying) == [], "nothing of it is put among the new walk's"


def test_a_late_answer_to_the_pages_loading_takes_back_nothing(explain_tab):
    """Without a link, what was said of a query and the line of settings are the visitor's own by then."""
    found = explain_tab.link(SimpleNamespace(query_params={}))
    assert all(skipped(value) for value in found[:11])
    given = explain_tab.link(SimpleNamespace(query_params={"q": "sky", "k": "12", "model": "<i>x"}))
    assert given[0] == "sky"
    assert "12 candidates" in given[9].label
    assert "asks for something this page cannot do" in str(given[10])


def test_the_clock_keeps_to_the_chosen_corpus(resources):
    """While parts are loading the page is told every second what is there: the examples stay those of the corpus that was chosen."""
    from corpora.formats import Query
    from demo.tabs.explain import ExplainTab

    more = Resources(corpora=("small", "other"), models=("fake",))
    for name, text in (("small", "why is the sky blue"), ("other", "how deep is the sea")):
        more._jobs[f"corpus:{name}"].state = "ready"
        more._jobs[f"corpus:{name}"].value = Corpus(name, passages(), queries=[Query("q1", text)])
    tab = ExplainTab(more, session.Tickets(), Uploads(more), KeptRuns())
    assert [button.value for button in tab.tick("other", "fake")[4:5]] == ["how deep is the sea"]
    assert [button.value for button in tab.tick("small", "fake")[4:5]] == ["why is the sky blue"]
    assert not any(button.visible for button in tab.tick("my data", "fake")[4:])
