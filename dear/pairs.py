"""A (query, passage) pair as token ids: one function for training, inference and evaluation.

The two sides are tokenised apart and cut apart (query 32, document 196 tokens by default), so that a long passage never
pushes the query out, then joined with the tokenizer's own special tokens. A document that does not fit is read from its head,
as the published students do; where the checkpoint says so, a long passage is first cut to the excerpt nearest the query. Where the
family's tokenizer opens a text with BOS (Llama 2 and 3) it does so before each side of a pair, and only once a side: this is
how the published students were trained. SmolLM2 has no BOS, so dear-nano's pairs have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from dear import excerpts, prompts
from dear.errors import BadInput

Q_LEN, P_LEN = 32, 196


def encode_pair(tokenizer: Any, query: str, title: str, text: str, q_len: int = Q_LEN, p_len: int = P_LEN, excerpt: int = 0) -> list[int]:
    """Token ids of one pair, at most `q_len + p_len` with the special tokens; see `encode_pairs`."""
    return encode_pairs(tokenizer, query, [title], [text], q_len, p_len, excerpt)[0]


def encode_pairs(
    tokenizer: Any, query: str, titles: Sequence[str], texts: Sequence[str], q_len: int = Q_LEN, p_len: int = P_LEN, excerpt: int = 0
) -> list[list[int]]:
    """Token ids of a query with each passage: the query side in its first `q_len` tokens, the document side in the rest.

    Special tokens count as the document's, so that a pair never exceeds `q_len + p_len`. With `excerpt`, a passage of more words is first
    cut to the excerpt nearest the query (`dear.excerpts`). Raises `BadInput` on lengths below 4.
    """
    if q_len < 4 or p_len < 8:
        raise BadInput(f"q_len {q_len} and p_len {p_len}: the query needs at least 4 tokens and the document 8")
    if not texts:
        return []
    before, between, after = _special(tokenizer)
    room = p_len - len(before) - len(between) - len(after)
    read = [excerpts.excerpt(query, text, excerpt) for text in texts] if excerpt else texts
    sides = [prompts.pair(query, title, text) for title, text in zip(titles, read, strict=True)]
    head = [*before, *_plain(tokenizer, [sides[0][0]], q_len)[0], *between]
    return [[*head, *ids, *after] for ids in _plain(tokenizer, [document for _, document in sides], room)]


def _plain(tokenizer: Any, texts: list[str], limit: int) -> list[list[int]]:
    # Truncation would be a setting of the tokenizer itself, which other threads share.
    return [ids[:limit] for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]


def _special(tokenizer: Any) -> tuple[list[int], list[int], list[int]]:
    """What the tokenizer puts before, between and after the two sides of a pair."""
    return _special_of(_Key(tokenizer))


class _Key:
    """A tokenizer as a dictionary key, by identity."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __hash__(self) -> int:
        return id(self.tokenizer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.tokenizer is self.tokenizer


@lru_cache(maxsize=8)
def _special_of(key: _Key) -> tuple[list[int], list[int], list[int]]:
    left, right = _plain(key.tokenizer, ["query", "document"], 16)
    whole = key.tokenizer("query", "document")["input_ids"]
    i = _find(whole, left, 0)
    j = _find(whole, right, i + len(left))
    return whole[:i], whole[i + len(left) : j], whole[j + len(right) :]


def _find(whole: list[int], part: list[int], start: int) -> int:
    for i in range(start, len(whole) - len(part) + 1):
        if whole[i : i + len(part)] == part:
            return i
    raise BadInput("the tokenizer writes a pair otherwise than its two sides: use a tokenizer that keeps them apart")
