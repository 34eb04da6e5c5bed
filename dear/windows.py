"""Which stretches of a list a listwise model reads, and in which order. Pure: knows no model."""

from __future__ import annotations

from dear.errors import BadInput

Span = tuple[int, int]


def schedule(n: int, window: int, stride: int) -> list[Span]:
    """Windows over positions 0..n-1 from back to front, each a pair (start, end), end excluded.

    Every position is in some window, the last window starts at 0, and consecutive windows overlap by at least
    `window - stride`, so that a relevant passage can travel from the tail to the head (RankGPT, arXiv 2304.09542, section 4).
    Raises `BadInput` when `window` < 2 (unless n is 1), `stride` < 1 or `stride` > `window`.

    >>> schedule(25, 10, 5)
    [(15, 25), (10, 20), (5, 15), (0, 10)]
    >>> schedule(12, 10, 5)
    [(2, 12), (0, 10)]
    >>> schedule(5, 20, 10)
    [(0, 5)]
    """
    if window < 2:
        raise BadInput(f"window {window} is below 2: a listwise window needs at least two passages to compare")
    if stride < 1:
        raise BadInput(f"stride {stride} is below 1: use a stride between 1 and the window ({window})")
    if stride > window:
        raise BadInput(f"stride {stride} exceeds window {window}: use a stride of at most the window, or positions are skipped")
    if n <= 0:
        return []
    spans: list[Span] = []
    end = n
    while True:
        start = max(0, end - window)
        spans.append((start, min(n, start + window)))
        if start == 0:
            return spans
        end -= stride
