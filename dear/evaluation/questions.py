"""A benchmark once opened: its judged questions, each with its pool of passages in first-stage order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dear.evaluation.benchmarks import Benchmark
from dear.types import MAX_PASSAGE_CHARS, MAX_QUERY_CHARS, Passage, at_word


@dataclass(frozen=True, slots=True)
class Question:
    """A judged query and what is to be ranked for it; `seconds` is what the first stage took."""

    id: str
    text: str
    grades: Mapping[str, int]
    pool: tuple[Passage, ...]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A benchmark with its questions. `first_stage` names what ordered the pools; `notes` is what a reader should know."""

    benchmark: Benchmark
    questions: tuple[Question, ...]
    first_stage: str = "bm25"
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def qrels(self) -> dict[str, Mapping[str, int]]:
        """Grades by query and passage, for every judged question."""
        return {question.id: question.grades for question in self.questions}


def readable(passage: Passage) -> Passage:
    """The passage as the stages accept it: overlong text cut, empty text replaced by the title."""
    text = passage.text if passage.text.strip() else passage.title or "-"
    return passage if text is passage.text and len(text) <= MAX_PASSAGE_CHARS else replace(passage, text=text[:MAX_PASSAGE_CHARS])


def asked(text: str) -> str:
    """The query as the stages accept it: single spaces, cut at a word to the limit on length."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_QUERY_CHARS else at_word(text[:MAX_QUERY_CHARS])
