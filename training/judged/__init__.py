"""Judged lists: passages of the labelled sets and plain texts, ten or twelve to a query, graded by a large language model (DATA_CARD.md).

`lists.tsv` (query-id, split, query) and `grades.tsv` (query-id, corpus-id, score) hold ids, grades and queries written for the purpose. Questions
of the sets, and all passages, come from the data's folder, so nothing of the sets is copied here.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from corpora.formats import read_queries
from corpora.trec import read_qrels
from dear.errors import BadInput
from dear.excerpts import excerpt
from dear.types import Passage
from training.groups import Candidate, Group
from training.mining import read_beir, read_texts

SOURCE = "judged"
BEST = 5  # the highest degree
LABELS = {5: 3, 4: 3, 3: 2, 2: 1, 1: 0, 0: 0}  # of six degrees, the four of the other graded sets
QUESTIONS = "questions"  # what stands before the id of a question that no set has labelled passages for
WORDS = 80  # of a passage that its grader saw

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Judged:
    """A list: its query (empty where a set has it under this id), and the degree, 0 to 5, of each passage id. Ids have their set's name in front."""

    query_id: str
    split: str
    query: str
    degrees: Mapping[str, int]


@functools.cache
def load() -> tuple[Judged, ...]:
    """All lists, splits "train" and "dev"."""
    degrees = read_qrels(_HERE / "grades.tsv")
    with (_HERE / "lists.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(Judged(row["query-id"], row["split"], row["query"], degrees[row["query-id"]]) for row in rows)


def groups(data: Path, split: str, *, scale: float, words: int = WORDS) -> Iterator[Group]:
    """Yield a split's lists as groups, each passage as its grader saw it: at most `words` words of it, nearest the query for a set's
    question, from its head for a written query. More words than `WORDS` hold what was graded and text around it. The teacher's score of a
    passage is its degree, stretched so that the best is `scale`.

    Raises `BadInput` on an id that `data` does not have.
    """
    passages, queries = _read(data)
    for each in load():
        if each.split != split:
            continue
        query = each.query or queries.get(each.query_id)
        missing = [id for id in each.degrees if id not in passages] if query else [each.query_id]
        if missing:
            raise BadInput(f"data.judged: {missing[0]!r} is not in {data}: set data.root=FOLDER (or DEAR_DATA) to the data that was graded")
        found = [(passages[id], degree) for id, degree in each.degrees.items()]
        texts = [excerpt("" if each.query else query, p.text, words) for p, _ in found]
        candidates = (Candidate(p.id, p.title, text, LABELS[degree], scale * degree / BEST) for (p, degree), text in zip(found, texts, strict=True))
        yield Group(f"{SOURCE}/{each.query_id}", query, f"{SOURCE}/{_set(each.query_id)}", tuple(candidates))


def held_out() -> frozenset[str]:
    """The ids, with their set's name in front, of labelled sets' questions that are lists of the dev split."""
    return frozenset(each.query_id for each in load() if each.split == "dev" and not each.query)


def useless(split: str) -> set[tuple[str, str]]:
    """The pairs of a group's query id and a passage id that were judged of no use."""
    return {(f"{SOURCE}/{each.query_id}", id) for each in load() if each.split == split for id, degree in each.degrees.items() if not LABELS[degree]}


@functools.lru_cache(maxsize=1)
def _read(data: Path) -> tuple[dict[str, Passage], dict[str, str]]:
    """Passages and queries of all lists by id, from folders of labelled questions and of plain text; read once, since these are large."""
    wanted = {id for each in load() for id in ((*each.degrees,) if each.query else (each.query_id, *each.degrees))}
    passages: dict[str, Passage] = {}
    queries: dict[str, str] = {}
    for name in sorted({_set(id) for id in wanted}):
        if name == QUESTIONS:
            queries |= {id: row.text for row in read_queries(data / "train" / f"{name}.jsonl.gz") if (id := f"{name}/{row.id}") in wanted}
            continue
        if (data / "text" / name).is_dir():
            found = read_texts(data / "text" / name)
        else:
            labelled = read_beir(data / "train" / name)
            found = labelled.passages.values()
            queries |= {id: query.text for query in labelled.queries if (id := f"{name}/{query.id}") in wanted}
        passages |= {p.id: p for p in found if p.id in wanted}
    return passages, queries


def _set(id: str) -> str:
    return id.partition("/")[0]
