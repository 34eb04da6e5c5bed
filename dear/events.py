"""The stream: what a run says, as frozen records that serialise to one JSON line each.

Everything that shows, stores, exports or replays a run reads this stream and nothing else, so a recorded run
is a file of events. `dump` and `load` round-trip every event exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from dear.errors import BadInput
from dear.types import Evidence, Hit, Passage, Rationale, Status, TermWeight


@dataclass(frozen=True, slots=True)
class Started:
    """A run begins: the query and, as plain strings, what will answer it (corpus, retriever, model, engine, reasoning …)."""

    query: str
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The first-stage list, best first."""

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class PointScore:
    """One passage has its pointwise score (a logit, higher is more relevant); `done` of `total` are scored."""

    passage_id: str
    score: float
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Stage 1 is complete: the list by pointwise score."""

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class WindowStart:
    """A listwise window opens: number `index` (from 1) of `of`, over positions `span` = (start, end), end excluded.

    `ids` are the passages in prompt order: identifier [n] is `ids[n-1]`. `prompt` is the exact text given to the model.
    """

    index: int
    of: int
    span: tuple[int, int]
    ids: tuple[str, ...]
    prompt: str


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text as the model writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class WindowEnd:
    """A window is ranked: passage ids best first, how the answer parsed, and the reasoning taken apart."""

    permutation: tuple[str, ...]
    status: Status
    rationale: Rationale
    index: int = 1


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know that is not a failure: passages trimmed, a stage skipped, a run stopped."""

    stage: str
    message: str


@dataclass(frozen=True, slots=True)
class Metrics:
    """Effectiveness per stage, e.g. {"retrieval": {"nDCG@10": 0.61}}, and the number of unjudged hits in the top 10.

    `judgments` are the query's own grades (passage id -> grade), so that a recorded run can show how a measure adds up.
    """

    stages: Mapping[str, Mapping[str, float]]
    unjudged: Mapping[str, int] = field(default_factory=dict)
    judgments: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage cost: wall seconds and tokens read and written."""

    seconds: float
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Cost per stage."""

    stages: Mapping[str, StageTime]


@dataclass(frozen=True, slots=True)
class Failed:
    """A stage failed; the ranking of the stage before it stands. `error` says what happened and what to do."""

    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class Final:
    """The run's result: every hit with rank and score per stage, rationale and evidence. Always the last event."""

    hits: tuple[Hit, ...]


Event = Started | Retrieved | PointScore | Pointwise | WindowStart | Token | WindowEnd | Notice | Metrics | Timing | Failed | Final
_EVENTS = {
    cls.__name__: cls for cls in (Started, Retrieved, PointScore, Pointwise, WindowStart, Token, WindowEnd, Notice, Metrics, Timing, Failed, Final)
}


def to_dict(event: Event) -> dict[str, Any]:
    """The event as JSON-ready data: key `type` is the event's name; a hit is flat (`id`, `rank`, `scores`, `title`, `text`, …).

    >>> to_dict(Token("so"))
    {'type': 'Token', 'text': 'so'}
    """
    return {"type": type(event).__name__, **{f.name: _plain(getattr(event, f.name)) for f in fields(event)}}


def from_dict(data: Mapping[str, Any]) -> Event:
    """The event that `to_dict` wrote; raises `BadInput` on an unknown type or a missing field."""
    cls = _EVENTS.get(str(data.get("type"))) if isinstance(data, Mapping) else None
    if cls is None:
        raise BadInput(f"unknown event {str(data)[:80]!r}, known types are {', '.join(_EVENTS)}: record the run again with this version")
    try:
        return cls(**{f.name: _READ.get((cls, f.name), _same)(data[f.name]) for f in fields(cls) if f.name in data})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"event {cls.__name__} cannot be read ({error!r}): the line is damaged, record the run again") from error


def described(events: Iterable[Event], about: Mapping[str, str]) -> Iterator[Event]:
    """The stream, whose beginning also says `about` (corpus, retriever, model): what a recording needs and a pipeline does not know.

    >>> next(described([Started("why", {"depth": "5"})], {"corpus": "teaching"})).config
    {'corpus': 'teaching', 'depth': '5'}
    """
    for event in events:
        yield replace(event, config={**about, **event.config}) if isinstance(event, Started) else event


def dump(events: Iterable[Event]) -> Iterator[str]:
    """Yield one JSON line an event, without line end."""
    for event in events:
        yield json.dumps(to_dict(event), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def load(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a recorded run; blank lines are skipped, a damaged line raises `BadInput` with its number."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"line {number} is not JSON ({error.msg}): a recorded run has one event a line") from error
        yield from_dict(data)


def _plain(value: Any) -> Any:
    if isinstance(value, Hit):
        data = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name != "passage"}
        return {"id": value.passage.id, "rank": data.pop("rank"), "title": value.passage.title, "text": value.passage.text, **data}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _same(value: Any) -> Any:
    return value


def _evidence(data: Mapping[str, Any]) -> Evidence:
    return Evidence(**{**data, "meets": tuple(data.get("meets", ()))})


def _term(data: Mapping[str, Any]) -> TermWeight:
    return TermWeight(data["term"], data["weight"], tuple((start, end) for start, end in data.get("places", ())))


def _hits(data: Iterable[Mapping[str, Any]]) -> tuple[Hit, ...]:
    return tuple(
        Hit(
            passage=Passage(item["id"], item["text"], item.get("title", "")),
            rank=item["rank"],
            scores=item.get("scores", {}),
            ranks=item.get("ranks", {}),
            terms=tuple(_term(term) for term in item.get("terms", ())),
            rationale=item.get("rationale", ""),
            evidence=tuple(_evidence(e) for e in item.get("evidence", ())),
        )
        for item in data
    )


def _rationale(data: Mapping[str, Any]) -> Rationale:
    return Rationale(
        text=data["text"],
        requirements=tuple(data["requirements"]),
        evidence=tuple(_evidence(e) for e in data["evidence"]),
        reasons=data["reasons"],
    )


_READ = {
    (Retrieved, "hits"): _hits,
    (Pointwise, "hits"): _hits,
    (Final, "hits"): _hits,
    (WindowStart, "span"): tuple,
    (WindowStart, "ids"): tuple,
    (WindowEnd, "permutation"): tuple,
    (WindowEnd, "rationale"): _rationale,
    (Timing, "stages"): lambda stages: {name: StageTime(**time) for name, time in stages.items()},
}
