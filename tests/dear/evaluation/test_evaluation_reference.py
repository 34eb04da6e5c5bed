"""The reference's windows: what they read, what they leave out, and that the same windows cost nothing twice."""

import pytest

from dear.engines.fake import FakeGenerator
from dear.evaluation.benchmarks import Benchmark
from dear.evaluation.questions import Opened, Question
from dear.evaluation.reference import by_reference_windows, spans
from dear.evaluation.scoring import CachedLister
from dear.evaluation.stages import Ranked, Row, by_lister
from dear.evaluation.store import Store
from dear.pipeline import Settings
from dear.types import Passage
from dear.windows import schedule

TEXTS = ("blue sky at noon", "rain on the town", "bread and salt", "the sky today", "grey roofs", "a blue boat", "tea")
POOL = tuple(Passage(f"p{n}", text) for n, text in enumerate(TEXTS))
DATA = Opened(Benchmark("b", "B"), (Question("q", "blue sky", {"p0": 1}, POOL),))
BEFORE = Row("pointwise", {"q": Ranked(("p1", "p0", "p2", "p3", "p4", "p5", "p6"), 1.0)})


def quiet(items, what, total):
    return items


def lister(window, stride, **options):
    return CachedLister(FakeGenerator(**options), Store(), Settings(depth=7, window=window, stride=stride, stages=("retrieval", "listwise")))


@pytest.mark.parametrize(("n", "window", "stride"), [(100, 20, 10), (20, 20, 10), (30, 10, 5), (10, 10, 5)])
def test_on_the_stride_they_are_ours(n, window, stride):
    assert spans(n, window, stride) == schedule(n, window, stride)


def test_off_the_stride_the_head_is_never_read_and_a_short_list_not_at_all():
    assert spans(25, 20, 10) == [(5, 25)]
    assert spans(5, 20, 10) == []
    row = by_reference_windows(DATA, lister(4, 2), BEFORE, 7, quiet)  # windows 3-7 and 1-5
    ids = row.ranked["q"].ids
    assert ids[0] == "p1"  # the worst passage keeps the first place
    assert ids[1] == "p0"
    assert sorted(ids) == sorted(BEFORE.ranked["q"].ids)
    assert row.after == "pointwise"
    assert row.ranked["q"].seconds > 0
    assert by_lister("listwise", DATA, lister(4, 2), BEFORE, 7, quiet).ranked["q"].ids[0] == "p0"
    short = by_reference_windows(DATA, lister(10, 5, fail_after=0), BEFORE, 7, quiet)  # would fail if it were asked
    assert short.ranked["q"].ids == BEFORE.ranked["q"].ids


def test_the_same_windows_are_answered_from_the_stage():
    stage = by_lister("listwise", DATA, lister(3, 2), BEFORE, 7, quiet)
    same = by_reference_windows(DATA, lister(3, 2, fail_after=0), BEFORE, 7, quiet)
    assert same.ranked["q"].ids == stage.ranked["q"].ids
    assert same.ranked["q"].seconds == stage.ranked["q"].seconds
