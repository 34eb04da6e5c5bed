"""The prepared lessons: one phenomenon of the teaching corpus each, as data in `lessons.json`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dear.errors import BadInput

FILE = Path(__file__).with_name("lessons.json")
CORPUS = "teaching"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A query of the teaching corpus and what to learn from it.

    `passage` shows the phenomenon (one of the corpus' passage kinds or query tags); `above` lists pairs of passages that BM25
    puts in this order. `answer` is for the instructor and is not shown on the page.
    """

    id: str
    phenomenon: str
    title: str
    query: str  # the query's id
    passage: str
    above: tuple[tuple[str, str], ...]
    predict: str
    notice: str
    question: str
    answer: str


@cache
def lessons() -> Mapping[str, Lesson]:
    """The lessons by id, in teaching order."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return {row["id"]: Lesson(**{**row, "above": tuple((a, b) for a, b in row["above"])}) for row in rows}


def lesson(id_: object) -> Lesson | None:
    """The lesson of that id, None for the empty id (a query of one's own); raises `BadInput` on another."""
    if id_ in ("", None):
        return None
    found = lessons().get(id_) if isinstance(id_, str) else None
    if found is None:
        raise BadInput(f"there is no lesson {str(id_)[:60]!r}: choose one of {', '.join(lessons())}, or a query of your own")
    return found
