"""Effectiveness against seconds a query, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dear.errors import require
from dear.evaluation.report import shown


def plot(line: Mapping[str, Any], path: Path) -> Path:
    """Draw a benchmark's measured rows, and published ones whose seconds are known (hollow), on a logarithmic time axis.

    Raises `MissingDependency` without matplotlib.
    """
    require("matplotlib", extra="matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    measure = line["measure"]
    for place, row in enumerate(sorted(shown(line), key=lambda row: row["seconds_total"])):
        low, high = row["ci95"]
        at, value = max(row["seconds_total"], 1e-4), row[measure]
        axes.errorbar(at, value, yerr=[[value - low], [high - value]], fmt="o", capsize=3)
        aside = (6, 6) if place % 2 else (6, -14)  # neighbours' names would lie on each other
        axes.annotate(row["stage"], (at, value), xytext=aside, textcoords="offset points", fontsize=9)
    for figure_of in line["published"]:
        if figure_of["seconds_per_query"] and figure_of.get(measure) is not None:
            at = figure_of["seconds_per_query"], figure_of[measure]
            axes.plot(*at, "o", markerfacecolor="none", color="gray")
            axes.annotate(f"{figure_of['system']}, published", at, xytext=(6, -12), textcoords="offset points", fontsize=9, color="gray")
    axes.set_xscale("log")
    axes.set_xlabel("seconds a query, all stages it needs")
    axes.set_ylabel(f"{measure}, percent")
    axes.set_title(f"{line['benchmark']} ({line['queries']} queries)")
    axes.margins(x=0.25, y=0.15)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
