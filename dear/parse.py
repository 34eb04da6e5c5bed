"""From a listwise answer to a permutation, the reasoning taken apart, and a status. Pure; never fails.

An answer is read in two formats: dear-nano's compact lines

    Needs: 1. what scatters light; 2. why violet does not win
    [3] meets 1: "short waves scatter most" - Gives the law asked for.
    Not [5]: It is about the sea.
    Ranking: [3] > [1] > [2]

and the three steps of the paper's chain of thought. Only the last bracketed chain counts as the ranking; a year, a
step number or an identifier in the reasoning never does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dear.types import Status

_CHAIN = re.compile(r"\[\s*\d{1,4}\s*\](?:\s*>\s*\[\s*\d{1,4}\s*\])+")
_SINGLE = re.compile(r"(?:ranking|reranking)\s*:\s*(\[\s*\d{1,4}\s*\])", re.IGNORECASE)
_NEEDS = re.compile(r"^\s*Needs\s*:\s*(.+)$", re.MULTILINE | re.IGNORECASE)
_STEP1 = re.compile(r"step\s*1[^\n]*\n(.*?)(?=\n[#*\s]*step\s*2|\Z)", re.IGNORECASE | re.DOTALL)
_STEP2 = re.compile(r"step\s*2[^\n]*\n(.*?)(?=\n[#*\s]*(?:step\s*3|final\s+rerank|ranking)|\Z)", re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(r"^\s*(?:[-*]\s*)?(\d{1,2})[.)]\s+(.+)$", re.MULTILINE)
_CITED = re.compile(r'^\s*\[\s*(\d{1,4})\s*\]\s*meets\s+([\d,\s]+?)\s*:\s*["“](.+?)["”]\s*(?:[-–—:]\s*(.*))?$', re.MULTILINE)
_LOOSE = re.compile(r'\[\s*(\d{1,4})\s*\][^\[\]"“”\n]{0,60}["“]([^"“”\n]{3,300})["”]\s*(?:[-–—:]\s*([^\n]*))?')
_NOT = re.compile(r"^\s*Not\s+\[\s*(\d{1,4})\s*\]\s*:\s*(.+)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Citation:
    """A claim about one passage: identifier (from 1), requirements met, quote and reason as written."""

    identifier: int
    quote: str
    meets: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed answer; `permutation` holds identifiers 1..n, each once, best first."""

    permutation: tuple[int, ...]
    status: Status
    requirements: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    near_misses: tuple[tuple[int, str], ...] = ()


def parse(text: str, n: int) -> Answer:
    """Read an answer about `n` passages.

    `complete`: the chain names each identifier once. `repaired`: unknown or repeated identifiers were dropped and missing
    ones appended in input order. `failed`: there is no chain, the input order stands.

    >>> parse("In 1986, 2 steps.\\nRanking: [2] > [3] > [1]", 3).permutation
    (2, 3, 1)
    >>> parse("[2] > [2] > [9]", 3)
    Answer(permutation=(2, 1, 3), status='repaired', requirements=(), citations=(), near_misses=())
    """
    permutation, status = permutation_of(chain(text), n)
    reasoning = text[: _chain_start(text)]
    requirements = _requirements(reasoning)
    return Answer(permutation, status, requirements, _citations(reasoning, n, len(requirements)), _near_misses(reasoning, n))


def chain(text: str) -> tuple[int, ...] | None:
    """The identifiers of the last bracketed chain as written, or None when there is none."""
    text = text.replace("**", "")  # chat models write the chain in bold
    matches = list(_CHAIN.finditer(text))
    single = list(_SINGLE.finditer(text))
    last = matches[-1] if matches else None
    if single and (last is None or single[-1].start(1) > last.start()):
        return (int(re.sub(r"\D", "", single[-1][1])),)
    return tuple(int(number) for number in re.findall(r"\d+", last[0])) if last else None


def permutation_of(written: tuple[int, ...] | None, n: int) -> tuple[tuple[int, ...], Status]:
    """A permutation of 1..n that honours `written` as far as it is one, and how much it had to be mended."""
    if not written:
        return tuple(range(1, n + 1)), "failed"
    kept = tuple(dict.fromkeys(i for i in written if 1 <= i <= n))
    missing = tuple(i for i in range(1, n + 1) if i not in set(kept))
    if not kept:
        return tuple(range(1, n + 1)), "failed"
    return kept + missing, "complete" if len(written) == n and not missing else "repaired"


def _chain_start(text: str) -> int:
    starts = [m.start() for m in _CHAIN.finditer(text)] + [m.start(1) for m in _SINGLE.finditer(text)]
    return max(starts) if starts else len(text)


def _requirements(text: str) -> tuple[str, ...]:
    found = _NEEDS.search(text)
    if found:
        parts = re.split(r"(?:^|;)\s*\(?\d{1,2}[.)]\s*", found[1])
        return tuple(part.strip(" ;.") for part in parts if part.strip(" ;."))
    step = _STEP1.search(text)
    return tuple(item.strip().rstrip(".") for _, item in _NUMBERED.findall(step[1])) if step else ()


def _citations(text: str, n: int, requirements: int) -> tuple[Citation, ...]:
    found = [
        Citation(int(i), quote.strip(), tuple(int(m) for m in re.findall(r"\d+", meets) if 1 <= int(m) <= max(requirements, 1)), (why or "").strip())
        for i, meets, quote, why in _CITED.findall(text)
    ]
    if not found:
        step = _STEP2.search(text)
        found = _step_citations(step[1] if step else text, requirements)
    return tuple(citation for citation in found if 1 <= citation.identifier <= n)


def _step_citations(text: str, requirements: int) -> list[Citation]:
    current: tuple[int, ...] = ()
    found = []
    for line in text.splitlines():
        numbered = _NUMBERED.match(line)
        if numbered and 1 <= int(numbered[1]) <= requirements:
            current = (int(numbered[1]),)
        found += [Citation(int(i), quote.strip(), current, (why or "").strip()) for i, quote, why in _LOOSE.findall(line)]
    return found


def _near_misses(text: str, n: int) -> tuple[tuple[int, str], ...]:
    return tuple((int(i), why.strip()) for i, why in _NOT.findall(text) if 1 <= int(i) <= n)
