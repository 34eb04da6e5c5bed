"""Greedy decoding over a `Session`: streamed text, a constrained permutation, and identifier scores in one prefill.

Nothing here knows prompts or passages: identifiers are 1..n, written as ` [i]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dear.engines import Session, TokenGenerator

INCOMPLETE = "�"  # what a tokenizer writes for a part of a character
LOOP = 3
LOOP_CHARS = 2_000
CHOICES = 256  # tokens a guide may turn down before it has to name some itself


@dataclass
class Trie:
    """The allowed continuations as a tree of token ids; a node that ends an identifier holds it in `leaf`."""

    children: dict[int, Trie] = field(default_factory=dict)
    leaf: int | None = None

    @classmethod
    def of(cls, sequences: dict[int, Sequence[int]]) -> Trie:
        """Build from identifier -> token ids."""
        root = cls()
        for identifier, ids in sequences.items():
            node = root
            for token in ids:
                node = node.children.setdefault(token, cls())
            node.leaf = identifier
        return root


def identifier_tokens(generator: TokenGenerator, n: int) -> dict[int, list[int]]:
    """Token ids of ` [i]` for i in 1..n, as the tokenizer writes them after `Ranking:` or `>`."""
    return {i: generator.encode(f" [{i}]") for i in range(1, n + 1)}


class Guide(Protocol):
    """Says what may be written next, and where only certain texts may, which; `dear.quoting.Citations` is one."""

    def allows(self, written: str, piece: str) -> bool: ...

    def following(self, written: str) -> Sequence[str]: ...


def stream_text(generator: TokenGenerator, session: Session, *, max_tokens: int, stop: str, guide: Guide | None = None) -> Iterator[str]:
    """Yield the greedy continuation piece by piece until end of text, `max_tokens`, or the text holds `stop` (yielded too).

    With a `guide` each token is the likeliest one it allows. A piece is held back while it ends in an incomplete character. Greedy
    decoding that has begun to go in circles never leaves them, so the same line `LOOP` times in a row ends the text too.
    """
    ids: list[int] = []
    sent = ""
    for _ in range(max_tokens):
        token = _next(generator, session.logits(), ids, guide)
        if token in generator.eos_ids:
            return
        ids.append(token)
        session.append([token])
        text = generator.decode(ids)
        if text.endswith(INCOMPLETE):
            continue
        if len(text) > len(sent):
            yield text[len(sent) :]
            sent = text
        if stop in text or loops(text):
            return


def _next(generator: TokenGenerator, logits: np.ndarray, ids: list[int], guide: Guide | None) -> int:
    """The likeliest token; with a guide the likeliest of `CHOICES` that it allows, else of those that begin a text it names, else the likeliest."""
    first = int(np.argmax(logits))
    if guide is None:
        return first
    whole = _whole(generator, ids)
    written, tail = generator.decode(ids[:whole]), ids[max(0, whole - 4) : whole]  # what a tokenizer may need to see to write a token's space
    named = _begun(generator, guide.following(written), ids[whole:])
    for token in _likeliest(logits):
        if token in generator.eos_ids and not guide.allows(written, "\n"):
            continue
        if token in named or token in generator.eos_ids:
            return token
        piece = generator.decode([*tail, *ids[whole:], token])[len(generator.decode(tail)) :]
        if piece and not (named and piece.endswith(INCOMPLETE)) and guide.allows(written, piece):  # other special tokens write nothing
            return token
    return max(named, key=lambda token: logits[token]) if named else first


def _whole(generator: TokenGenerator, ids: list[int]) -> int:
    """How many of the tokens write whole characters; the last ones may be parts of one."""
    return next((n for n in range(len(ids), max(0, len(ids) - 4), -1) if not generator.decode(ids[:n]).endswith(INCOMPLETE)), len(ids))


def _begun(generator: TokenGenerator, texts: Sequence[str], begun: list[int]) -> set[int]:
    """The tokens that go on with one of the texts, of which the tokens `begun` are written already."""
    encoded = (generator.encode(text) for text in texts)
    return {found[len(begun)] for found in encoded if len(found) > len(begun) and found[: len(begun)] == begun}


def _likeliest(logits: np.ndarray) -> Iterator[int]:
    yield int(np.argmax(logits))
    some = np.argpartition(-logits, min(CHOICES, len(logits) - 1))[:CHOICES]
    yield from (int(token) for token in some[np.argsort(-logits[some], kind="stable")])


def loops(text: str) -> bool:
    """Whether the last `LOOP` lines that are not empty are the same one.

    >>> loops("So:\\nblue\\n\\nblue\\nblue"), loops("blue\\nblue\\n")
    (True, False)
    """
    lines = [line for line in text[-LOOP_CHARS:].splitlines() if line.strip()]
    return len(lines) > LOOP and len(set(lines[-LOOP:])) == 1


def constrained_chain(generator: TokenGenerator, session: Session, n: int) -> Iterator[tuple[str, int, bool]]:
    """Write ` [a] > [b] > …` with each of 1..n once, choosing greedily among the identifiers not used yet.

    Yields (text, identifier, free): `free` is False where the model's own first choice was not an allowed one.
    """
    tokens = identifier_tokens(generator, n)
    arrow = generator.encode(" >")
    left = dict(tokens)
    prefix: list[int] = []
    while left:
        identifier, free = _descend(session, Trie.of(left), prefix)
        yield (" >" if prefix else "") + f" [{identifier}]", identifier, free
        del left[identifier]
        prefix = arrow


def _descend(session: Session, node: Trie, pending: list[int]) -> tuple[int, bool]:
    """Follow the trie to a leaf, reading `pending` first; tokens without an alternative are read together, without a choice."""
    pending, free = list(pending), True
    while node.children:
        if len(node.children) == 1:
            ((token, node),) = node.children.items()
        else:
            if pending:
                session.append(pending)
                pending = []
            logits = session.logits()
            allowed = list(node.children)
            token = allowed[int(np.argmax(logits[allowed]))]
            free = free and int(np.argmax(logits)) == token
            node = node.children[token]
        pending.append(token)
    if pending:
        session.append(pending)
    assert node.leaf is not None  # every path of the trie ends in an identifier
    return node.leaf, free


def identifier_scores(generator: TokenGenerator, session: Session, n: int) -> dict[int, float]:
    """Log-probability of each identifier 1..n as the first of the ranking (FIRST, arXiv 2406.15657, section 3).

    One prefill serves all identifiers that are one token long; longer ones cost a short step a shared prefix.
    The session is left as it was found.
    """
    scores: dict[int, float] = {}
    _collect(session, Trie.of(identifier_tokens(generator, n)), 0.0, scores, [])
    return scores


def _collect(session: Session, node: Trie, logp: float, scores: dict[int, float], pending: list[int]) -> None:
    if node.leaf is not None:
        scores[node.leaf] = logp
        return
    if len(node.children) == 1:
        ((token, child),) = node.children.items()
        _collect(session, child, logp, scores, [*pending, token])
        return
    length = len(session)
    if pending:
        session.append(pending)
    logits = session.logits().astype(np.float64)
    top = logits.max()
    logz = top + np.log(np.exp(logits - top).sum())
    for token, child in node.children.items():
        _collect(session, child, logp + float(logits[token] - logz), scores, [token])
    session.rewind(length)
