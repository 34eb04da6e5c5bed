"""The reducer: streams in, views out; a failure or an early end leaves the ranking before it."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from demo_parts import QUERY, Words, passages, pipeline
from hypothesis import given
from hypothesis import strategies as st

from dear import events as ev
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import BadInput, EngineError
from dear.pipeline import Pipeline, Settings
from dear.types import STAGES, Hit, Passage, Rationale
from demo import limits, session
from demo.handlers import View, agreement, reduce, reduce_all, stage_before, start, stopped
from demo.resources import Resources


def ids(view: View) -> list[str]:
    return [hit.id for hit in view.hits]


def test_whole_run(run_events):
    view = reduce_all(run_events, start(QUERY))
    assert view.phase == "done"
    assert view.final
    assert view.by == "listwise"
    assert set(view.stages.values()) == {"done"}
    assert view.order == tuple(p.id for p in passages())
    assert sorted(ids(view)) == sorted(view.order)
    assert [w.status for w in view.windows] == ["complete"]
    assert "".join(e.text for e in run_events if isinstance(e, ev.Token)) == view.windows[0].text
    assert view.metrics.stages["retrieval"]["nDCG@10"] > 0
    assert set(agreement(view)) == {("retrieval", "pointwise"), ("pointwise", "listwise")}
    assert all(-1 <= tau <= 1 for tau in agreement(view).values())


def test_every_prefix_is_a_permutation_and_the_input_is_not_mutated(run_events):
    view = start(QUERY)
    for event in run_events:
        before = dataclasses.replace(view)
        after = reduce(view, event)
        assert view == before
        assert not after.hits or sorted(ids(after)) == sorted(after.order)
        assert [hit.rank for hit in after.hits] == list(range(1, len(after.hits) + 1))
        view = after


def test_delta_is_against_the_stage_before(run_events):
    view = reduce_all(run_events)
    for hit in view.hits:
        assert stage_before(view, hit) == ("pointwise", hit.ranks["pointwise"])
    first = reduce_all(run_events[:2])
    assert stage_before(first, first.hits[0]) is None


@pytest.mark.parametrize(
    ("scorer", "generator", "failing", "by"),
    [
        (FakeScorer(fail_after=2), FakeGenerator(), "pointwise", "listwise"),
        (FakeScorer(), FakeGenerator(fail_after=40), "listwise", "pointwise"),
        (FakeScorer(fail_after=0), FakeGenerator(fail_after=0), "pointwise", "retrieval"),
    ],
)
def test_failed_stage_keeps_the_ranking_before(scorer, generator, failing, by):
    view = reduce_all(Pipeline(Words(passages()), scorer=scorer, generator=generator).run(QUERY), start(QUERY))
    assert view.phase == "done"
    assert view.stages[failing] == "failed"
    assert view.failures[0].stage == failing
    assert view.by == by
    assert sorted(ids(view)) == sorted(view.order)
    assert "failed" in view.message


def test_stopped_in_the_reasoning_keeps_pointwise(run_events):
    cut = next(i for i, e in enumerate(run_events) if isinstance(e, ev.Token)) + 5
    view = stopped(reduce_all(run_events[:cut]), "Stopped.")
    assert view.phase == "stopped"
    assert view.by == "pointwise"
    assert view.stages == {"retrieval": "done", "pointwise": "done", "listwise": "stopped"}
    assert ids(view) == [h.id for h in next(e for e in run_events if isinstance(e, ev.Pointwise)).hits]


def test_windows_reorder_only_their_own_places():
    events = list(pipeline(depth=6, window=3, stride=2).run(QUERY))
    view = start(QUERY)
    for event in events:
        before = ids(view)
        view = reduce(view, event)
        if isinstance(event, ev.WindowEnd):
            a, b = view.windows[-1].span
            assert before[:a] == ids(view)[:a]
            assert before[b:] == ids(view)[b:]
            assert tuple(ids(view)[a:b]) == event.permutation
    assert len(view.windows) > 1


def test_skipped_stages_are_off():
    view = reduce_all(Pipeline(Words(passages())).run(QUERY), start(QUERY))
    assert view.stages == {"retrieval": "done", "pointwise": "off", "listwise": "off"}
    assert view.by == "retrieval"


_hit_lists = st.lists(st.text(min_size=1, max_size=8), min_size=0, max_size=6, unique=True)


@given(_hit_lists, st.data())
def test_any_order_of_events_is_survived(names, data):
    hits = tuple(Hit(Passage(name, name), rank, {"retrieval": -rank}, {"retrieval": rank}) for rank, name in enumerate(names, 1))
    pool = [
        ev.Started(QUERY),
        ev.Retrieved(hits),
        ev.PointScore(names[0] if names else "x", 0.5, 1, 3),
        ev.WindowStart(1, 1, (0, len(names)), tuple(names), "prompt"),
        ev.Token("text"),
        ev.WindowEnd(tuple(reversed(names)), "repaired", Rationale("text")),
        ev.Notice("listwise", "cut"),
        ev.Metrics({}),
        ev.Timing({}),
        ev.Failed("listwise", "no"),
        ev.Final(hits),
    ]
    view = start(QUERY)
    for event in data.draw(st.lists(st.sampled_from(pool), max_size=12)):
        view = reduce(view, event)
    assert set(view.stages) == set(STAGES)


# ---- the run around the reducer


@pytest.fixture
def resources(tmp_path) -> Resources:
    """Resources whose parts are there already, so that no index has to be built."""
    from corpora.registry import Corpus

    found = Resources(corpora=("small",), models=("fake",))
    corpus = Corpus("small", passages())
    parts = {"corpus:small": corpus, "retriever:small:bm25": Words(passages())}
    parts |= {"scorer:fake": FakeScorer(), "generator:fake": FakeGenerator(delay=0.002)}
    for key, value in parts.items():
        found._jobs[key].state, found._jobs[key].value = "ready", value
    return found


ASKED = limits.Request(QUERY, "small", model="fake")


def test_explain_ends_with_the_final_view_and_frees_the_model(resources):
    views = list(session.explain(resources, ASKED, session.Ticket("1")))
    assert views[-1].final
    assert resources.model_lock.acquire(timeout=2)
    assert views[0].hits, "the candidates come first, before any model"


def test_tokens_come_at_most_ten_times_a_second(resources):
    began = time.monotonic()
    views = list(session.explain(resources, ASKED, session.Ticket("1")))
    took = time.monotonic() - began
    assert sum(len(view.windows) > 0 for view in views) <= 10 * took + 4


@pytest.mark.parametrize("way", ["stop", "close"])
def test_stop_and_a_closed_tab_end_the_model(resources, way):
    resources._jobs["generator:fake"].value = FakeGenerator(delay=0.05)
    ticket = session.Ticket("1")
    views = session.explain(resources, ASKED, ticket)
    for view in views:
        if view.windows and view.windows[-1].tokens > 2:
            break
    began = time.monotonic()
    if way == "stop":
        ticket.end()
        view = list(views)[-1]
        assert view.phase == "stopped"
        assert view.by == "pointwise"
    else:
        views.close()
    assert ticket.idle.wait(2)
    assert resources.model_lock.acquire(timeout=2)
    assert time.monotonic() - began < 2


def test_a_model_that_failed_to_load_leaves_the_rest(resources):
    job = resources._jobs["generator:fake"]
    job.state, job.error, job.value = "failed", EngineError("no weights: run make setup"), None
    job.load = lambda tell: (_ for _ in ()).throw(EngineError("no weights: run make setup"))
    resources._thread = threading.Thread(target=resources._work, daemon=True)
    resources._thread.start()
    view = list(session.explain(resources, ASKED, session.Ticket("1")))[-1]
    assert view.by == "pointwise"
    assert view.stages["listwise"] == "failed"
    assert "make setup" in view.failures[0].error


def test_a_query_before_the_model_waits_with_its_candidates(resources):
    job = resources._jobs["scorer:fake"]
    job.state, job.value, job.load = "waiting", None, lambda tell: time.sleep(0.6) or FakeScorer()
    resources._thread = threading.Thread(target=resources._work, daemon=True)
    resources._thread.start()
    views = list(session.explain(resources, ASKED, session.Ticket("1")))
    waiting = [view for view in views if "Waiting for: Student, pointwise" in view.waiting]
    assert waiting
    assert all(view.hits for view in waiting)
    assert views[-1].final


def test_deadline_ends_a_run(resources, monkeypatch):
    monkeypatch.setattr(limits, "DEADLINE_S", 0.4)
    resources._jobs["generator:fake"].value = FakeGenerator(delay=0.05)
    view = list(session.explain(resources, ASKED, session.Ticket("1")))[-1]
    assert view.phase == "stopped"
    assert "longer than" in view.notices[-1].message
    assert view.hits, "the best ranking so far stays"
    assert resources.model_lock.acquire(timeout=2)


def test_a_new_query_ends_the_one_before():
    tickets = session.Tickets()
    first = tickets.open("visitor")
    second = tickets.open("visitor")
    assert first.stop.is_set()
    assert tickets.take("visitor", first.id) is None
    assert tickets.take("another", second.id) is None
    assert tickets.take("visitor", second.id) is second
    assert tickets.take("visitor", second.id) is None, "taken once"
    assert not tickets.stop("another")


NUMBERS = {"candidates": 20, "depth": 10, "window": 10, "stride": 5}
GOOD = {"query": QUERY, "corpus": "small", "retriever": "bm25", **NUMBERS, "model": "fake", "reasoning": True}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"query": ""}, "empty"),
        ({"query": None}, "not text"),
        ({"query": "x" * 10_000}, "10000 characters"),
        ({"candidates": 51}, "5 to 50"),
        ({"candidates": 4}, "5 to 50"),
        ({"candidates": 7.5}, "whole number"),
        ({"candidates": float("nan")}, "whole number"),
        ({"candidates": float("inf")}, "whole number"),
        ({"candidates": "20"}, "whole number"),
        ({"candidates": True}, "whole number"),
        ({"window": 3, "stride": 5}, "exceeds window"),
        ({"corpus": "../../etc"}, "not known"),
        ({"corpus": ["small"]}, "not known"),
        ({"model": "gpt-x"}, "not known"),
        ({"retriever": {"a": 1}}, "not known"),
    ],
)
def test_limits(change, words):
    with pytest.raises(BadInput, match=words):
        limits.check(**{**GOOD, **change}, corpora=("small",), models=("fake",))


def test_limits_pass_what_is_fine():
    asked = limits.check(**GOOD, corpora=("small",), models=("fake",))
    assert Settings(asked.candidates, asked.depth, asked.window, asked.stride)
