import time
from dataclasses import replace
from itertools import pairwise

import pytest

from dear import events as ev
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import BadInput
from dear.pipeline import Pipeline, Settings, tokens_of, windows_of
from dear.runs import ranking_so_far
from dear.types import Hit, Passage, Rationale

TEXTS = [
    "The sky is blue because short waves scatter more than long waves do.",
    "Bread rises in the oven.",
    "Why is my screen blue and broken, blue, blue?",
    "The sea is deep.",
    "At noon the sky looks blue to us, at dusk it looks red.",
    "Paint your wall in a blue that calms.",
]
PASSAGES = [Passage(f"p{i}", text, "Note") for i, text in enumerate(TEXTS)]
QUERY = "why is the sky blue"


class Listed:
    """A retriever over a list."""

    def search(self, query, k):
        return tuple(Hit(p, rank, {"retrieval": 9.0 - rank}, {"retrieval": rank}) for rank, p in enumerate(PASSAGES[:k], 1))


def names(events):
    return [type(event).__name__ for event in events]


def ids(hits):
    return sorted(hit.id for hit in hits)


def test_the_three_stages_arrive_in_order():
    events = list(Pipeline(Listed(), scorer=FakeScorer(), generator=FakeGenerator(), judgments=lambda q: {"p0": 3}).run(QUERY))
    order = [name for name in dict.fromkeys(names(events))]
    assert order == ["Started", "Retrieved", "PointScore", "Pointwise", "WindowStart", "Token", "WindowEnd", "Metrics", "Timing", "Final"]
    final = events[-1].hits
    assert ids(final) == ids(events[1].hits)
    assert [hit.rank for hit in final] == [1, 2, 3, 4, 5, 6]
    for stage in ("retrieval", "pointwise", "listwise"):
        assert all(stage in hit.scores and stage in hit.ranks for hit in final)
    scores = [hit.scores["listwise"] for hit in final]
    assert all(a > b for a, b in pairwise(scores))
    metrics = next(e for e in events if isinstance(e, ev.Metrics))
    assert set(metrics.stages) == {"retrieval", "pointwise", "listwise"}
    assert metrics.unjudged["retrieval"] == 5


def test_the_recorded_run_reads_back_and_leads_to_the_same_ranking():
    events = list(Pipeline(Listed(), scorer=FakeScorer(), generator=FakeGenerator()).run(QUERY))
    again = list(ev.load(ev.dump(events)))
    assert again == events
    assert [h.id for h in ranking_so_far(again[:-1])] == [h.id for h in events[-1].hits]


@pytest.mark.parametrize("reasoning", [True, False])
@pytest.mark.parametrize(("n", "window", "stride"), [(1, 10, 5), (2, 2, 1), (6, 3, 2), (6, 4, 4), (5, 3, 1)])
def test_windows_of_any_shape_give_a_permutation(n, window, stride, reasoning):
    settings = Settings(depth=n, window=window, stride=stride, reasoning=reasoning)
    events = list(Pipeline(generator=FakeGenerator(), settings=settings).run(QUERY, PASSAGES[:n]))
    assert ids(events[-1].hits) == ids([Hit(p, 1) for p in PASSAGES[:n]])
    windows = [e for e in events if isinstance(e, ev.WindowStart)]
    assert {i for w in windows for i in range(*w.span)} == set(range(n))
    assert all(len(w.ids) == w.span[1] - w.span[0] for w in windows)


def test_listwise_reads_only_its_depth_and_leaves_the_rest_in_order():
    settings = Settings(depth=3, window=3, stride=2)
    final = list(Pipeline(generator=FakeGenerator(), settings=settings).run(QUERY, PASSAGES))[-1].hits
    assert [hit.id for hit in final[3:]] == ["p3", "p4", "p5"]


def test_a_published_student_reads_and_writes_more_than_nano():
    """Its windows are wider and its three steps longer; what is set counts for both."""
    nano, published = FakeGenerator(), FakeGenerator()
    published.info = replace(published.info, prompt="dear")
    assert (tokens_of(Settings(), nano), tokens_of(Settings(), published)) == (320, 1024)
    assert tokens_of(Settings(max_tokens=64), published) == 64
    assert (windows_of(Settings(), nano), windows_of(Settings(), published)) == ((10, 5), (20, 10))
    assert windows_of(Settings(window=6, stride=2), published) == (6, 2)
    assert (windows_of(Settings(window=7), published), windows_of(Settings(stride=4), nano)) == ((7, 5), (10, 4))
    with pytest.raises(BadInput, match="stride 9 exceeds window 8"):
        Settings(window=8, stride=9)
    with pytest.raises(BadInput, match="max_tokens 8"):
        Settings(max_tokens=8)


def test_no_hit_says_so_and_still_ends_in_final():
    class Nothing:
        def search(self, query, k):
            return ()

    events = list(Pipeline(Nothing(), scorer=FakeScorer(), generator=FakeGenerator()).run(QUERY))
    assert names(events) == ["Started", "Notice", "Retrieved", "Timing", "Final"]
    assert events[-1].hits == ()


def test_a_failing_scorer_leaves_the_retrieved_ranking():
    events = list(Pipeline(Listed(), scorer=FakeScorer(fail_after=1), generator=None).run(QUERY))
    failed = next(e for e in events if isinstance(e, ev.Failed))
    assert failed.stage == "pointwise"
    assert [hit.id for hit in events[-1].hits] == [p.id for p in PASSAGES]


def test_a_failing_generator_leaves_the_pointwise_ranking():
    events = list(Pipeline(Listed(), scorer=FakeScorer(), generator=FakeGenerator(fail_after=20)).run(QUERY))
    assert next(e for e in events if isinstance(e, ev.Failed)).stage == "listwise"
    pointwise = next(e for e in events if isinstance(e, ev.Pointwise)).hits
    assert [hit.id for hit in events[-1].hits] == [hit.id for hit in pointwise]


def test_a_failing_retriever_is_an_event_too():
    class Broken:
        def search(self, query, k):
            raise RuntimeError("the disk is gone")

    events = list(Pipeline(Broken(), scorer=FakeScorer()).run(QUERY))
    assert names(events) == ["Started", "Failed", "Timing", "Final"]
    assert "the disk is gone" in events[1].error


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_closing_anywhere_leaves_a_valid_ranking_and_an_idle_model(cut):
    generator = FakeGenerator()
    stream = Pipeline(Listed(), scorer=FakeScorer(), generator=generator).run(QUERY)
    seen = [event for event, _ in zip(stream, range(cut), strict=False)]
    stream.close()
    assert list(stream) == []
    if any(isinstance(event, ev.Retrieved) for event in seen):
        ranking = ranking_so_far(seen)
        assert ids(ranking) == ids([Hit(p, 1) for p in PASSAGES])
        assert [hit.rank for hit in ranking] == list(range(1, 7))


def test_closing_stops_within_one_token():
    stream = Pipeline(generator=FakeGenerator(delay=0.05)).run(QUERY, PASSAGES)
    next(event for event in stream if isinstance(event, ev.Token))
    start = time.perf_counter()
    stream.close()
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize(
    ("query", "passages", "says"),
    [
        ("", PASSAGES, "the query is empty"),
        ("   \n", PASSAGES, "the query is empty"),
        ("x" * 10_000, PASSAGES, "10000 characters, the limit is 300"),
        (QUERY, [Passage("a", "x"), Passage("a", "y")], "'a' occurs twice"),
        (QUERY, [Passage("a", " ")], "'a' has no text"),
        (QUERY, [Passage("a", "x" * 30_000)], "the limit is 20000"),
    ],
)
def test_bad_input_is_refused_before_the_first_event(query, passages, says):
    with pytest.raises(BadInput, match=says):
        Pipeline(scorer=FakeScorer()).run(query, passages)


def test_equal_texts_are_fine():
    events = list(Pipeline(scorer=FakeScorer()).run(QUERY, [Passage("a", "same"), Passage("b", "same")]))
    assert [hit.id for hit in events[-1].hits] == ["a", "b"]


@pytest.mark.parametrize("values", [{"candidates": 0}, {"depth": 2000}, {"window": 1}, {"stride": 11}, {"stages": ("magic",)}, {"max_tokens": 1}])
def test_settings_outside_their_limits_are_refused(values):
    with pytest.raises(BadInput):
        Settings(**values)


def test_a_stage_that_failed_leaves_no_score_in_the_ranking_so_far():
    hits = tuple(Hit(Passage(id, id), rank) for rank, id in enumerate("abcd", 1))
    seen = [ev.Retrieved(hits), ev.PointScore("d", 1.0, 1, 4), ev.Failed("pointwise", "out of memory")]
    assert [hit.id for hit in ranking_so_far(seen)] == list("abcd")
    seen += [ev.WindowStart(1, 1, (0, 4), tuple("abcd"), "prompt"), ev.WindowEnd(tuple("cbad"), "complete", Rationale(), 1)]
    assert [hit.id for hit in ranking_so_far(seen)] == list("cbad")
