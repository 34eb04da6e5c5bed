"""A plan run for a reader: progress on stderr, a text or JSON line a benchmark, files in a folder."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dear.errors import BadInput, MissingDependency
from dear.evaluation.benchmarks import BENCHMARKS
from dear.evaluation.opening import Room
from dear.evaluation.plot import plot
from dear.evaluation.run import NANO, PEERS, Plan, Result, evaluate
from dear.evaluation.store import Store
from dear.evaluation.tables import summary, write
from dear.runs import write_atomic

logger = logging.getLogger(__name__)


def show(plan: Plan, room: Room, out: Path | None, *, as_json: bool, fresh: bool = False) -> Iterator[str]:
    """Run the plan; yield a text a benchmark: its JSON line, or a table in words. Files go to `out` as each one is done.

    With `fresh` nothing that was answered in an earlier run counts.
    """
    if out:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{out} cannot hold the files ({error.strerror}): give --out a folder that you may write") from error
    done: list[Result] = []
    for result in evaluate(plan, room, store=Store(fresh=fresh), progress=progress):
        done.append(result)
        # before the files: what was measured is shown, whatever becomes of them
        yield json.dumps(result.line, ensure_ascii=False) if as_json else summary(result.line)
        if out:
            _write(done, plan, out)


def registry() -> str:
    """The benchmarks by name: what they are, where they come from, how they are measured, what is published."""
    out: list[str] = []
    for row in BENCHMARKS.values():
        count = f"{row.queries} queries" if row.queries else "queries of the chosen split"
        out.append(f"{row.name}: {row.title}; {count}; {row.main}, gain: {row.gain}, relevant from grade {row.relevant}")
        network = f"index {row.index}, topics {row.topics}, judgments {row.qrels or 'by answer'}" if row.index else ""
        places = [f"a folder named {' or '.join(row.folders)} below --data" if row.folders else "comes with the project", network]
        out.append("    from " + "; else ".join(place for place in places if place))
        for figure in row.published:
            values = ", ".join(f"{name} {value}" for name, value in figure.values.items())
            seconds = f", {figure.seconds_per_query} s/query" if figure.seconds_per_query else ""
            out.append(f"    {figure.system}: {values}{seconds} ({figure.source}{'; ' + figure.note if figure.note else ''})")
    return "\n".join(out)


def progress(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """The items, with a bar on stderr that says how many are done and the time left."""
    from tqdm import tqdm

    pause = 0.5 if sys.stderr.isatty() else 30.0  # a log file wants a line now and then, not a moving bar
    return tqdm(items, desc=what, total=total, unit="query", file=sys.stderr, dynamic_ncols=True, mininterval=pause)


def command(plan: Plan, benchmark: str) -> str:
    """The command that measures one benchmark as the plan does."""
    parts = ["python -m dear evaluate", benchmark, "--model", plan.model, "--stages", ",".join(plan.stages), "--engine", plan.engine]
    options = {
        "--data": (str(plan.want.data) if plan.want.data else None, None), "--split": (plan.want.split, "test"), "--depth": (plan.want.depth, 100),
        "--limit": (plan.want.limit, None), "--peers": (",".join(plan.peers), ",".join(PEERS)), "--precision": (plan.precision, "auto"),
        **{f"--{name.replace('_', '-')}": (getattr(plan, name), None) for name in NANO},
        "--shuffles": (plan.shuffles, 10), "--probes": (plan.probes, 10),
    }  # fmt: skip
    given = [part for name, (value, usual) in options.items() if value != usual for part in (name, str(value))]
    given += [] if plan.explain else ["--no-explain"]
    return " ".join([parts[0], *map(shlex.quote, [*parts[1:], *given])])


def _write(done: list[Result], plan: Plan, out: Path) -> None:
    """The last result's files, and one table over all results so far."""
    result, name = done[-1], done[-1].line["benchmark"]
    write(result, out, command(plan, plan.benchmarks[len(done) - 1]))
    try:
        plot(result.line, out / f"{name.replace('/', '-')}.png")
    except MissingDependency as error:
        logger.warning("no plot: %s", error)
    pages = [(out / f"{one.line['benchmark'].replace('/', '-')}.md").read_text(encoding="utf-8") for one in done]
    write_atomic(out / "table.md", "\n".join(pages).rstrip("\n").split("\n"))
    for name, kind in (("table.csv", "csv"), ("paper.csv", "paper.csv")):
        rows = [(out / f"{one.line['benchmark'].replace('/', '-')}.{kind}").read_text(encoding="utf-8").splitlines() for one in done]
        write_atomic(out / name, [rows[0][0], *(row for part in rows for row in part[1:])])
