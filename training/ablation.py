"""Which part of the hybrid loss does what: the same student by CE, CE + RankNet, CE + KL and all three, over several seeds.

The paper's claim is that the hybrid keeps scores calibrated; so beside nDCG@10 stands the calibration error after Platt scaling.
Every run is a stage 1 by the recipe with its own loss weights and seed, in a folder of its own; runs that are there are not
made again, so the command goes on where it was cut. The folder's name has a digest of all that the result depends on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dear.errors import BadInput
from dear.metrics import evaluate
from training.calibration import error_after_platt
from training.groups import Group, read_groups
from training.prepare import teaching_groups
from training.recipes import Recipe
from training.saving import write_json

logger = logging.getLogger(__name__)

PARTS = {"CE": (), "CE + RankNet": ("ranknet",), "CE + KL": ("kl",), "CE + RankNet + KL": ("ranknet", "kl")}
RESULT = "ablation.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run on the dev groups: nDCG@10 in per cent and the calibration error after Platt scaling in points of probability."""

    loss: str
    seed: int
    ndcg: float
    ece: float


def ablate(recipe: Recipe, seeds: Sequence[int], pairs: int) -> Iterator[Outcome]:
    """Train and measure every loss with every seed on about `pairs` pairs; yields as runs end.

    They are measured on the groups of `pointwise.dev`, or where that is empty on the teaching corpus' dev topics.
    """
    from training.pointwise import train

    dev = list(read_groups(recipe.pointwise.dev) if recipe.pointwise.dev else teaching_groups("dev"))
    for loss in PARTS:
        for seed in seeds:
            one = variant(recipe, loss, seed, pairs, dev)
            result = one.folder("pointwise") / RESULT
            if not result.is_file():
                folder = train(one)
                write_json(result, asdict(measure(loss, seed, dev, scores_of(folder, dev))))
            yield Outcome(**json.loads(result.read_text(encoding="utf-8")))


def variant(recipe: Recipe, loss: str, seed: int, pairs: int, dev: Sequence[Group] = ()) -> Recipe:
    """The recipe with one loss of `PARTS`, a seed, steps for about `pairs` pairs, no evaluation on the way and a folder of its own."""
    settings = recipe.pointwise
    kept = PARTS[loss]
    weights = {name: getattr(settings, name) if name in kept else 0.0 for name in ("ranknet", "kl")}
    if settings.cross_entropy <= 0 or any(weights[name] <= 0 for name in kept):
        raise BadInput(f"the recipe gives a part of {loss!r} the weight 0: set pointwise.cross_entropy, ranknet and kl above 0")
    steps = max(1, round(pairs / (settings.groups_per_step * settings.gradient_accumulation * recipe.mining.size)))
    stage = replace(settings, **weights, seed=seed, max_steps=steps, dev="", save_steps=steps)
    one = replace(recipe, pointwise=stage)
    folder = Path(recipe.output.folder) / "ablation" / f"{loss.lower().replace(' + ', '-')}-{seed}-{_digest(one, steps, dev)}"
    return replace(one, output=replace(recipe.output, folder=str(folder)))


def _digest(recipe: Recipe, steps: int, dev: Sequence[Group]) -> str:
    from training.running import identity

    said = json.dumps([identity(recipe, "pointwise"), steps, [asdict(group) for group in dev]], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def scores_of(folder: Path, groups: Sequence[Group]) -> list[list[float]]:
    """Scores of a trained student, a list a group, through the engine that inference uses."""
    from training.teacher import open_teacher

    return open_teacher(str(folder))(groups)


def measure(loss: str, seed: int, groups: Sequence[Group], scores: Sequence[Sequence[float]]) -> Outcome:
    """nDCG@10 and calibration of scores against the groups' labels; any grade above 0 counts as relevant for calibration."""
    run = {g.query_id: {c.id: s for c, s in zip(g.passages, row, strict=True)} for g, row in zip(groups, scores, strict=True)}
    qrels = {g.query_id: {c.id: c.label for c in g.passages} for g in groups}
    pairs = [(row, [c.label > 0 for c in g.passages]) for g, row in zip(groups, scores, strict=True)]
    return Outcome(loss, seed, round(100 * evaluate(run, qrels)["nDCG@10"], 2), round(100 * error_after_platt(pairs), 2))


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: mean and standard deviation over the seeds of every loss."""
    lines = ["| loss | seeds | nDCG@10 | ECE after Platt, points |", "| --- | --- | --- | --- |"]
    for loss in PARTS:
        found = [o for o in outcomes if o.loss == loss]
        if found:
            lines.append(f"| {loss} | {len(found)} | {_spread([o.ndcg for o in found])} | {_spread([o.ece for o in found])} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")
