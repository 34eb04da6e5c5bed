"""Files as rows: JSONL, TSV, CSV and TXT read as a stream, each bad row reported with its place and a remedy."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

from dear.errors import BadInput

Format = Literal["jsonl", "tsv", "csv", "txt"]
MAX_ROW_BYTES = 1 << 20
ID_FIELDS = ("id", "_id", "docid", "pid", "doc_id", "passage_id", "query_id", "qid")
TEXT_FIELDS = ("text", "contents", "content", "passage", "segment", "body")
QUERY_FIELDS = ("text", "query", "question", "title")
_DAMAGE = (EOFError, zlib.error, OSError)
_HEADER = {*ID_FIELDS, *TEXT_FIELDS, *QUERY_FIELDS}
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".tsv": "tsv", ".tab": "tsv", ".csv": "csv", ".txt": "txt", ".text": "txt",
}  # fmt: skip


class RowError(BadInput):
    """One row that cannot be used: `file`, `row` (from 1; 0 is the file as a whole), `problem` and `remedy`."""

    def __init__(self, file: str, row: int, problem: str, remedy: str) -> None:
        self.file, self.row, self.problem, self.remedy = file, row, problem, remedy
        place = f"{file}, row {row}" if row else file
        super().__init__(f"{place}: {problem}: {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (RowError, (self.file, self.row, self.problem, self.remedy))


@dataclass(frozen=True, slots=True)
class Row:
    """A row taken apart. `number` counts lines (JSONL, TSV), records' first lines (CSV) or paragraphs (TXT) from 1.

    `fields` maps lower-case names to values; a file without a header has the names "0", "1", …
    """

    number: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    offset: int  # of its first byte in the (unpacked) file
    raw: bytes
    cut: bool  # longer than MAX_ROW_BYTES, the rest was skipped


def format_of(path: str | Path) -> Format:
    """The format a file name stands for, `.gz` aside; raises `BadInput` on any other ending."""
    name = Path(path).name.lower().removesuffix(".gz")
    found = SUFFIXES.get(Path(name).suffix)
    if found is None:
        raise BadInput(f"{Path(path).name!r} is none of {', '.join(sorted(SUFFIXES))} (each also with .gz): rename or convert it")
    return found


def read_rows(path: str | Path, format: Format | None = None) -> Iterator[Row | RowError]:
    """Yield every row of the file in order, a bad one as a `RowError` in its place; blank lines are no rows.

    Raises `BadInput` when the file cannot be opened. Damage that makes the rest unreadable is the last item.
    """
    path = Path(path)
    read = {"jsonl": _jsonl, "tsv": _tsv, "csv": _csv, "txt": _txt}[format or format_of(path)]
    number = 0
    with _open(path) as stream:
        try:
            for row in read(_lines(stream), path.name):
                number = row.row if isinstance(row, RowError) else row.number
                yield row
                if isinstance(row, RowError) and row.row == 0:
                    return
        except _DAMAGE as error:
            yield RowError(path.name, 0, f"the file is damaged after row {number} ({error})", "make or download it again")
            return
    if number == 0:
        yield RowError(path.name, 0, "the file has no rows", "put at least one row into it")


def read_fields(path: str | Path, widths: tuple[int, ...], header: tuple[str, ...] = ()) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a file with columns between tabs or blanks, `header` left out; raises `RowError` on a bad line.

    Every line has as many columns as the first, which must be one of `widths`.
    """
    path = Path(path)
    wanted = 0
    with _open(path) as stream:
        for line in _whole(_lines(stream), path.name):
            if not line.raw.strip():
                continue
            if fault := _fault(line, path.name, line.number):
                raise fault
            text = line.raw.decode("utf-8").strip()
            cells = [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()
            if not wanted and header and [cell.lower() for cell in cells] == list(header):
                continue
            wanted = wanted or (len(cells) if len(cells) in widths else widths[0])
            if len(cells) != wanted or not all(cells):
                raise RowError(path.name, line.number, f"{len(cells)} columns, {wanted} are wanted", "part columns with a tab, none empty")
            yield line.number, cells


def _whole(lines: Iterator[_Line], file: str) -> Iterator[_Line]:
    number = 0
    try:
        for line in lines:
            number = line.number
            yield line
    except _DAMAGE as error:
        raise RowError(file, 0, f"the file is damaged after line {number} ({error})", "make or download it again") from error


def _open(path: Path) -> IO[bytes]:
    try:
        return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be opened ({error.strerror}): check the path and its permissions") from error


def _lines(stream: IO[bytes]) -> Iterator[_Line]:
    offset, number = 0, 0
    while raw := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        start, piece = offset, raw
        offset += len(raw)
        while len(piece) > MAX_ROW_BYTES and not piece.endswith(b"\n") and (piece := stream.readline(MAX_ROW_BYTES + 1)):
            offset += len(piece)
        if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
            raw, start = raw[3:], 3
        yield _Line(number, start, raw, len(raw) > MAX_ROW_BYTES and not raw.endswith(b"\n"))


def _fault(line: _Line, file: str, row: int) -> RowError | None:
    """What is wrong with the line's bytes, if anything."""
    if line.cut:
        return RowError(file, row, f"the row is longer than {MAX_ROW_BYTES:,} bytes", "split it into passages")
    if line.number == 1 and line.raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return RowError(file, 0, "the file is UTF-16, not UTF-8", "save it again as UTF-8")
    if (nul := line.raw.find(b"\0")) >= 0:
        return RowError(file, row, f"NUL byte at byte offset {line.offset + nul}", "the file may be UTF-16 or binary: save it as UTF-8 text")
    try:
        line.raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at = line.offset + error.start
        return RowError(file, row, f"byte 0x{line.raw[error.start]:02x} at byte offset {at} is not UTF-8", "save the file again as UTF-8")
    return None


def _jsonl(lines: Iterator[_Line], file: str) -> Iterator[Row | RowError]:
    seen = False
    for line in lines:
        if not line.raw.strip():
            continue
        if fault := _fault(line, file, line.number):
            yield fault
        elif not seen and line.raw.lstrip().startswith(b"["):
            yield RowError(file, 0, "the file is one JSON array", "write one JSON object a line (JSONL)")
            return
        else:
            yield _json_row(line, file)
        seen = True


def _json_row(line: _Line, file: str) -> Row | RowError:
    try:
        value = json.loads(line.raw)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return RowError(file, line.number, f"not JSON ({reason})", 'write one object a line, for example {"id": "1", "text": "..."}')
    if not isinstance(value, dict):
        return RowError(file, line.number, f"a JSON {type(value).__name__}, an object is wanted", 'write {"id": "1", "text": "..."}')
    return Row(line.number, {str(key).lower(): item for key, item in value.items()})


def _tsv(lines: Iterator[_Line], file: str) -> Iterator[Row | RowError]:
    table = _Table(file, "\t")
    for line in lines:
        if not line.raw.strip():
            continue
        if fault := _fault(line, file, line.number):
            yield fault
        elif row := table.row(line.number, line.raw.decode("utf-8").rstrip("\r\n").split("\t")):
            yield row


class _CutLine(Exception):
    """A line too long to hold: the record it belongs to ends here, as an error."""


class _Decoded:
    """Lines as text for `csv`, which pulls them; faults are kept by line number instead of stopping the reader."""

    def __init__(self, lines: Iterator[_Line], file: str) -> None:
        self.lines, self.file, self.number = lines, file, 0
        self.faults: list[RowError] = []

    def __iter__(self) -> _Decoded:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.number = line.number
        if fault := _fault(line, self.file, line.number):
            self.faults.append(fault)
        if line.cut:
            raise _CutLine
        return line.raw.decode("utf-8", "replace").replace("\0", "\ufffd")


def _csv(lines: Iterator[_Line], file: str) -> Iterator[Row | RowError]:
    first = next(lines, None)
    if first is None:
        return
    delimiter = ";" if b";" in first.raw and b"," not in first.raw else ","
    text, table = _Decoded(chain([first], lines), file), _Table(file, delimiter)
    records = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        start = text.number + 1
        text.faults.clear()
        cells, problem = [], ""
        try:
            cells = next(records)
        except StopIteration:
            return
        except (_CutLine, csv.Error) as error:
            problem = str(error)
        if text.faults:
            yield text.faults[0]
        elif problem:
            yield RowError(file, start, f"not CSV ({problem})", 'put fields that hold commas or line ends into "…", quotes doubled')
        elif any(cell.strip() for cell in cells) and (row := table.row(start, cells)):
            yield row


class _Table:
    """Columns of a TSV or CSV file: named by a header when the first row is one, else by number."""

    def __init__(self, file: str, delimiter: str) -> None:
        self.file, self.names, self.delimiter = file, (), "tab" if delimiter == "\t" else repr(delimiter)
        self.seen = False

    def row(self, number: int, cells: list[str]) -> Row | RowError | None:
        """The row under its column names; None for the header itself."""
        if not self.seen:
            self.seen = True
            names = tuple(cell.strip().lower() for cell in cells)
            if header := _HEADER & set(names):
                doubled = [name for name in sorted(header) if names.count(name) > 1]
                if doubled:
                    return RowError(self.file, 0, f"the header names {doubled[0]!r} twice", "name each column once")
                self.names = names
                return None
            self.names = tuple(str(i) for i in range(len(cells)))
        if len(cells) != len(self.names):
            remedy = f"use {self.delimiter} between columns, and nowhere else unless quoted (CSV)"
            return RowError(self.file, number, f"{len(cells)} columns, {len(self.names)} are wanted", remedy)
        return Row(number, dict(zip(self.names, cells, strict=True)))


def _txt(lines: Iterator[_Line], file: str) -> Iterator[Row | RowError]:
    number, size = 0, 0
    parts: list[str] = []
    fault: RowError | None = None
    for line in chain(lines, [_Line(0, 0, b"", False)]):
        if line.raw.strip():
            fault = fault or _fault(line, file, number + 1)
            size += len(line.raw)
            if size <= MAX_ROW_BYTES and not fault:
                parts.append(line.raw.decode("utf-8").strip())
        elif size:
            number += 1
            if size > MAX_ROW_BYTES and not fault:
                fault = RowError(file, number, f"the paragraph is longer than {MAX_ROW_BYTES:,} bytes", "put a blank line between passages")
            yield fault or Row(number, {"text": " ".join(parts)})
            parts, fault, size = [], None, 0
