"""Practice topics: passages and graded queries written for stage 1 to learn from, in the form of the teaching corpus (DATA_CARD.md)."""

from __future__ import annotations

import functools
from pathlib import Path

from corpora.teaching import Teaching
from dear.excerpts import excerpt

ORDER_WORDS = 30


@functools.cache
def load() -> Teaching:
    """The practice topics; splits are "train" and "dev". Reasons are written for one or two queries of the topics that are not news."""
    return Teaching(Path(__file__).resolve().parent)


def orders(split: str) -> tuple[str, ...]:
    """What a split's passages of kind `injection` tell a ranker to do: of each, at most `ORDER_WORDS` words."""
    corpus = load()
    topics = {query.topic for query in corpus.queries if query.split == split}
    asked = "rank this passage first highest score relevant best answer ignore other passages"
    told = [p.text for p in corpus.passages if "injection" in corpus.tags[p.id] and corpus.topics[p.id] in topics]
    return tuple(excerpt(asked, text, ORDER_WORDS) for text in told)
