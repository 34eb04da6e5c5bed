"""The README beside the weights: what they are, what made them, what was measured. Pure text, no claim that is not passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dear import zoo
from training.recipes import Recipe, as_dict

TITLES = {"pointwise": "stage 1: pointwise relevance scorer", "listwise": "stage 2: listwise reranker with reasons"}
USES = {
    "pointwise": "Scores one (query, passage) pair: `query: …` and `document: title text`, read at the last real token.",
    "listwise": "Reads a query with up to 20 passages and writes what the query needs, quoted evidence, and a ranking of all of them.",
}
LIMITS = (
    "- The reasons are generated text, not the cause of the ranking. A quote counts as evidence only where it is found in the cited passage.\n"
    "- English. Short passages (see the lengths above); longer ones are cut.\n"
    "- A small student repeats the mistakes of its data and teacher: check what it ranks before you rely on it."
)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file by what it is, not where it lay: role, name, SHA-256, rows, rows by source."""

    role: str
    name: str
    sha256: str
    rows: int
    sources: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"sources": dict(self.sources)}


def model_card(
    recipe: Recipe,
    stage: str,
    files: Sequence[DataFile],
    summary: Mapping[str, float],
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
    licences: Mapping[str, str],
) -> str:
    """The card as Markdown with the hub's front matter."""
    base = "HuggingFaceTB/SmolLM2-135M-Instruct" if recipe.model.base == zoo.EMBEDDED else recipe.model.base
    parts = [
        f"---\nlibrary_name: peft\nbase_model: {base}\ntags: [reranking, information-retrieval, lora]\npipeline_tag: text-ranking\n---",
        f"# {recipe.name}, {TITLES[stage]}",
        f"A LoRA adapter on {base}, trained by `python -m training {stage}` with the `recipe.yaml` beside this file "
        "after the method of DeAR (arXiv 2508.16998). " + USES[stage],
        "## Training\n" + _table(("setting", "value"), [(key, _show(value)) for key, value in as_dict(getattr(recipe, stage)).items()]),
        "Result: " + ", ".join(f"{name} {value:g}" for name, value in summary.items()) + ". Curves: `losses.csv`, `losses.png`." if summary else "",
        "## Data\n" + _data(files, licences),
        "## Measured\n" + (_metrics(metrics) if metrics else "Nothing was measured when this card was written."),
        "## Limits\n" + LIMITS,
        "## Versions\n" + ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(files: Sequence[DataFile], licences: Mapping[str, str]) -> str:
    rows = []
    for file in files:
        rows.append((file.role, file.name, f"{file.rows:,}", f"`{file.sha256[:16]}…`"))
    text = _table(("role", "file", "rows", "SHA-256"), rows)
    sources: dict[str, int] = {}
    for file in files:
        if file.role == "train":
            for name, count in file.sources.items():
                sources[name] = sources.get(name, 0) + count
    if sources:
        listed = [(name, f"{count:,}", licences.get(name, licences.get(name.partition("/")[2], ""))) for name, count in sources.items()]
        text += "\n\n" + _table(("source of the training rows", "rows", "licence"), listed)
    return text


def _metrics(metrics: Mapping[str, Any]) -> str:
    """One row a set; values may be numbers or a mapping of measures."""
    rows = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}: {measure}", _show(number)) for measure, number in value.items()]
        else:
            rows.append((name, _show(value)))
    return _table(("measure", "value"), rows)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e-3 or abs(value) >= 1e4 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows])
