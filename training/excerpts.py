"""Passages cut to the sentences nearest the query, so that a step on a slow machine sees more queries for the same tokens.

The student meets short and long documents in one run. Positive and negatives of a group are cut by the same rule, by the
teacher's embeddings and not by the label, and the teacher scores the excerpt again: both always see the same text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dear.explain import sentences
from training.groups import Group

Similarity = Callable[[str, Sequence[str]], Sequence[float]]


def excerpt_groups(groups: Sequence[Group], similarity: Similarity, *, share: float, words: int, seed: int) -> Iterator[Group]:
    """Yield every group; a seeded `share` of them with passages longer than `words` cut to an excerpt, teacher scores removed.

    `similarity(query, texts)` gives a number a text, larger is nearer.
    """
    rng = random.Random(seed)
    for group in groups:
        chosen = rng.random() < share
        yield _cut(group, similarity, words) if chosen else group


def _cut(group: Group, similarity: Similarity, words: int) -> Group:
    spans = [sentences(c.text) if len(c.text.split()) > words else [] for c in group.passages]
    texts = [c.text[a:b] for c, some in zip(group.passages, spans, strict=True) for a, b in some]
    values = iter(similarity(group.query, texts))
    passages = []
    for candidate, some in zip(group.passages, spans, strict=True):
        nearness = [next(values) for _ in some]
        text = _window(candidate.text, some, nearness, words) if some else candidate.text
        passages.append(replace(candidate, text=text, teacher=None) if text != candidate.text else candidate)
    return replace(group, passages=tuple(passages))


def _window(text: str, spans: Sequence[tuple[int, int]], nearness: Sequence[float], words: int) -> str:
    """The nearest sentence, grown by the nearer neighbour while at most `words` words are kept; a longer sentence stays whole."""
    first = last = max(range(len(spans)), key=lambda i: nearness[i])
    while True:
        sides = [i for i in (first - 1, last + 1) if 0 <= i < len(spans)]
        grown = [(nearness[i], min(first, i), max(last, i)) for i in sides]
        fitting = [(n, a, b) for n, a, b in grown if len(text[spans[a][0] : spans[b][1]].split()) <= words]
        if not fitting:
            return text[spans[first][0] : spans[last][1]]
        _, first, last = max(fitting)


def needs_score(group: Group) -> bool:
    """Whether a passage of the group has no teacher score."""
    return any(c.teacher is None for c in group.passages)
