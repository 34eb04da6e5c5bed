"""Where stage 1's groups come from: labelled queries, and hard negatives mined for them.

A group is a query's labelled passages, filled up with passages that BM25 (or the dense retriever) ranks high and nobody
labelled. Some of those answer the query after all; `drop_false_negatives` throws out what the teacher scores too close to the
positive, and says how many. Inputs: BEIR folders (corpus, queries, qrels), Tevatron's MS MARCO rows, groups of our own.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from corpora.formats import MAX_ARTICLE_CHARS, Query, collect_passages, read_passages, read_queries
from corpora.trec import read_qrels
from dear.errors import BadInput
from dear.types import Hit, Passage
from training.groups import Candidate, Group

logger = logging.getLogger(__name__)

_WORD = re.compile(r"\w+")


class Searcher(Protocol):
    """Anything that ranks passages for a query."""

    def search(self, query: str, k: int) -> Sequence[Hit]: ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """A set of labelled queries: passages by id, queries, and grades by query and passage id (0 = judged not relevant)."""

    name: str
    passages: Mapping[str, Passage]
    queries: tuple[Query, ...]
    qrels: Mapping[str, Mapping[str, int]]


def read_beir(folder: Path | str) -> Labelled:
    """Read corpus.jsonl[.gz], queries.jsonl[.gz] and qrels.tsv; passage ids get the folder's name in front, so that sets can share an index."""
    folder = Path(folder)
    name = folder.name
    corpus, queries = (_either(folder, stem) for stem in ("corpus.jsonl", "queries.jsonl"))
    passages = {p.id: replace(p, id=f"{name}/{p.id}") for p in read_passages(corpus, max_chars=MAX_ARTICLE_CHARS)}
    qrels = {
        query: {passages[doc].id: grade for doc, grade in docs.items() if doc in passages} for query, docs in read_qrels(folder / "qrels.tsv").items()
    }
    return Labelled(name, {p.id: p for p in passages.values()}, tuple(read_queries(queries)), qrels)


def read_texts(folder: Path | str) -> list[Passage]:
    """Read an unlabelled corpus folder, ids prefixed by its name: distractors for the mining index. A bad row is logged and left out."""
    folder = Path(folder)
    found = collect_passages(_either(folder, "corpus.jsonl"), max_chars=MAX_ARTICLE_CHARS)
    for error in found.errors:
        logger.warning("left out: %s", error)
    return [replace(p, id=f"{folder.name}/{p.id}") for p in found.passages]


def read_tevatron(path: Path | str) -> Iterator[Group]:
    """Yield groups from Tevatron's rows (`query_id`, `query`, `positive_passages`, `negative_passages`, each with docid, title, text).

    Passages are shuffled by the query's id: in the rows what is relevant stands first, and a list made of them would teach its place.
    """
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                passages = [
                    Candidate(str(p["docid"]), p.get("title") or "", p["text"], label)
                    for label, key in ((1, "positive_passages"), (0, "negative_passages"))
                    for p in row[key]
                ]
                random.Random(str(row["query_id"])).shuffle(passages)
                yield Group(str(row["query_id"]), row["query"], Path(path).stem, tuple(passages))
            except (ValueError, KeyError, TypeError) as error:
                raise BadInput(
                    f"{path}, line {number}: not a Tevatron row ({error!r}): query_id, query, positive_passages, negative_passages"
                ) from error


@dataclass(frozen=True, slots=True)
class Mining:
    """How groups are filled: up to `positives` relevant passages, `judged` passages labelled 0, then mined ones up to `pool`.

    Mined passages are drawn from ranks 1..`depth`, the first `top` of them always; `words` limits the length of positives;
    a passage that shares more than `overlap` of its word trigrams with a positive is its re-cut and is left out.
    """

    positives: int = 1
    judged: int = 3
    pool: int = 12
    depth: int = 50
    top: int = 4
    words: int = 220
    overlap: float = 0.3
    seed: int = 13


def mine(labelled: Labelled, searcher: Searcher, settings: Mining, limit: int | None = None) -> Iterator[Group]:
    """Yield a group a query that has a usable positive, in random order, `limit` at most. Passages within a group are shuffled."""
    rng = random.Random(f"{settings.seed}/{labelled.name}")
    queries = [query for query in labelled.queries if any(labelled.qrels.get(query.id, {}).values())]
    rng.shuffle(queries)
    seen: set[str] = set()
    count = 0
    for query in queries:
        if limit is not None and count >= limit:
            return
        if query.text.casefold() in seen:
            continue
        seen.add(query.text.casefold())
        if group := _group(query, labelled, searcher, settings, rng):
            count += 1
            yield group


def _group(query: Query, labelled: Labelled, searcher: Searcher, settings: Mining, rng: random.Random) -> Group | None:
    judged = labelled.qrels[query.id]
    best_first = sorted((id for id, grade in judged.items() if grade > 0), key=lambda id: -judged[id])
    positives = [id for id in best_first if len(labelled.passages[id].text.split()) <= settings.words][: settings.positives]
    if not positives:
        return None
    zeros = [id for id, grade in judged.items() if grade <= 0]
    rng.shuffle(zeros)
    passages = [labelled.passages[id] for id in positives + zeros[: settings.judged]]
    grams = [_trigrams(labelled.passages[id].text) for id in best_first]
    mined = [
        hit.passage
        for hit in searcher.search(query.text[:300], settings.depth)
        if hit.id not in judged and not any(_shared(_trigrams(hit.passage.text), gram) > settings.overlap for gram in grams)
    ]
    rest = mined[settings.top :]
    rng.shuffle(rest)
    passages += (mined[: settings.top] + rest)[: max(0, settings.pool - len(passages))]
    candidates = [Candidate(p.id, p.title, p.text, max(0, judged.get(p.id, 0))) for p in passages]
    rng.shuffle(candidates)
    return Group(f"{labelled.name}/{query.id}", query.text, labelled.name, tuple(candidates)) if len(candidates) > 1 else None


def fitted(groups: Iterable[Group], settings: Mining) -> Iterator[Group]:
    """Yield groups with the first `positives` relevant passages and as many others, seeded, as `pool` leaves room for; in the order they had."""
    for group in groups:
        rng = random.Random(f"{settings.seed}/{group.query_id}")
        relevant = [c for c in group.passages if c.label > 0][: settings.positives]
        others = [c for c in group.passages if c.label <= 0]
        room = max(1, settings.pool - len(relevant))
        kept = set(map(id, relevant + (rng.sample(others, room) if len(others) > room else others)))
        yield replace(group, passages=tuple(c for c in group.passages if id(c) in kept))


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What the false-negative filter did: unlabelled passages seen and dropped, groups left without a negative, teacher score quantiles."""

    seen: int
    dropped: int
    groups_lost: int
    quantiles: Mapping[str, tuple[float, float, float]]  # "positive" | "kept" | "dropped" -> 10, 50, 90 per cent


def drop_false_negatives(
    groups: Iterable[Group], *, ratio: float, size: int, hardest: bool = False, judged: frozenset[tuple[str, str]] = frozenset()
) -> tuple[list[Group], FilterReport]:
    """Drop unlabelled passages scored above `ratio` times the weakest positive (see `scaled`), then cut each group to `size` passages.

    (Positive-aware mining, Moreira et al. 2024, "TopK-PercPos".) `judged` pairs (query id, passage id) are kept whatever the
    score; `hardest` keeps the negatives that the teacher scores highest, in the group's order. Raises `BadInput` where a teacher
    score is missing.
    """
    kept_groups, scores, lost = [], defaultdict(list), 0
    for group in groups:
        if any(c.teacher is None for c in group.passages):
            raise BadInput(f"group {group.query_id!r} has no teacher score: run `python -m training teacher` first")
        positives = [c for c in group.passages if c.label > 0]
        limit = scaled(min(c.teacher for c in positives), ratio) if positives else float("inf")
        negatives = []
        for c in group.passages:
            if c.label > 0:
                continue
            fine = c.teacher <= limit or (group.query_id, c.id) in judged
            scores["kept" if fine else "dropped"].append(c.teacher)
            if fine:
                negatives.append(c)
        scores["positive"] += [c.teacher for c in positives]
        room = max(0, size - len(positives))
        if hardest:
            negatives.sort(key=lambda c: -c.teacher)
        chosen = set(map(id, positives + negatives[:room]))
        if positives and negatives:
            kept_groups.append(replace(group, passages=tuple(c for c in group.passages if id(c) in chosen)))
        else:
            lost += 1
    quantiles = {name: _quantiles(values) for name, values in scores.items()}
    return kept_groups, FilterReport(len(scores["kept"]) + len(scores["dropped"]), len(scores["dropped"]), lost, quantiles)


def scaled(score: float, ratio: float) -> float:
    """`ratio` times a teacher's score; of a negative one (logits have them) as much below it as that is below a positive one.

    >>> round(scaled(2.0, 0.95), 3), round(scaled(-2.0, 0.95), 3)
    (1.9, -2.1)
    """
    return score - (1 - ratio) * abs(score)


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    return tuple(round(ordered[int(share * (len(ordered) - 1))], 3) for share in (0.1, 0.5, 0.9)) if ordered else (0.0, 0.0, 0.0)


def _trigrams(text: str) -> set[tuple[str, ...]]:
    words = [word.casefold() for word in _WORD.findall(text)]
    return set(zip(words, words[1:], words[2:], strict=False))


def _shared(first: set, second: set) -> float:
    return len(first & second) / max(1, min(len(first), len(second)))


def _either(folder: Path, stem: str) -> Path:
    for name in (stem, stem + ".gz"):
        if (folder / name).exists():
            return folder / name
    raise BadInput(f"{folder} has neither {stem} nor {stem}.gz: a data folder holds corpus, queries and qrels.tsv")
