"""Passages and queries from JSONL, TSV, CSV and TXT files (each also .gz), streamed, with row-level errors.

Accepted names: id, _id, docid, pid, …; text, contents, content, passage, body; title. TSV and CSV may have a
header; without one the columns are `text`, `id text` or `id title text`. A TXT file holds one passage a
paragraph, paragraphs parted by blank lines. A row without an id is called `row-N`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.rows import ID_FIELDS, QUERY_FIELDS, TEXT_FIELDS, Format, Row, RowError, read_rows
from dear.types import MAX_PASSAGE_CHARS, Passage

MAX_ID_CHARS = 200
MAX_ARTICLE_CHARS = 1_000_000  # collections for training and tests hold whole articles; a model gets the head of each
_COLUMNS = {1: ("text",), 2: ("id", "text"), 3: ("id", "title", "text")}


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a corpus; `split` is "train", "dev", "test" or empty."""

    id: str
    text: str
    split: str = ""
    topic: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a file holds: the good rows as passages, the bad ones as errors, together every row."""

    passages: tuple[Passage, ...]
    errors: tuple[RowError, ...]


def read_passages(
    path: str | Path, *, format: Format | None = None, max_chars: int = MAX_PASSAGE_CHARS, max_passages: int | None = None
) -> Iterator[Passage]:
    """Yield the file's passages in order, or raise `RowError` at the first bad row. `max_chars` bounds a passage's text."""
    for item in iter_passages(path, format=format, max_chars=max_chars, max_passages=max_passages):
        if isinstance(item, RowError):
            raise item
        yield item


def collect_passages(
    path: str | Path, *, format: Format | None = None, max_chars: int = MAX_PASSAGE_CHARS, max_passages: int | None = None
) -> ReadResult:
    """Read the whole file, keeping the good passages and listing every bad row."""
    passages: list[Passage] = []
    errors: list[RowError] = []
    for item in iter_passages(path, format=format, max_chars=max_chars, max_passages=max_passages):
        errors.append(item) if isinstance(item, RowError) else passages.append(item)
    return ReadResult(tuple(passages), tuple(errors))


def iter_passages(
    path: str | Path, *, format: Format | None = None, max_chars: int = MAX_PASSAGE_CHARS, max_passages: int | None = None
) -> Iterator[Passage | RowError]:
    """Yield each row as a passage or as its error, in file order."""
    file = Path(path).name
    rows_of: dict[str, int] = {}
    for row in read_rows(path, format):
        item = row if isinstance(row, RowError) else _passage(row, file, max_chars)
        if isinstance(item, Passage):
            if item.id in rows_of:
                item = RowError(file, row.number, f"id {item.id!r} was used in row {rows_of[item.id]}", "give every passage its own id")
            elif max_passages is not None and len(rows_of) == max_passages:
                yield RowError(file, 0, f"more than {max_passages:,} passages (row {row.number} and on are not read)", "split the file")
                return
            else:
                rows_of[item.id] = row.number
        yield item


def read_queries(path: str | Path, *, format: Format | None = None) -> Iterator[Query]:
    """Yield the queries of a file (fields id, text; optionally split, topic, tags), or raise `RowError` at the first bad row."""
    file = Path(path).name
    seen: set[str] = set()
    for row in read_rows(path, format):
        if isinstance(row, RowError):
            raise row
        item = _passage(row, file, MAX_PASSAGE_CHARS, QUERY_FIELDS)
        if isinstance(item, RowError):
            raise item
        if item.id in seen:
            raise RowError(file, row.number, f"query id {item.id!r} occurs twice", "give every query its own id")
        seen.add(item.id)
        yield Query(item.id, item.text.strip(), _string(row.fields, "split"), _string(row.fields, "topic"), tags_of(row.fields))


def tags_of(fields: dict[str, Any]) -> tuple[str, ...]:
    """The row's `tags` as strings; empty when there are none."""
    tags = fields.get("tags") or []
    return tuple(str(tag) for tag in tags) if isinstance(tags, list) else tuple(str(tags).split())


def passage_of(fields: dict[str, Any], text_fields: tuple[str, ...] = TEXT_FIELDS) -> tuple[str, str, str]:
    """(id, title, text) under any of the accepted names; raises `ValueError(problem, remedy)`."""
    if "0" in fields and not any(name in fields for name in text_fields):
        names = _COLUMNS.get(len(fields))
        if names is None:
            raise ValueError(f"{len(fields)} columns and no header", "add a header row that names id, title and text")
        fields = dict(zip(names, fields.values(), strict=True))
    text = _pick(fields, text_fields)
    if text is None:
        raise ValueError("no text", f"add a field named {' or '.join(text_fields)}")
    if not isinstance(text, str):
        raise ValueError(f"the text is a JSON {type(text).__name__}", "write it as a string")
    title = fields.get("title")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"the title is a JSON {type(title).__name__}", "write it as a string")
    if not text.strip() and title:  # collections have documents of a title alone, and judgments of them
        text, title = title.strip(), ""
    if not text.strip():
        raise ValueError("the text is empty", "remove the row or fill it in")
    return _id(_pick(fields, ID_FIELDS)), (title or "").strip(), text


def _passage(row: Row, file: str, max_chars: int, text_fields: tuple[str, ...] = TEXT_FIELDS) -> Passage | RowError:
    try:
        id_, title, text = passage_of(row.fields, text_fields)
        for name, value, limit in (("id", id_, MAX_ID_CHARS), ("title", title, max_chars), ("text", text, max_chars)):
            _check_string(name, value, limit)
    except ValueError as error:
        return RowError(file, row.number, *error.args)
    return Passage(id_ or f"row-{row.number}", text, title)


def _check_string(name: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise ValueError(f"the {name} has {len(value):,} characters, the limit is {limit:,}", "split it" if name == "text" else "shorten it")
    if (at := value.find("\0")) >= 0:
        raise ValueError(f"NUL at character {at} of the {name}", "remove it")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"the {name} holds half a surrogate pair", "write the character itself in UTF-8, not as \\ud800")
    if name == "id" and any(char < " " for char in value):
        raise ValueError(f"the id {value!r} holds a control character", "use printable characters")


def _pick(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first value that is there and not empty, else an empty one, else None."""
    found = [fields[name] for name in names if name in fields and fields[name] is not None]
    return next((value for value in found if value != ""), found[0] if found else None)


def _id(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"the id is a JSON {type(value).__name__}", "write it as a string or a whole number")
    return str(value).strip()


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else ""
