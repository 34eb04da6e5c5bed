"""The part of a long passage that a small student reads: the run of sentences that shares most words with the query.

A rule without a model, over one (query, passage) pair alone, so that a pair's score stays its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from dear.explain import sentences

_WORD = re.compile(r"\w{2,}")
_ENDING = re.compile(r"(?:ing|ed|es|s)$")


def excerpt(query: str, text: str, words: int) -> str:
    """The run of whole sentences with the most of the query's words, at most `words` long; a longer sentence stays whole, as does a short text.

    >>> excerpt("who finished the lighthouse", "Ships came. The lighthouse was finished by a mason. Gulls nest on it.", 8)
    'The lighthouse was finished by a mason.'
    """
    start, end = place(query, text, words)
    return text[start:end]


def place(query: str, text: str, words: int) -> tuple[int, int]:
    """Where the excerpt stands in the text: its first character, and the one after its last."""
    spans = sentences(text)
    if not spans or len(text.split()) <= words:
        return 0, len(text)
    wanted = set(terms(query))
    return run(text, spans, [len(wanted.intersection(terms(text[a:b]))) for a, b in spans], words)


def terms(text: str) -> Collection[str]:
    """Words without the plural and the commonest endings: enough to see that two sentences speak of the same thing."""
    return [_ENDING.sub("", word) or word for word in _WORD.findall(text.casefold())]


def run(text: str, spans: Sequence[tuple[int, int]], worth: Sequence[float], words: int) -> tuple[int, int]:
    """The place of the sentence of most worth, grown by the worthier neighbour up to `words` words; a longer sentence stays whole."""
    first = last = max(range(len(spans)), key=lambda i: worth[i])
    while True:
        sides = [i for i in (first - 1, last + 1) if 0 <= i < len(spans)]
        grown = [(worth[i], min(first, i), max(last, i)) for i in sides]
        fitting = [(w, a, b) for w, a, b in grown if len(text[spans[a][0] : spans[b][1]].split()) <= words]
        if not fitting:
            return spans[first][0], spans[last][1]
        _, first, last = max(fitting)
