"""Compare: the same candidates for both, agreement measured by hand, a vote that is blind until it is cast; and the tab in a browser."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from browsing import no_sideways_scroll, visitor
from demo_parts import CANARIES, JUDGMENTS, QUERY, Words, passages

from corpora.formats import Query
from corpora.registry import Corpus
from dear.engines import EngineInfo
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import BadInput
from dear.types import Hit, Passage
from demo import compare_panel as panel
from demo import comparison, limits, session
from demo.compare_run import Progress, compare
from demo.comparison import Asked, Comparison, Setup, Side
from demo.resources import Resources
from demo.tabs.compare import CompareTab
from demo.uploads import MINE, Uploads

ANNA = SimpleNamespace(session_hash="anna")
GOOD = ["pointwise", "auto", "retrieved", "listwise", "auto", "retrieved"]


@pytest.fixture
def resources() -> Resources:
    """Resources whose parts are there already; the usual listwise engine says it is int8."""
    found = Resources(corpora=("small",), models=("fake",))
    corpus = Corpus("small", passages(), queries=[Query("q1", QUERY)], qrels={"q1": JUDGMENTS})
    int8 = FakeGenerator(delay=0.0005)
    int8.info = EngineInfo("fake", "fake", "int8", "cpu")
    parts = {"corpus:small": corpus, "retriever:small:bm25": Words(passages()), "scorer:fake": FakeScorer(), "generator:fake": int8}
    for key, value in parts.items():
        found._jobs[key].state, found._jobs[key].value = "ready", value
    threading.Thread(target=found._work, daemon=True).start()
    return found


def asked(first: Setup, second: Setup, **options) -> Asked:
    return Asked(QUERY, "small", "fake", 6, (first, second), **{"blind": True, **options})


def side(setup: Setup, *ids: str) -> Side:
    return Side(setup, tuple(Hit(Passage(id, f"text {id}"), rank) for rank, id in enumerate(ids, 1)))


# ---- what may be asked, and what is measured


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"query": None}, "not text"),
        ({"query": "x" * 301}, "301 characters"),
        ({"corpus": "../x"}, "not known"),
        ({"model": {}}, "not known"),
        ({"candidates": 21}, "4 to 20"),
        ({"candidates": "10"}, "whole number"),
        ({"setups": ["best", *GOOD[1:]]}, "method 'best'"),
        ({"setups": [GOOD[0], "int2", *GOOD[2:]]}, "precision 'int2'"),
        ({"setups": [*GOOD[:5], ["shuffled"]]}, "input order"),
        ({"setups": [*GOOD[:3], *GOOD[:3]]}, "both configurations are the same"),
    ],
)
def test_what_is_asked_is_checked(changed, words):
    values = {"query": QUERY, "corpus": "small", "model": "fake", "candidates": 10, "blind": True, "setups": GOOD, **changed}
    with pytest.raises(BadInput, match=words):
        comparison.check(**values, corpora=("small",), models=("fake",))


def test_every_preset_passes():
    for first, second in comparison.PRESETS.values():
        values = [getattr(setup, name) for setup in (first, second) for name in ("method", "precision", "order")]
        found = comparison.check(QUERY, "small", "fake", 10, True, values, corpora=("small",), models=("fake",))
        assert found.setups == (first, second)


def test_agreement_by_hand():
    found = comparison.agreement(list("abcd"), list("badc"))
    assert found.overlap == {1: 0.0, 3: 2 / 3}
    assert found.tau == pytest.approx(1 - 2 * 2 / 6), "two of six pairs are the other way round"
    expected = 0.1 * (0 + 0.9 * 1 + 0.81 * 2 / 3 + 0.729 * 1) + 0.9**4
    assert found.rbo == pytest.approx(expected)


def test_disagreements_are_the_widest_first():
    left, right = side(Setup(), *"abcdef"), side(Setup("listwise"), *"fbcdea")
    assert [(hit.id, a, b) for hit, a, b in comparison.disagreements(left, right)] == [("a", 1, 6), ("f", 6, 1)]
    assert comparison.disagreements(left, left) == []


def test_orders_hold_the_same_passages_and_the_shuffle_repeats():
    hits = Words(passages()).search(QUERY, 6)
    for order in comparison.ORDERS:
        assert sorted(p.id for p in comparison.arranged(hits, order)) == sorted(hit.id for hit in hits)
        assert comparison.arranged(hits, order) == comparison.arranged(hits, order)
    assert comparison.arranged(hits, "shuffled") != comparison.arranged(hits, "retrieved")


# ---- the run


def test_both_rank_the_same_candidates(resources):
    steps = list(compare(resources, asked(Setup("both"), Setup("listwise-fast", order="shuffled")), session.Ticket("1")))
    found = steps[-1].result
    assert sorted(found.sides[0].ids) == sorted(found.sides[1].ids) == sorted(p.id for p in passages())
    assert [hit.rank for hit in found.sides[1].hits] == [1, 2, 3, 4, 5, 6]
    assert all(hit.terms for each in found.sides for hit in each.hits)
    assert all(0 < each.ndcg <= 1 for each in found.sides)
    assert any("scored" in step.doing[0] for step in steps)
    assert resources.model_lock.acquire(timeout=2)


def test_pointwise_does_not_see_the_input_order(resources):
    found = list(compare(resources, asked(Setup("pointwise"), Setup("pointwise", order="reversed")), session.Ticket("1")))[-1].result
    scores = [{hit.id: hit.scores["pointwise"] for hit in each.hits} for each in found.sides]
    assert scores[0] == scores[1]


def test_a_precision_asked_for_is_another_engine_unless_it_is_the_usual_one(resources):
    found = list(compare(resources, asked(Setup("listwise-fast", "int8"), Setup("listwise-fast", "fp32")), session.Ticket("1")))[-1]
    assert found.result is not None
    usual = resources.get("generator:fake")
    assert resources.get("generator:fake:int8") is usual
    assert resources.get("generator:fake:fp32") is not usual


def test_stop_frees_the_model(resources):
    resources.get("generator:fake").delay = 0.05
    ticket = session.Ticket("1")
    last = Progress()
    began = 0.0
    for last in compare(resources, asked(Setup("pointwise"), Setup("listwise")), ticket):
        if last.doing[1] and not began:
            began = time.monotonic()
            ticket.end()
    assert last.stopped == session.STOPPED
    assert last.result is None
    assert resources.model_lock.acquire(timeout=2)
    assert time.monotonic() - began < 2


def test_a_deadline_and_too_few_passages(resources, monkeypatch):
    resources.get("generator:fake").delay = 0.05
    monkeypatch.setattr(limits, "DEADLINE_S", 0.3)
    assert "longer than" in list(compare(resources, asked(Setup("pointwise"), Setup("listwise")), session.Ticket("1")))[-1].stopped
    resources._jobs["retriever:small:bm25"].value = Words(passages()[:1])
    assert "two are needed" in list(compare(resources, asked(Setup(), Setup("retrieval")), session.Ticket("2")))[-1].error
    assert resources.model_lock.acquire(timeout=2)


def test_a_failing_stage_is_said_beside_its_ranking(resources):
    resources._jobs["scorer:fake"].value = FakeScorer(fail_after=2)
    found = list(compare(resources, asked(Setup("pointwise"), Setup("retrieval"), blind=False), session.Ticket("1")))[-1].result
    assert found.sides[0].ids == found.sides[1].ids, "the ranking of the stage before stands"
    assert "the fake scorer fails" in panel.rankings(found)


# ---- the vote


def test_blind_means_blind():
    found = Comparison(QUERY, (side(Setup("pointwise"), *"ab"), side(Setup("listwise"), *"ba")), swapped=True, judgments={"a": 1})
    page = panel.rankings(found) + panel.verdict(found, {})
    assert not any(words in page for words in ("Pointwise", "Listwise", "grade", "nDCG", "move"))
    known = found.voted("left")
    page = panel.rankings(known) + panel.verdict(known, comparison.tally({}, known))
    assert page.index("Listwise, with reasoning") < page.index("Pointwise"), "swapped: the second configuration is on the left"
    assert "You chose the left one: <b>Listwise, with reasoning</b>" in page
    assert known.voted("right").vote == "left", "a vote stands"
    with pytest.raises(BadInput, match="vote"):
        found.voted("both")


def test_the_tally_counts_configurations_not_sides():
    sides = (side(Setup("pointwise"), *"ab"), side(Setup("listwise"), *"ba"))
    counts: dict[str, int] = {}
    for swapped, vote in ((True, "left"), (False, "right"), (False, "tie"), (True, "skipped")):
        counts = comparison.tally(counts, Comparison(QUERY, sides, swapped).voted(vote))
    assert counts == {"Listwise, with reasoning": 2, "No difference": 1}


def test_handlers(resources):
    tab = CompareTab(resources, Uploads(resources), session.Tickets())
    ticket, alert, *_ = tab.begin(QUERY, "small", 6, "fake", True, *GOOD, ANNA)
    assert alert == ""
    last = list(tab.run(ticket, {}, ANNA))[-1]
    found = last[3]
    assert found.vote is None
    after = tab.vote("right", found, {})
    assert after[0].vote == "right"
    assert sum(after[1].values()) == 1
    again = tab.vote("left", after[0], after[1])
    assert all(isinstance(part, dict) and part.get("__type__") == "update" for part in again), "a second vote changes nothing"
    assert tab.begin(QUERY, MINE, 6, "fake", True, *GOOD, ANNA)[0] is None, "nothing uploaded, nothing to compare"
    assert tab.begin("", "small", 6, "fake", True, *GOOD, ANNA)[0] is None
    stale = list(tab.run("999", {}, ANNA))
    assert len(stale) == 1, "a ticket that begin did not give runs nothing"


def test_a_comparison_that_is_gone_is_said_to_be(resources):
    tab = CompareTab(resources, Uploads(resources), session.Tickets())
    assert "is gone" in tab.vote("left", None, {})[-1]


def test_no_vote_counts_where_a_stage_broke_off(resources):
    resources._jobs["generator:fake"].value = FakeGenerator(fail_after=3)
    tab = CompareTab(resources, Uploads(resources), session.Tickets())
    ticket, *_ = tab.begin(QUERY, "small", 6, "fake", True, *GOOD, ANNA)
    last = list(tab.run(ticket, {}, ANNA))[-1]
    assert last[3].vote == "skipped"
    assert any(side.problems for side in last[3].sides)
    assert "not every stage could rank" in str(last[5])
    assert "problem" in str(last[4])


def test_the_precision_is_the_listwise_stages():
    same = ["pointwise", "int4", "retrieved", "pointwise", "auto", "retrieved"]
    with pytest.raises(BadInput, match="both configurations are the same"):
        comparison.check(QUERY, "small", "fake", 6, True, same, corpora=["small"], models=["fake"])


def test_the_panels_escape_everything():
    sides = tuple(
        Side(setup, tuple(Hit(Passage(c, c, c), i, rationale=c) for i, c in enumerate(order, 1)), problems=CANARIES)
        for setup, order in ((Setup(), CANARIES), (Setup("listwise"), CANARIES[::-1]))
    )
    found = Comparison(CANARIES[0], sides).voted("tie")
    page = panel.rankings(found) + panel.verdict(found, dict.fromkeys(CANARIES, 1)) + panel.stopped(CANARIES[1])
    page += panel.progress(asked(Setup(), Setup("both")), Progress(waiting=CANARIES[2])) + panel.status(CANARIES[3])
    assert not any(mark in page for mark in ("<img", "<script", "<svg", "${", "{{", "\u202e"))


# ---- the tab in a browser


def ask(tab, query: str = QUERY) -> None:
    tab.fill(".dear-query input:visible", query)
    tab.press(".dear-query input:visible", "Enter")


@pytest.mark.browser
def test_compare_vote_and_stop(chrome, lab_site):
    with visitor(chrome, lab_site) as tab:
        tab.get_by_role("tab", name="Compare").click()
        tab.wait_for_selector(".plain-list")
        ask(tab, "")
        assert "empty" in tab.wait_for_selector("p.alert:visible").inner_text()
        ask(tab)
        tab.wait_for_selector(".versus", timeout=60_000)
        assert tab.locator("p.alert:visible").count() == 0
        assert tab.locator(".versus .move").count() == 0, "nothing tells which is which"
        tab.get_by_role("button", name="Right is better").click()
        tab.wait_for_selector(".chosen")
        assert tab.locator(".numbers li").count() >= 4
        assert tab.locator(".votes li").count() == 1
        assert not tab.get_by_role("button", name="Right is better").is_visible()
        ask(tab, "canary in the text")
        tab.wait_for_selector(".doing .detail:has-text('writing')", timeout=30_000)
        tab.keyboard.press("Escape")
        tab.wait_for_selector(".lab-note:has-text('Stopped')")
        tab.wait_for_selector("button.dear-go:visible")
        tab.get_by_role("button", name="Shuffled input").click()
        tab.wait_for_function("[...document.querySelectorAll('.lab-setups input')].some(e => e.value === 'shuffled')")
        ask(tab, "canary in the text")
        tab.wait_for_selector(".versus", timeout=60_000)
        tab.get_by_role("button", name="No difference").click()
        tab.wait_for_selector(".chosen")
        assert tab.evaluate("window.canary === undefined")
        assert tab.locator(".votes li").count() == 2


@pytest.mark.browser
def test_on_a_phone(chrome, lab_site):
    with visitor(chrome, lab_site, width=390, scheme="dark") as tab:
        tab.get_by_role("tab", name="Compare").click()
        tab.wait_for_selector(".plain-list")
        no_sideways_scroll(tab)
        ask(tab)
        tab.wait_for_selector(".versus", timeout=60_000)
        tab.get_by_role("button", name="Show without a vote").click()
        tab.wait_for_selector(".chosen")
        no_sideways_scroll(tab)
