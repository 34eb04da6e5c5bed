"""Checks on explanations: is a quote in its passage, what does a sentence do to the score, do two rankings agree.

A quote that is not found is marked, never dropped. Rationales are generated text; only occlusion is a cause.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dear.engines import Scorer
from dear.errors import BadInput
from dear.parse import Answer
from dear.types import Evidence, Hit, Passage, Rationale

# Scripts that write no blanks between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese): a character counts as a word.
ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS = "".join(char for char in map(chr, range(0x300, 0x1FFFF)) if unicodedata.category(char).startswith("M"))  # vowel signs, which \w leaves out
_WORD = re.compile(f"[{ALONE}][{_MARKS}]*|(?:[^\\W{ALONE}][{_MARKS}]*)+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[)\"'’”\]]*(?=\s|$)|[。！？।؟]+[)\"'’”\]」』]*|$)", re.DOTALL)
MIN_QUOTE_WORDS = 3


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    """Character span of `quote` in `text`, or None. Words must match in order and without a gap; case, spacing and punctuation may differ.

    A quote of fewer than three words is evidence of nothing and is not looked for.

    >>> find_quote("short waves scatter", "Here, short  waves scatter most.")
    (6, 26)
    >>> find_quote("long waves scatter", "short waves scatter") is None
    True
    """
    wanted = [word.casefold() for word in _WORD.findall(quote)]
    if len(wanted) < MIN_QUOTE_WORDS:
        return None
    words = [(match[0].casefold(), match.start(), match.end()) for match in _WORD.finditer(text)]
    for i in range(len(words) - len(wanted) + 1):
        if all(words[i + j][0] == word for j, word in enumerate(wanted)):
            return words[i][1], words[i + len(wanted) - 1][2]
    return None


def ground(answer: Answer, passages: Sequence[Passage], text: str) -> Rationale:
    """Turn a parsed answer over a window's `passages` into a rationale by passage id, each quote checked against its passage."""
    evidence, reasons = [], {}
    for citation in answer.citations:
        passage = passages[citation.identifier - 1]
        span = find_quote(citation.quote, passage.text)
        start, end = span or (-1, -1)
        evidence.append(Evidence(passage.id, citation.quote, "quoted", start, end, span is not None, citation.meets))
        reasons.setdefault(passage.id, citation.why)
    for identifier, why in answer.near_misses:
        reasons.setdefault(passages[identifier - 1].id, why)
    return Rationale(text, answer.requirements, tuple(evidence), {id: why for id, why in reasons.items() if why})


def lexical(hit: Hit) -> tuple[Evidence, ...]:
    """The words of a hit's text that its retriever weighted, as evidence in the order of the text; none where it does not tell them.

    >>> from dear.types import TermWeight
    >>> hit = Hit(Passage("a", "Blue skies"), 1, terms=(TermWeight("sky", 2.0, ((5, 10),)), TermWeight("blue", 1.0, ((0, 4),))))
    >>> [word.quote for word in lexical(hit)]
    ['Blue', 'skies']
    """
    text = hit.passage.text
    places = sorted({place for term in hit.terms for place in term.places})
    return tuple(Evidence(hit.id, text[a:b], "lexical", a, b, grounded=True) for a, b in places if 0 <= a < b <= len(text))


def sentences(text: str) -> list[tuple[int, int]]:
    """Character spans of the sentences of `text`, in order, white space between them left out.

    >>> [("One. Two?")[a:b] for a, b in sentences("One. Two?")]
    ['One.', 'Two?']
    """
    return [(match.start(), match.end()) for match in _SENTENCE.finditer(text) if match[0].strip()]


@dataclass(frozen=True, slots=True)
class Occlusion:
    """What a sentence is worth to the pointwise score: `drop` = score with it - score without it (a logit difference)."""

    start: int
    end: int
    drop: float


def occlude(query: str, passage: Passage, scorer: Scorer) -> tuple[float, tuple[Occlusion, ...]]:
    """Score the passage whole and with each sentence left out (leave-one-out occlusion, Zeiler & Fergus 2014, on sentences).

    Returns the whole score and a drop per sentence; a one-sentence passage has no drops.
    """
    spans = sentences(passage.text)
    texts = [passage.text]
    if len(spans) > 1:
        texts += [(passage.text[:start] + passage.text[end:]).strip() for start, end in spans]
    scores: dict[int, float] = {}
    for batch in scorer.score(query, texts, [passage.title] * len(texts)):
        scores.update(zip(batch.indices, batch.scores, strict=True))
    return scores[0], tuple(Occlusion(a, b, scores[0] - scores[i]) for i, (a, b) in enumerate(spans, 1) if i in scores)


def decisive(passage: Passage, drops: Sequence[Occlusion]) -> Evidence | None:
    """The sentence without which the score falls most, as evidence; None where the score falls without none of them."""
    top = max(drops, key=lambda found: found.drop, default=None)
    if top is None or top.drop <= 0:
        return None
    return Evidence(passage.id, passage.text[top.start : top.end], "occlusion", top.start, top.end, grounded=True)


def kendall_tau(first: Sequence[str], second: Sequence[str]) -> float:
    """Kendall's tau between two orders of the same ids: 1 the same, -1 reversed (Kendall 1938); 1 for fewer than two ids.

    >>> kendall_tau(["a", "b", "c"], ["c", "b", "a"])
    -1.0
    """
    place = _places(first, second)
    n = len(second)
    if n < 2:
        return 1.0
    ahead = sum(place[second[i]] < place[second[j]] for i in range(n) for j in range(i + 1, n))
    return 4.0 * ahead / (n * (n - 1)) - 1.0


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], p: float = 0.9) -> float:
    """Rank-biased overlap of two orders of the same ids, extrapolated (Webber, Moffat & Zobel 2010, equation 32): 0 to 1.

    >>> round(rank_biased_overlap(["a", "b"], ["a", "b"]), 6)
    1.0
    """
    if not 0 < p < 1:
        raise BadInput(f"p {p} is outside (0, 1): 0.9 puts most of the weight on the first ten ranks")
    _places(first, second)
    seen_first: set[str] = set()
    seen_second: set[str] = set()
    total = overlap = 0.0
    for depth, (a, b) in enumerate(zip(first, second, strict=True), 1):
        seen_first.add(a)
        seen_second.add(b)
        overlap = len(seen_first & seen_second) / depth
        total += (1 - p) * p ** (depth - 1) * overlap
    return total + overlap * p ** len(first) if first else 1.0


def _places(first: Sequence[str], second: Sequence[str]) -> Mapping[str, int]:
    if sorted(first) != sorted(second) or len(set(first)) != len(first):
        raise BadInput("the two rankings do not hold the same ids once each: compare orders of one candidate list")
    return {id: rank for rank, id in enumerate(first)}
