"""Listwise rows from labelled data that nobody wrote reasons for: the query, a verbatim quote of the gold passage, a ranking.

Mechanically made and honest about it: the requirement is the query itself, the quote is the stretch of at most 20 words of the
gold passage that holds the labelled answer or shares most words with query and answer, and the reason says only what can be
checked in the quote. A group whose gold passage has no such stretch gives no row.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpora.teaching import Support, Written
from dear import prompts
from dear.explain import find_quote, sentences
from dear.types import Passage
from training.cot import Row, render
from training.cot_augment import Mix, Reasoned, draw
from training.groups import Candidate, Group

MAX_WORDS = 20
MIN_WORDS = 5
MIN_SHARED = 2  # content words a quote without a known answer must share with the query
MAX_ANSWER_WORDS = 6
POOL = 500  # passages of the groups before, from which distractors come
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_STOP = frozenset(
    _WORD.findall(
        "a an and any are as at be been but by can could did do does for from had has have he her his how i if in into is it its many "
        "may me more most much my name no not of on one or our she should so some than that the their them there these they this those "
        "to too was we were what when where which who whom whose why will with would you your"
    )
)
Hints = Mapping[str, Sequence[str]]


def read_hints(root: Path | str) -> dict[str, list[str]]:
    """Answers by question: short answers from questions.jsonl.gz, answer sentences from the sets that label sentences.

    Keys are `normal(question)`. A file that is absent adds nothing.
    """
    root = Path(root)
    hints: dict[str, list[str]] = {}
    for row in _lines(root / "train" / "questions.jsonl.gz"):
        hints.setdefault(normal(row["text"]), []).extend(a for a in row.get("answers") or () if len(a.split()) <= MAX_ANSWER_WORDS)
    for name in ("squad-sentences", "selqa"):
        folder = root / "train" / name
        texts = {row["id"]: row["text"] for row in _lines(folder / "corpus.jsonl.gz")}
        queries = {row["id"]: row["text"] for row in _lines(folder / "queries.jsonl.gz")}
        if not texts:
            continue
        for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            query, passage, score = line.split("\t")
            if int(score) > 0 and query in queries and passage in texts:
                hints.setdefault(normal(queries[query]), []).append(texts[passage])
    return hints


def quoted(groups: Iterable[Group], hints: Hints, family: str, mix: Mix) -> Iterator[Row]:
    """Yield a row for every group that gives one, passages drawn and shuffled by `mix`; distractors come from groups seen before."""
    rng = random.Random(f"{mix.seed}/quoted/{family}")
    others: list[Passage] = []
    for group in groups:
        reasoned = reason_about(group, hints.get(normal(group.query), ()), tuple(rng.sample(others, min(len(others), mix.max_k))))
        others = (others + [_passage(c) for c in group.passages])[-POOL:]
        if reasoned is None:
            continue
        passages = draw(reasoned, mix, rng)
        fast = rng.random() < mix.fast
        yield render(reasoned.query, passages, reasoned.grades, reasoned.written, family, reasoning=not fast, source=f"quoted/{group.source}")


def reason_about(group: Group, hints: Sequence[str], others: Sequence[Passage] = ()) -> Reasoned | None:
    """A rationale for a group: a quote for every gold passage, and the closest other passage that lacks the answer as near miss.

    None where a gold passage has no quote: an unexplained right answer would teach the model to leave one out.
    """
    gold = sorted((c for c in group.passages if c.label > 0), key=lambda c: -c.label)
    answers = [a for a in hints if 1 <= len(a.split()) <= MAX_ANSWER_WORDS]
    evidence = []
    for candidate in gold:
        found = find_evidence(group.query, candidate.text, hints)
        if found is None:
            return None
        evidence.append(Support(candidate.id, (1,), found.quote, found.why))
    if not gold or len(group.passages) < 2:
        return None
    miss, why = _near_miss(group, answers)
    need = " ".join(group.query.split()).rstrip(" ?.!")
    written = Written(group.query_id, (need[:1].lower() + need[1:] if need[1:2].islower() else need,), tuple(evidence), miss, why)
    own = tuple(_passage(c) for c in group.passages)
    ids = {p.id for p in own}
    distractors = tuple({p.id: p for p in others if p.id not in ids}.values())
    return Reasoned(group.query_id, group.query, written, {c.id: c.label for c in gold}, own, distractors)


@dataclass(frozen=True, slots=True)
class Found:
    """A quote and the checkable thing said about it."""

    quote: str
    why: str


def find_evidence(query: str, text: str, hints: Sequence[str] = ()) -> Found | None:
    """The stretch of 5 to 20 words, inside one sentence, that holds an answer and most of the query's words; None if nothing is worth quoting.

    >>> find_evidence("who built the dome", "It is old. The dome was built by Brunelleschi in 1436.", ["Brunelleschi"]).quote
    'The dome was built by Brunelleschi in 1436'
    """
    wanted = _content(query)
    sentence_hints = [h for h in hints if len(h.split()) > MAX_ANSWER_WORDS]
    answers = [h for h in hints if 1 <= len(h.split()) <= MAX_ANSWER_WORDS]
    support = wanted | {w for h in sentence_hints for w in _content(h)}
    best: tuple[float, int, str, str] | None = None
    for start, end in sentences(text):
        for at, window, whole in _windows(text[start:end]):
            words = _content(window)
            held = next((a for a in answers if _holds(window, a)), "")
            score = 3.0 * bool(held) + len(words & wanted) + 0.5 * len(words & support) + 0.3 * whole - 0.02 * len(window.split())
            if best is None or score > best[0]:
                best = (score, start + at, window, held)
    if best is None:
        return None
    _, _, window, held = best
    shared = [w for w in dict.fromkeys(m[0].lower() for m in _WORD.finditer(window)) if w in wanted]
    if not held and (answers or len(shared) < MIN_SHARED):
        return None  # the answer is known and not here, or too little of the query is
    window = " ".join(window.split()).strip(" ,;:-–—.")
    if find_quote(prompts.neutralise(window), prompts.neutralise(text)) is None:
        return None
    held = held.strip(" .,;:()\"'")
    return Found(window, f"Gives {held}." if held else f"Speaks of {_listed(shared[:4])}.")


def normal(question: str) -> str:
    """A question without case and punctuation, to look answers up by."""
    return " ".join(m[0].lower() for m in _WORD.finditer(question))


def _windows(sentence: str) -> Iterator[tuple[int, str, bool]]:
    """Stretches to choose from, as (offset, text, ends at a break).

    A sentence of at most 20 words is taken whole; of a longer one, from every place a clause may begin, what reaches to the
    last break within 20 words, and the full 20.
    """
    words = [(m.start(), m.end()) for m in re.finditer(r"\S+", sentence)]
    if len(words) < MIN_WORDS:
        return
    if len(words) <= MAX_WORDS:
        yield 0, sentence, True
        return
    breaks = [sentence[end - 1] in ",;:—)" for _, end in words]
    breaks[-1] = True
    for i in range(len(words) - MIN_WORDS + 1):
        if i and not breaks[i - 1] and i % 3:
            continue
        last = min(i + MAX_WORDS, len(words)) - 1
        whole = next((j for j in range(last, i + MIN_WORDS - 2, -1) if breaks[j]), last)
        for j in sorted({whole, last}):
            yield words[i][0], sentence[words[i][0] : words[j][1]], breaks[j]


def _near_miss(group: Group, answers: Sequence[str]) -> tuple[str, str]:
    """The best-scored passage of grade 0 that does not hold the answer; only where an answer is known is there something true to say."""
    if not answers:
        return "", ""
    lacking = [c for c in group.passages if c.label <= 0 and not any(_holds(c.text + " " + c.title, a) for a in answers)]
    if not lacking:
        return "", ""
    miss = max(lacking, key=lambda c: c.teacher if c.teacher is not None else 0.0)
    return miss.id, f"It does not say {answers[0].strip(' .,;:()')}."


def _holds(text: str, answer: str) -> bool:
    return f" {normal(answer)} " in f" {normal(text)} " if normal(answer) else False


def _content(text: str) -> set[str]:
    return {w for m in _WORD.finditer(text) if (w := m[0].lower()) not in _STOP}


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _passage(candidate: Candidate) -> Passage:
    return Passage(candidate.id, candidate.text, candidate.title)


def _lines(path: Path) -> Iterator[dict]:
    if not path.is_file():
        return
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
