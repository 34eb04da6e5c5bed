"""Training groups: a query with its passages, labels and teacher scores, and their way into a batch.

One JSON line a group, `{"query_id", "query", "source", "passages": [{"id", "title", "text", "label", "teacher"}]}`. The teacher's
score is a column of the same record as the text, so teacher and student cannot see different passages.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dear.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

NO_TEACHER = float("nan")
PAD_TO, PAIRS_TO = 16, 4  # few distinct shapes: a CPU's kernels are made, and kept in memory, anew for each


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage of a group: `label` is a grade (0 = not relevant), `teacher` a score or None before the teacher has run."""

    id: str
    title: str
    text: str
    label: int
    teacher: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A query and the passages the student compares; `source` names the set it came from."""

    query_id: str
    query: str
    source: str
    passages: tuple[Candidate, ...]


def without_titles(group: Group) -> Group:
    """The group, its passages without titles, as those of MS MARCO are."""
    return replace(group, passages=tuple(replace(c, title="") for c in group.passages))


def read_groups(path: Path | str) -> Iterator[Group]:
    """Yield groups from JSONL (also .gz); raises `BadInput` with the line number on a damaged one."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            try:
                data = json.loads(line)
                passages = tuple(Candidate(p["id"], p.get("title", ""), p["text"], int(p["label"]), p.get("teacher")) for p in data["passages"])
                yield Group(data["query_id"], data["query"], data.get("source", ""), passages)
            except (ValueError, KeyError, TypeError) as error:
                raise BadInput(
                    f"{path}, line {number}: not a training group ({error!r}): write it again with `python -m training teacher`"
                ) from error


def write_groups(path: Path | str, groups: Iterable[Group]) -> int:
    """Write groups as JSONL (also .gz), whole or not at all; return how many."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("part-" + path.name)
    count = 0
    with _open(part, "wt") as file:
        for group in groups:
            file.write(json.dumps(asdict(group), ensure_ascii=False) + "\n")
            count += 1
    part.replace(path)
    return count


def collate(groups: Sequence[Group], encode: Callable[[str, str, str], list[int]], pad_id: int) -> dict[str, Tensor]:
    """A batch of ragged groups.

    Returns `input_ids` and `attention_mask` (R, L): the P real pairs right padded to a multiple of `PAD_TO`, then rows of padding up to
    a multiple of `PAIRS_TO`; `labels`, `teacher` (NaN where there is none) and `mask` (G, N) with N the largest group; `slots` (P,)
    the place of each real pair in the flattened (G, N).
    """
    import torch

    width = max(len(group.passages) for group in groups)
    pairs = [(g * width + n, encode(group.query, c.title, c.text), c) for g, group in enumerate(groups) for n, c in enumerate(group.passages)]
    length = padded(max(len(ids) for _, ids, _ in pairs))
    rows, shape = padded(len(pairs), PAIRS_TO), (len(groups), width)
    batch = {
        "input_ids": torch.full((rows, length), pad_id),
        "attention_mask": torch.zeros((rows, length), dtype=torch.long),
        "labels": torch.zeros(shape, dtype=torch.long),
        "teacher": torch.full(shape, NO_TEACHER),
        "mask": torch.zeros(shape, dtype=torch.bool),
        "slots": torch.tensor([slot for slot, _, _ in pairs]),
    }
    batch["attention_mask"][len(pairs) :, 0] = 1  # a row that attends to nothing has no softmax
    for row, (slot, ids, candidate) in enumerate(pairs):
        batch["input_ids"][row, : len(ids)] = torch.tensor(ids)
        batch["attention_mask"][row, : len(ids)] = 1
        g, n = divmod(slot, width)
        batch["labels"][g, n] = candidate.label
        batch["mask"][g, n] = True
        if candidate.teacher is not None:
            batch["teacher"][g, n] = candidate.teacher
    return batch


def padded(length: int, to: int = PAD_TO) -> int:
    """The next multiple of `to`.

    >>> padded(1), padded(16), padded(17), padded(33, 4)
    (16, 16, 32, 36)
    """
    return -(-length // to) * to


def scatter(scores: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Scores of the P pairs, the first of (R,), in their places (G, N), float32; empty places are 0 and stay masked."""
    flat = scores.new_zeros(batch["mask"].numel(), dtype=scores.float().dtype)
    return flat.index_copy(0, batch["slots"], scores[: len(batch["slots"])].float()).view_as(batch["mask"])


def _open(path: Path | str, mode: str = "rt") -> Any:
    opener = gzip.open if str(path).endswith(".gz") else open
    return opener(path, mode, encoding="utf-8")
