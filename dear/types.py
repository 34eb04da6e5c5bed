"""The frozen records that travel through the project; they know no model and no index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from dear.errors import BadInput

Stage = Literal["retrieval", "pointwise", "listwise"]
STAGES: tuple[Stage, ...] = ("retrieval", "pointwise", "listwise")
Status = Literal["complete", "repaired", "failed"]
EvidenceKind = Literal["quoted", "lexical", "occlusion"]

MAX_QUERY_CHARS = 300
MAX_PASSAGE_CHARS = 20_000
BM25_K1, BM25_B = 0.9, 0.4  # Anserini's
LONGEST_WORD = 40  # characters: what is longer without a blank is not one word


def _frozen(mapping: Mapping) -> Mapping:
    return MappingProxyType(dict(mapping))


@dataclass(frozen=True, slots=True)
class Passage:
    """One unit of text to rank: `id` is the corpus' own and is kept from index to export."""

    id: str
    text: str
    title: str = ""

    @property
    def full_text(self) -> str:
        """Title and text as one string, for indexing and embedding."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class TermWeight:
    """What one query term contributed to a passage's BM25 score (the weights sum to the score).

    `places` are the character spans of the words in the passage's text that the index knows as this term, where the retriever tells.
    """

    term: str
    weight: float
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stretch of a passage put forward as the reason for its place.

    `start`/`end` are character offsets into the passage's text, or -1 when the quote is not found there
    (`grounded` is then False: it is shown as unsupported). `meets` numbers the requirements, from 1.
    """

    passage_id: str
    quote: str
    kind: EvidenceKind = "quoted"
    start: int = -1
    end: int = -1
    grounded: bool = False
    meets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rationale:
    """What the listwise model wrote, taken apart: requirements, evidence, and a sentence per passage."""

    text: str = ""
    requirements: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reasons", _frozen(self.reasons))


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage at a place in a ranking: rank (from 1) and score per stage passed so far."""

    passage: Passage
    rank: int
    scores: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    terms: tuple[TermWeight, ...] = ()
    rationale: str = ""
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", _frozen(self.scores))
        object.__setattr__(self, "ranks", _frozen(self.ranks))

    @property
    def id(self) -> str:
        """The passage's corpus id."""
        return self.passage.id

    def __reduce__(self) -> tuple[Any, ...]:
        # mapping proxies do not pickle; ZeroGPU sends arguments to another process
        return (Hit, (self.passage, self.rank, dict(self.scores), dict(self.ranks), self.terms, self.rationale, self.evidence))


def rerank_hits(hits: Sequence[Hit], stage: str, scores: Mapping[str, float]) -> tuple[Hit, ...]:
    """Order `hits` by `scores` (passage id -> score, higher first) and write the stage's rank and score into each.

    Ties keep the order the hits came in. The result holds the same passages, once each.

    >>> hits = [Hit(Passage("a", "x"), 1), Hit(Passage("b", "y"), 2)]
    >>> [h.id for h in rerank_hits(hits, "pointwise", {"a": 0.1, "b": 0.9})]
    ['b', 'a']
    """
    missing = [hit.id for hit in hits if hit.id not in scores]
    if missing:
        raise BadInput(
            f"stage {stage!r} scored {len(hits) - len(missing)} of {len(hits)} passages, first unscored {missing[0]!r}: score every passage"
        )
    order = sorted(hits, key=lambda hit: -scores[hit.id])
    return tuple(
        replace(hit, rank=rank, scores={**hit.scores, stage: float(scores[hit.id])}, ranks={**hit.ranks, stage: rank})
        for rank, hit in enumerate(order, 1)
    )


def at_word(head: str) -> str:
    """The start of a text without a word that its end cut through; whole where no blank is near, as in scripts that write none.

    >>> at_word("why is the sk"), at_word("2011 " + "x" * 60)[-3:]
    ('why is the', 'xxx')
    """
    head = head.rstrip("\ufffd")  # half a character
    at = head.rfind(" ")
    return head[:at] if at > 0 and len(head) - at <= LONGEST_WORD else head


def check_query(query: str) -> str:
    """Return the query stripped, or raise `BadInput` when it is empty or longer than 300 characters."""
    if not isinstance(query, str) or not query.strip():
        raise BadInput("the query is empty: type at least one word")
    query = " ".join(query.split())
    if len(query) > MAX_QUERY_CHARS:
        raise BadInput(f"the query has {len(query)} characters, the limit is {MAX_QUERY_CHARS}: shorten it")
    return query


def check_passages(passages: Sequence[Passage], *, max_chars: int = MAX_PASSAGE_CHARS) -> tuple[Passage, ...]:
    """Return the passages as a tuple, or raise `BadInput` on a duplicate id, an empty text or one of more than `max_chars` characters."""
    seen: set[str] = set()
    for passage in passages:
        if passage.id in seen:
            raise BadInput(f"passage id {passage.id!r} occurs twice: give every passage its own id")
        seen.add(passage.id)
        if not passage.text.strip():
            raise BadInput(f"passage {passage.id!r} has no text: remove it or fill it in")
        if len(passage.text) > max_chars:
            raise BadInput(f"passage {passage.id!r} has {len(passage.text)} characters, the limit is {max_chars}: split it")
    return tuple(passages)
