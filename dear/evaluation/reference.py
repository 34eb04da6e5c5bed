"""The listwise stage over the reference implementation's windows, beside the same stage over ours.

The reference (github.com/DataScienceUIBK/DeAR-Reranking, `sliding_windows`) goes from the end of the list to its head only while
a whole window fits: where the list is off the stride its best passages are never read, and a list shorter than a window is not
read at all. At the paper's 100 passages in windows of 20 by 10 both are the same.
"""

from __future__ import annotations

from dear.evaluation.questions import Opened, Question
from dear.evaluation.scoring import CachedLister
from dear.evaluation.stages import Progress, Ranked, Row, passages_of
from dear.windows import Span, schedule

WINDOWS = "reference-windows"


def spans(n: int, window: int, stride: int) -> list[Span]:
    """The reference's windows over positions 0..n-1, in the order it reads them, each (start, end), end excluded.

    >>> spans(25, 20, 10), spans(10, 20, 10)
    ([(5, 25)], [])
    >>> spans(100, 20, 10) == schedule(100, 20, 10)
    True
    """
    return [(end - window, end) for end in range(n, window - 1, -stride)]


def by_reference_windows(opened: Opened, lister: CachedLister, before: Row, top: int, progress: Progress) -> Row:
    """Rank the first `top` of the ranking before as the reference does; what its windows leave out keeps its place."""
    shown = progress(opened.questions, f"{opened.benchmark.name}: {WINDOWS}", len(opened))
    return Row(WINDOWS, {q.id: _listed(q, lister, before.ranked[q.id], top) for q in shown}, before.stage)


def _listed(question: Question, lister: CachedLister, before: Ranked, top: int) -> Ranked:
    order, seconds = list(before.ids[:top]), 0.0
    window, stride = lister.windows
    windows = spans(len(order), window, stride)
    if windows and windows == schedule(len(order), window, stride):
        windows = [(0, len(order))]  # the same windows: the stage's own answer, which is kept, stands for them
    for start, end in windows:
        listing = lister.rank(question.text, passages_of(question, order[start:end]))
        order[start:end] = listing.ids
        seconds += listing.seconds
    return Ranked((*order, *before.ids[top:]), seconds)
