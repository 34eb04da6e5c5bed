"""What lies beside the weights: recipe, versions, data hashes, loss curves, scores, `dear.json` and a model card.

`write_beside` is called by both trainers when they end; `rebuild` (the command `report`) makes curves again from a run on disk,
also from one that is still going.
"""

from __future__ import annotations

import csv
import gzip
import json
import logging
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from dear.cache import sha256
from dear.errors import BadInput
from training import recipes
from training.model_card import DataFile, model_card
from training.recipes import Recipe
from training.saving import write_json

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "bitsandbytes", "deepspeed", "numpy", "dear-rerank")
JUDGED = "queries and grades CC BY 4.0, passages as their sets"
BARE = "questions CC BY-SA 3.0 or 4.0, CC BY 4.0 or Apache-2.0 by their source, grades CC BY 4.0, passages as their sets"
OURS = {
    "teaching": "CC BY 4.0",
    "practice": "CC BY 4.0",
    "judged": JUDGED,
    "written": JUDGED,
    "web": JUDGED,
    "questions": BARE,
}  # see their DATA_CARD.md
CURVES, PICTURE, DEAR, SCORES = "losses.csv", "losses.png", "dear.json", "scores.json"
History = Sequence[Mapping[str, Any]]


def write_beside(
    folder: Path | str,
    recipe: Recipe,
    log_history: History,
    data_files: Mapping[str, Path | str] | Sequence[Path | str],
    metrics: Mapping[str, Any] | None = None,
    *,
    stage: str,
) -> None:
    """Write everything a stranger needs to judge and repeat the run beside the weights of `stage` (pointwise or listwise).

    `log_history` is the trainer state's, `data_files` the files by role, or in the order train, dev; `metrics` measured scores by set.
    Call it on the main process only.
    """
    if not isinstance(data_files, Mapping):
        data_files = dict(zip(("train", "dev", "more"), data_files, strict=False))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = [describe(role, Path(path)) for role, path in data_files.items() if str(path)]
    recipes.save(recipe, folder)
    write_curves(folder, log_history)
    write_json(folder / "versions.json", versions())
    write_json(folder / "data.json", {"files": [file.as_dict() for file in files], "licences": read_licences(recipe.data.folder)})
    write_json(folder / DEAR, card(recipe, stage))
    (folder / SCORES).unlink(missing_ok=True)
    add_scores(folder, metrics or {})


def add_scores(folder: Path | str, metrics: Mapping[str, Any]) -> None:
    """Put measured scores (by set) beside weights that lie in `folder` already, keep those of other sets, and write the model card again."""
    folder = Path(folder)
    recipe, stage, data = recipes.load(folder / recipes.FILE), str(_read(folder / DEAR)["stage"]), _read(folder / "data.json")
    files = [DataFile(**file) for file in data["files"]]
    scores = (_read(folder / SCORES) if (folder / SCORES).is_file() else {}) | dict(metrics)
    write_json(folder / SCORES, scores)
    text = model_card(recipe, stage, files, summary(_read_curves(folder)), scores, _read(folder / "versions.json"), data["licences"])
    (folder / "README.md").write_text(text, encoding="utf-8")


def card(recipe: Recipe, stage: str) -> dict[str, Any]:
    """`dear.json`: which base the adapter belongs to and how its prompts are built (read by `dear.zoo.read_card`)."""
    section = getattr(recipe, stage)
    data = {
        "stage": stage,
        "base": recipe.model.base,
        "base_sha256": recipe.model.base_sha256 or recipes.digest(recipe.model.base),
        "layers": section.layers,
    }
    if stage == "pointwise":
        return data | {"prompt": "rankllama", "q_len": section.q_len, "p_len": section.p_len, "excerpt": section.excerpt}
    return data | {"prompt": section.prompt, "context": section.max_length}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the numbers; an absent package is left out."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe(role: str, path: Path) -> DataFile:
    """Name, SHA-256, number of rows and rows by source of a JSONL file (also .gz)."""
    if not path.is_file():
        raise BadInput(f"data file {role} {str(path)!r} does not exist: give the file the run was trained on")
    opener = gzip.open if path.suffix == ".gz" else open
    rows, sources = 0, Counter()
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                rows += 1
                sources[_source(line)] += 1
    sources.pop("", None)
    return DataFile(role, path.name, sha256(path), rows, dict(sources.most_common()))


def _source(line: str) -> str:
    try:
        row = json.loads(line)
        return str(row.get("source") or "") if isinstance(row, dict) else ""
    except ValueError:
        return ""


def write_curves(folder: Path, history: History) -> None:
    """The log as CSV (a row a step) and its losses as PNG; without matplotlib the picture is left out and the log says so."""
    rows = by_step(history)
    columns = ["step", *sorted({key for row in rows for key in row} - {"step"})]
    with (folder / CURVES).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    try:
        _draw(rows, folder / PICTURE)
    except ImportError:
        logger.warning("no loss picture, matplotlib is not installed: pip install matplotlib, then python -m training report")


def by_step(history: History) -> list[dict[str, float]]:
    """The numbers logged, one row a step, training and evaluation of the same step together.

    >>> by_step([{"step": 1, "loss": 2.0}, {"step": 1, "eval_loss": 3.0}])
    [{'step': 1, 'loss': 2.0, 'eval_loss': 3.0}]
    """
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        step = int(entry.get("step", 0))
        numbers = {key: value for key, value in entry.items() if isinstance(value, int | float) and not isinstance(value, bool)}
        rows.setdefault(step, {"step": step}).update(numbers)
    return [rows[step] for step in sorted(rows)]


def _draw(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    for name in sorted({key for row in rows for key in row if _is_loss(key)}):
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points), label=name, marker="o" if len(points) < 30 else "", markersize=3, linewidth=1)
    if axes.lines:
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _is_loss(key: str) -> bool:
    return key.endswith(("loss", "cross_entropy", "ranknet", "kl")) and key != "train_loss"


def summary(history: History) -> dict[str, float]:
    """First and last of what matters: steps, training loss (first, last), evaluation loss (last, best), seconds since it was last started.

    A run that was cut and went on counts only its last piece, as the trainer does: the whole time is not known here.
    """
    rows = by_step(history)
    losses = [row["loss"] for row in rows if "loss" in row]
    evals = [row["eval_loss"] for row in rows if "eval_loss" in row]
    found: dict[str, float] = {"steps": rows[-1]["step"]} if rows else {}
    if losses:
        found |= {"first loss": losses[0], "last loss": losses[-1]}
    if evals:
        found |= {"last dev loss": evals[-1], "best dev loss": min(evals)}
    seconds = [row["train_runtime"] for row in rows if "train_runtime" in row]
    return found | ({"seconds since the last start": seconds[-1]} if seconds else {})


def read_licences(folder: Path) -> dict[str, str]:
    """Licence by set from SOURCES.tsv in the data's folder (columns set and licence), and the teaching corpus' own."""
    path = folder / "SOURCES.tsv"
    if not path.is_file():
        return OURS
    with path.open(encoding="utf-8", newline="") as file:
        return OURS | {row["set"]: row.get("licence") or "" for row in csv.DictReader(file, delimiter="\t") if row.get("set")}


@dataclass(frozen=True, slots=True)
class Run:
    """A stage found on disk: its folder, the log so far and whether it has ended."""

    stage: str
    folder: Path
    history: tuple[Mapping[str, Any], ...]
    ended: bool


def rebuild(recipe: Recipe) -> list[Run]:
    """Draw the curves of every stage that has run, or is running, under the recipe's output folder; raises `BadInput` where there is none."""
    runs = [run for stage in ("pointwise", "listwise") if (run := find_run(recipe.folder(stage), stage))]
    if not runs:
        raise BadInput(f"{recipe.output.folder} holds no run: train first, or set output.folder=FOLDER")
    for run in runs:
        write_curves(run.folder, run.history)
    return runs


def find_run(folder: Path, stage: str) -> Run | None:
    """The run in `folder`: the newest trainer_state.json of its checkpoints, or the CSV a finished run left."""
    ended = (folder / "adapter_model.safetensors").is_file() and (folder / CURVES).is_file()
    if ended:
        return Run(stage, folder, tuple(_read_curves(folder)), True)
    states = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name.rpartition("-")[2]))
    if not states:
        return None
    return Run(stage, folder, tuple(json.loads(states[-1].read_text(encoding="utf-8"))["log_history"]), False)


def _read_curves(folder: Path) -> list[dict[str, float]]:
    with (folder / CURVES).open(encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def table(runs: Iterable[Run]) -> str:
    """The runs as lines for a terminal."""
    lines = []
    for run in runs:
        numbers = ", ".join(f"{name} {value:g}" for name, value in islice(summary(run.history).items(), 6))
        lines.append(f"{run.stage:10s} {'ended' if run.ended else 'going'}  {numbers}  {run.folder / CURVES}")
    return "\n".join(lines)
