"""Chain-of-thought rows: a written rationale rendered for any subset and order of passages, in DeAR-CoT's schema. Pure.

The instruction side is `dear.prompts.listwise`, so that training reads what inference writes; `messages` turns a row back into
that conversation. The ranking goes by grade, then by coverage (more requirements met), then in the order the evidence was
written. Passages of grade 0 stay in input order, the near miss too: at inference that order is stage 1's ranking, and what was
not cited may help after all, so that a passage the reasoning speaks against must not be moved up before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from corpora.teaching import Support, Written
from dear import prompts
from dear.errors import BadInput
from dear.quoting import quotable
from dear.types import Passage

RANKING = {family: settings.marker.lstrip() for family, settings in prompts.FAMILIES.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """One training example: DeAR-CoT's six keys, and where it came from. `ids` are the passages' own ids in prompt order."""

    system: str
    instruction: str
    output: str
    input: str = ""
    history: tuple[tuple[str, str], ...] = ()  # earlier turns of the conversation, (user, assistant)
    think: str = ""
    source: str = ""
    query_id: str = ""
    ids: tuple[str, ...] = field(default=())


def render(
    query: str, passages: Sequence[Passage], grades: Mapping[str, int], written: Written, family: str, *, reasoning: bool = True, source: str = ""
) -> Row:
    """The row for `passages` in this order; `grades` by passage id (absent = 0), identifiers numbered from 1 in this order.

    Without `reasoning` the output is the ranking alone (for the fast mode). Raises `BadInput` on an unknown family.
    """
    conversation = prompts.listwise(query, passages, family)
    number = {passage.id: i for i, passage in enumerate(passages, 1)}
    order = ranking([p.id for p in passages], grades, written)
    chain = f"{RANKING[family]} " + " > ".join(f"[{number[id]}]" for id in order)
    place = {id: i for i, id in enumerate(order)}
    here = sorted((s for s in written.evidence if s.passage in number), key=lambda s: place[s.passage])
    writer = _nano if family == "nano" else _dear
    output = writer(written, here, number) + "\n" + chain if reasoning else chain
    return _row(conversation, output, source, written.query_id, tuple(number))


def ranking(ids: Sequence[str], grades: Mapping[str, int], written: Written) -> list[str]:
    """Passage ids best first: grade, coverage, stated order; then the input order.

    >>> w = Written("q", ("a",), (Support("x", (1,), "q", "w"),), "z", "no")
    >>> ranking(["y", "z", "x"], {"x": 3}, w)
    ['x', 'y', 'z']
    """
    meets = {s.passage: len(set(s.meets)) for s in written.evidence}
    stated = {s.passage: i for i, s in enumerate(written.evidence)}

    def key(item: tuple[int, str]) -> tuple[Any, ...]:
        at, id = item
        last = len(stated)
        return (-grades.get(id, 0), -meets.get(id, 0), stated.get(id, last), at)

    return [id for _, id in sorted(enumerate(ids), key=key)]


def messages(row: Row) -> list[prompts.Message]:
    """The conversation before the answer, as `dear.prompts.listwise` gave it."""
    turns = [{"role": "system", "content": row.system}] if row.system else []
    for user, assistant in row.history:
        turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    instruction = f"{row.instruction}\n{row.input}" if row.input else row.instruction
    return turns + [{"role": "user", "content": instruction}]


def forced(row: Row, family: str) -> tuple[str, str]:
    """The output in two parts: what is given and carries no loss, and what is learnt.

    A ranking without reasoning is asked for by writing its marker, as fast mode does, so there the marker is given.
    """
    marker = RANKING[family]
    return (marker, row.output[len(marker) :]) if row.output.startswith(marker) else ("", row.output)


def read_rows(path: Path | str) -> Iterator[Row]:
    """Yield rows of DeAR-CoT's JSONL; raises `BadInput` with the line number on a damaged one."""
    known = {f.name for f in fields(Row)}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                values = {key: value for key, value in data.items() if key in known}
                for key in ("system", "instruction", "output"):
                    if not isinstance(values[key], str):
                        raise TypeError(f"{key} is {type(values[key]).__name__}, not text")
                values["history"] = tuple((str(user), str(assistant)) for user, assistant in data.get("history") or ())
                yield Row(**values | {"ids": tuple(data.get("ids") or ())})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(
                    f"{path}, line {number}: not a DeAR-CoT row ({error!r}): it needs system, instruction, input, output, history"
                ) from error


def write_rows(path: Path | str, rows: Iterable[Row]) -> int:
    """Write rows as JSONL, whole or not at all; return how many."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("part-" + path.name)
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(dump_row(row) + "\n")
            count += 1
    part.replace(path)
    return count


def dump_row(row: Row) -> str:
    """A row as one JSON line."""
    return json.dumps(asdict(row), ensure_ascii=False)


def row_of(conversation: Sequence[prompts.Message], output: str, *, source: str, query_id: str, ids: Sequence[str], think: str = "") -> Row:
    """A row from a conversation and an answer that somebody else wrote."""
    row = _row(conversation, output, source, query_id, tuple(ids))
    return Row(**{f.name: getattr(row, f.name) for f in fields(Row)} | {"think": think})


def _row(conversation: Sequence[prompts.Message], output: str, source: str, query_id: str, ids: tuple[str, ...]) -> Row:
    system = conversation[0]["content"] if conversation[0]["role"] == "system" else ""
    turns = [m["content"] for m in conversation if m["role"] != "system"]
    history = tuple(zip(turns[:-1:2], turns[1:-1:2], strict=True))
    return Row(system, turns[-1], output, history=history, source=source, query_id=query_id, ids=ids)


def _nano(written: Written, here: Sequence[Support], number: Mapping[str, int]) -> str:
    lines = ["Needs: " + "; ".join(f"{i}. {_need(need)}" for i, need in enumerate(written.needs, 1))]
    lines += [f'[{number[s.passage]}] meets {", ".join(map(str, s.meets))}: "{quotable(s.quote)}" - {reason(s.why)}' for s in here]
    return "\n".join(lines + _missing(written, here) + _near_miss(written, number))


def _dear(written: Written, here: Sequence[Support], number: Mapping[str, int]) -> str:
    needs = [f"{i}. {_need(need)}" for i, need in enumerate(written.needs, 1)]
    lines = ["### Step 1. Information requirements", *needs, "", "### Step 2. Passages that hold them"]
    told: set[str] = set()
    for i, need in enumerate(needs, 1):
        lines.append(need)
        for support in here:
            if i in support.meets:
                why = "" if support.passage in told else f" - {reason(support.why)}"
                lines.append(f'[{number[support.passage]}] "{quotable(support.quote)}"{why}')
                told.add(support.passage)
    lines += _missing(written, here)
    lines += ["", "### Step 3. Ranking", "Passages that meet the requirements best and cover more of them come first."]
    return "\n".join(lines + _near_miss(written, number)) + "\n"


def _missing(written: Written, here: Sequence[Support]) -> list[str]:
    met = {i for s in here for i in s.meets}
    unmet = [str(i) for i in range(1, len(written.needs) + 1) if i not in met]
    if not here:
        return ["No passage here answers the query."]
    return [f"No passage here meets {', '.join(unmet)}."] if unmet else []


def _near_miss(written: Written, number: Mapping[str, int]) -> list[str]:
    if written.near_miss not in number or not written.near_miss_why:
        return []
    return [f"Not [{number[written.near_miss]}]: {reason(written.near_miss_why)}"]


def reason(text: str) -> str:
    """A sentence on one line, without the marks a quote is known by."""
    return quotable(text)


def _need(text: str) -> str:
    return quotable(text).replace(";", ",").rstrip(" .?!")
