"""Stage 2: one window of passages in, reasoning and a permutation out, streamed.

Reasoning mode writes up to the ranking marker, its quotes held to the cited passage's words (`dear.quoting`); from there the
decoder may only name identifiers not used yet, so the result is a permutation by construction. Fast mode writes no reasoning:
one prefill, identifiers ordered by their logits (FIRST, arXiv 2406.15657). A remote server gives text only: that is parsed and,
if need be, repaired.
"""

from __future__ import annotations

import logging
from collections.abc import Generator as Coroutine
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dear import prompts
from dear.decoding import Guide, constrained_chain, identifier_scores, stream_text
from dear.engines import Session, TextGenerator, TokenGenerator
from dear.errors import BadInput
from dear.explain import ground
from dear.parse import parse
from dear.quoting import Citations
from dear.types import Passage, Rationale, Status, at_word

logger = logging.getLogger(__name__)

MIN_PASSAGE_TOKENS = 16
RANKING_ALONE = "Write the ranking line only."  # what a server is asked in fast mode, whose logits it does not give
CHAIN_TOKENS = 8  # a generous bound on the tokens of " > [12]"
ANSWER_MARGIN = 16  # marker, end of text, and the template's own tokens after the answer


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens read and written by one window."""

    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Window:
    """A prepared window: the conversation within the token budget and the passages in prompt order."""

    query: str
    passages: tuple[Passage, ...]  # as given, whole
    shown: tuple[Passage, ...]  # as the prompt shows them
    messages: tuple[prompts.Message, ...]  # with the passages trimmed
    prompt: str  # exact text
    trimmed: int = 0  # passages cut
    cap: int = 0  # tokens a cut passage keeps


@dataclass(frozen=True, slots=True)
class Ranked:
    """A window's result: passage ids best first."""

    permutation: tuple[str, ...]
    status: Status
    rationale: Rationale
    cost: Cost


Generator = TokenGenerator | TextGenerator


def prepare(query: str, passages: Sequence[Passage], generator: Generator, *, max_tokens: int) -> Window:
    """Build the prompt; when it and an answer of `max_tokens` exceed the model's context, cut the longest passages first.

    Raises `BadInput` when even `MIN_PASSAGE_TOKENS` a passage do not fit.
    """
    passages = tuple(passages)
    window = _render(query, passages, passages, generator)
    reserve = max_tokens + CHAIN_TOKENS * len(passages) + ANSWER_MARGIN
    if isinstance(generator, TextGenerator) and not max_tokens:
        reserve += generator.count(RANKING_ALONE)
    used = _count(generator, window.prompt)
    if used + reserve <= generator.context:
        return window
    lengths = [_count(generator, prompts.neutralise(p.text)) for p in passages]
    room = generator.context - reserve - (used - sum(lengths))
    cap = _cap(lengths, room)
    while cap >= MIN_PASSAGE_TOKENS:
        cut = [p if length <= cap else replace(p, text=_head(generator, p.text, cap)) for p, length in zip(passages, lengths, strict=True)]
        window = _render(query, passages, cut, generator)
        if _count(generator, window.prompt) + reserve <= generator.context:
            return replace(window, trimmed=sum(length > cap for length in lengths), cap=cap)
        cap = cap * 9 // 10  # cutting moves token boundaries by a few
    raise BadInput(
        f"{len(passages)} passages do not fit a context of {generator.context} tokens with {reserve} kept for the answer "
        f"(under {MIN_PASSAGE_TOKENS} tokens a passage): use a smaller window or fewer answer tokens"
    )


def rank(window: Window, generator: Generator, *, reasoning: bool = True, max_tokens: int = 320) -> Iterator[str | Ranked]:
    """Yield the answer's text as it is written (pieces may be empty), then one `Ranked`. Closing the iterator stops the model within one token."""
    if isinstance(generator, TextGenerator):
        yield from _rank_text(window, generator, max_tokens if reasoning else 0)
    elif reasoning:
        yield from _rank_reasoning(window, generator, max_tokens)
    else:
        yield from _rank_fast(window, generator)


def _rank_reasoning(window: Window, generator: TokenGenerator, max_tokens: int) -> Iterator[str | Ranked]:
    marker = prompts.FAMILIES[generator.info.prompt].marker
    ids = generator.encode(window.prompt)
    session = yield from _read_prompt(generator, ids)
    text = ""
    for piece in stream_text(generator, session, max_tokens=max_tokens, stop=marker, guide=_guide(window, generator)):
        text += piece
        yield piece
    repaired = not text.endswith(marker)
    if repaired:
        tail = _missing(marker, text)
        session.append(generator.encode(tail))
        text += tail
        yield tail
    order: list[int] = []
    for piece, identifier, free in constrained_chain(generator, session, len(window.passages)):
        order.append(identifier)
        repaired = repaired or not free
        text += piece
        yield piece
    cost = Cost(len(ids), len(session) - len(ids))
    yield _ranked(window, text, tuple(order), "repaired" if repaired else "complete", cost)


def _guide(window: Window, generator: TokenGenerator) -> Guide | None:
    """The nano format cites line by line, and its quotes are held to the passages; the paper's format is written freely."""
    return Citations([p.text for p in window.shown]) if generator.info.prompt == "nano" else None


def _read_prompt(generator: TokenGenerator, ids: list[int]) -> Coroutine[str, None, Session]:
    """A session that has read the prompt; an empty piece goes out after every chunk, so that closing stops a long prompt too."""
    session = generator.open(ids)
    for _ in session.catch_up():
        yield ""
    return session


def _rank_fast(window: Window, generator: TokenGenerator) -> Iterator[str | Ranked]:
    marker = prompts.FAMILIES[generator.info.prompt].marker.lstrip()
    ids = generator.encode(window.prompt + marker)
    session = yield from _read_prompt(generator, ids)
    scores = identifier_scores(generator, session, len(window.passages))
    order = tuple(sorted(scores, key=lambda i: (-scores[i], i)))
    text = f"{marker} " + " > ".join(f"[{i}]" for i in order)
    yield text
    yield _ranked(window, text, order, "complete", Cost(len(ids), 1))


def _rank_text(window: Window, generator: TextGenerator, max_tokens: int) -> Iterator[str | Ranked]:
    text = ""
    budget = max_tokens + CHAIN_TOKENS * len(window.passages)
    messages = list(window.messages)
    if not max_tokens:
        messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n{RANKING_ALONE}"}
    for piece in generator.stream(messages, max_tokens=budget):
        text += piece
        yield piece
    answer = parse(text, len(window.passages))
    yield _ranked(window, text, answer.permutation, answer.status, Cost(generator.count(window.prompt), generator.count(text)))


def _ranked(window: Window, text: str, order: tuple[int, ...], status: Status, cost: Cost) -> Ranked:
    answer = parse(text, len(window.passages))
    ids = tuple(window.passages[i - 1].id for i in order)
    return Ranked(ids, status, ground(answer, window.passages, text), cost)


def _missing(marker: str, text: str) -> str:
    """What to write so that `text` ends in the marker, not repeating a part that is already there."""
    for size in range(len(marker) - 1, 0, -1):
        if text.endswith(marker[:size]):
            return marker[size:]
    return marker


def _render(query: str, passages: tuple[Passage, ...], shown: Sequence[Passage], generator: Generator) -> Window:
    messages = tuple(prompts.listwise(query, shown, generator.info.prompt))
    if isinstance(generator, TextGenerator):
        prompt = "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)
    else:
        prompt = generator.render(messages)
    return Window(query, passages, tuple(shown), messages, prompt)


def _count(generator: Generator, text: str) -> int:
    return generator.count(text) if isinstance(generator, TextGenerator) else len(generator.encode(text))


def _head(generator: Generator, text: str, tokens: int) -> str:
    """The first `tokens` tokens of a text, cut at a word."""
    if isinstance(generator, TextGenerator):
        share = tokens / max(1, generator.count(text))
        return at_word(text[: int(len(text) * share)])
    return at_word(generator.decode(generator.encode(prompts.neutralise(text))[:tokens]))


def _cap(lengths: Sequence[int], room: int) -> int:
    """The largest cap c with sum(min(length, c)) <= room: the longest are cut first, the short ones stay whole.

    >>> _cap([10, 100, 200], 110)
    50
    """
    left, count = room, len(lengths)
    for length in sorted(lengths):
        if length * count > left:
            return max(0, left // count)
        left -= length
        count -= 1
    return max(lengths, default=0)
