"""A result as files and text: TREC runs, values a query, the paper beside what was measured here in Markdown and CSV."""

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
MODEL_STAGES = ("pointwise", "listwise", "fast")


def columns(line: Mapping[str, Any]) -> list[str]:
    """The measures a line's rows hold, in order."""
    own = [name for name in line["rows"][0] if name.startswith("top@")] if line["rows"] else []
    return [*own, "mrr@10"] if own else list(COLUMNS)


def beside(line: Mapping[str, Any], command: str) -> list[Cells]:
    """Header and rows, one a figure: what the paper reports, what was measured here with its interval, the command, the paper.

    A published system stands beside the stage that does the same here, named where its model is another. Measured rows that
    no paper has follow, with the main measure.
    """
    ours, main = {row["stage"]: row for row in shown(line)}, line["measure"]
    rows = [["system", "measure", "paper", "measured here", "95% CI", "command", "source of the paper's figure"]]
    for figure in line["published"]:
        row = ours.get(figure["stage"])
        system = figure["system"] + (f" (here {_system(line, row)})" if row and row["stage"] in MODEL_STAGES else "")
        for name in columns(line):
            if figure.get(name) is not None:
                here = [_number(row.get(name)), _interval(row) if name == main else "", command] if row else [""] * 3
                rows.append([system, name, _number(figure[name]), *here, _source(figure)])
        if figure["seconds_per_query"] is not None:
            here = [_seconds(row["seconds_total"]), "", command] if row else [""] * 3
            rows.append([system, "s/query", _number(figure["seconds_per_query"]), *here, _source(figure)])
    published = {figure["stage"] for figure in line["published"]}
    alone = [row for stage, row in ours.items() if stage not in published]
    return rows + [[_system(line, row), main, "", _number(row[main]), _interval(row), command, ""] for row in alone]


def table(line: Mapping[str, Any], command: str) -> list[Cells]:
    """Header and rows, one a system: system, where the figure comes from, the measures, their interval, seconds a query, command or source.

    Figures of papers come first. A measure that was not reported is empty.
    """
    names = columns(line)
    rows = [["system", "from", *names, f"95% CI of {line['measure']}", "s/query", "command or source"]]
    for figure in line["published"]:
        found = [_number(figure.get(name)) for name in names]
        rows.append([figure["system"], "paper", *found, "", _number(figure["seconds_per_query"]), _source(figure)])
    for row in shown(line):
        found = [_number(row.get(name)) for name in names]
        rows.append([_system(line, row), "measured here", *found, _interval(row), _seconds(row["seconds_total"]), command])
    return rows


def markdown(line: Mapping[str, Any], command: str) -> str:
    """Both tables in Markdown under the benchmark's name: the paper beside what was measured, then every measure of every system."""
    notes = "; ".join([f"{line['queries']} queries", *line["notes"], f"engine {line['engine']}"])
    lines = [f"### {line['benchmark']}", "", f"{notes}. Percent.", "", *_bars(beside(line, command)), "", *_bars(table(line, command))]
    return "\n".join(lines) + "\n"


def csv_table(line: Mapping[str, Any], rows: Sequence[Cells]) -> str:
    """A table of the line (header first) as CSV, with the benchmark as its first column."""
    out = io.StringIO()
    head, *body = rows
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
    """Write a result's files into a folder and return their paths: run files, values a query, the JSON line, the tables."""
    line, stem = result.line, result.line["benchmark"].replace("/", "-")
    written = [_write_run(result.measured, row, folder / f"{stem}.{_file_name(row.stage)}.trec") for row in _all_rows(result.measured)]
    texts = {
        f"{stem}.json": json.dumps(line, ensure_ascii=False),
        f"{stem}.md": markdown(line, command),
        f"{stem}.csv": csv_table(line, table(line, command)),
        f"{stem}.paper.csv": csv_table(line, beside(line, command)),
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


def _system(line: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return f"{line['model']} {row['stage']}" if row["stage"] in MODEL_STAGES else row["stage"]


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["ci95"]
    return f"{low:.1f}–{high:.1f}"


def _source(figure: Mapping[str, Any]) -> str:
    return figure["source"] + (f" ({figure['note']})" if figure["note"] else "")


def _bars(rows: Sequence[Cells]) -> list[str]:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [_bar(head), _bar(["---"] * len(head)), *map(_bar, body)]


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    return str(value)
