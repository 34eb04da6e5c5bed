"""A result as files and text: TREC runs, values a query, a table of paper against here in Markdown and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dear.evaluation.report import COLUMNS, Measured, shown
from dear.evaluation.run import Result
from dear.evaluation.stages import Row, passages_of
from dear.runs import trec_lines, write_atomic
from dear.types import Hit

Cells = list[str]


def columns(line: Mapping[str, Any]) -> list[str]:
    """The measures a line's rows hold, in order."""
    own = [name for name in line["rows"][0] if name.startswith("top@")] if line["rows"] else []
    return [*own, "mrr@10"] if own else list(COLUMNS)


def table(line: Mapping[str, Any], command: str) -> list[Cells]:
    """Header and rows: system, where the figure comes from, the measures, their interval, seconds a query, command or source.

    Figures of papers come first. A measure that was not reported is empty.
    """
    names = columns(line)
    rows = [["system", "from", *names, f"95% CI of {line['measure']}", "s/query", "command or source"]]
    for figure in line["published"]:
        source = figure["source"] + (f" ({figure['note']})" if figure["note"] else "")
        rows.append([figure["system"], "paper", *(_number(figure.get(n)) for n in names), "", _number(figure["seconds_per_query"]), source])
    for row in shown(line):
        system = f"{line['model']} {row['stage']}" if row["stage"] in ("pointwise", "listwise", "fast") else row["stage"]
        low, high = row["ci95"]
        rows.append(
            [system, "measured here", *(_number(row.get(n)) for n in names), f"{low:.1f}–{high:.1f}", _seconds(row["seconds_total"]), command]
        )
    return rows


def markdown(line: Mapping[str, Any], command: str) -> str:
    """The table in Markdown under the benchmark's name."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table(line, command)]
    head, body = rows[0], rows[1:]
    notes = "; ".join([f"{line['queries']} queries", *line["notes"], f"engine {line['engine']}"])
    lines = [f"### {line['benchmark']}", "", f"{notes}. Percent.", "", _bar(head), _bar(["---"] * len(head)), *map(_bar, body)]
    return "\n".join(lines) + "\n"


def csv_table(line: Mapping[str, Any], command: str) -> str:
    """The table as CSV, with the benchmark as its first column."""
    out = io.StringIO()
    head, *body = table(line, command)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["benchmark", *head])
    writer.writerows([line["benchmark"], *row] for row in body)
    return out.getvalue()


def summary(line: Mapping[str, Any]) -> str:
    """The measured rows as plain text for a terminal."""
    names = columns(line)
    out = [f"{line['benchmark']}: {line['queries']} queries; {'; '.join(line['notes'])}; {line['model']} ({line['engine']})"]
    out.append(f"  {'':24}" + "".join(f"{name:>9}" for name in names) + "   95% CI        s/query")
    for row in shown(line):
        low, high = row["ci95"]
        figures = "".join(f"{_number(row.get(name)):>9}" for name in names)
        out.append(f"  {row['stage']:24}{figures}   {low:5.1f}–{high:<5.1f} {_seconds(row['seconds_total']):>9}")
    out += [
        f"  {c['b']} - {c['a']}: {c['difference']:+.2f} {c['measure']} (95% CI {c['ci95'][0]:+.2f} to {c['ci95'][1]:+.2f}, p {c['p']:.4f})"
        for c in line["comparisons"]
    ]
    out += [f"  {name}: {_words(value)}" for name, value in line["explanations"].items()]
    return "\n".join(out)


def write(result: Result, folder: Path, command: str) -> list[Path]:
    """Write a result's files into a folder and return their paths: run files, values a query, the JSON line, both tables."""
    line, stem = result.line, result.line["benchmark"].replace("/", "-")
    written = [_write_run(result.measured, row, folder / f"{stem}.{_file_name(row.stage)}.trec") for row in _all_rows(result.measured)]
    texts = {
        f"{stem}.json": json.dumps(line, ensure_ascii=False),
        f"{stem}.md": markdown(line, command),
        f"{stem}.csv": csv_table(line, command),
        f"{stem}.queries.csv": _query_values(result.measured),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text.rstrip("\n").split("\n"))
        written.append(folder / name)
    return written


def _all_rows(measured: Measured) -> Iterator[Row]:
    seen: set[str] = set()
    for row in (*measured.rows, *measured.peers):
        if row.stage not in seen:
            seen.add(row.stage)
            yield row


def _write_run(measured: Measured, row: Row, path: Path) -> Path:
    lines: list[str] = []
    for question in measured.opened:
        hits = [Hit(passage, rank) for rank, passage in enumerate(passages_of(question, row.ranked[question.id].ids), 1)]
        lines += trec_lines(question.id, hits, _file_name(row.stage))
    write_atomic(path, lines)
    return path


def _query_values(measured: Measured) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [column for column, _ in measured.opened.benchmark.measures]
    writer.writerow(["query", "stage", *names, "seconds"])
    for row in _all_rows(measured):
        for question in measured.opened:
            found = [f"{measured.values[row.stage][name][question.id]:.6f}" for name in names]
            writer.writerow([question.id, row.stage, *found, f"{row.ranked[question.id].seconds:.6f}"])
    return out.getvalue()


def _file_name(stage: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in stage).strip("-.") or "peer"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    return str(value)
