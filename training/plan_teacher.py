"""What scoring with the teacher will take: one pass forward over every pair of the pool, before false negatives are dropped.

Training then reads `mining.size` passages of a group, the teacher `mining.pool`: with a teacher larger than the student this is the
larger bill. Counted like `training.plan`; nothing is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from dear import zoo
from dear.engines.choice import SMALL
from training.plan import GB, GROUPS, OVERHEAD, asked_groups, device_of, hours_text, rows_of
from training.recipes import Recipe
from training.teacher import MINILM

READING = 0.4  # of the peak that a forward pass over short pairs reaches, where nothing was measured (assumed)
MINILM_LINEAR, MINILM_ALL = 10_616_832, 22_713_216  # weights: six layers of 384 with 1,536 between; with the embeddings


@dataclass(frozen=True, slots=True)
class TeacherPlan:
    """The bill of scoring: pairs or distinct passages, tokens, memory in bytes, hours (None where the teacher's shape is not known)."""

    name: str
    texts: int
    tokens: float
    memory: float | None
    hours: float | None
    assumptions: tuple[str, ...]


def plan_teacher(recipe: Recipe, *, gpu: str = "h100", gpus: int = 1) -> TeacherPlan | None:
    """The plan of `python -m training teacher`; None where the recipe names no labelled set.

    Raises `BadInput` on an unknown GPU, and what `zoo.resolve` raises on an unknown teacher.
    """
    device = device_of(gpu)
    if not recipe.data.train:
        return None
    groups = rows_of(recipe.mining.out) or asked_groups(recipe) or GROUPS
    pool, section = recipe.mining.pool, recipe.pointwise
    length = section.q_len + section.p_len
    texts = groups * pool
    tokens = float(texts * length)
    share = device.share if gpu.startswith("cpu") else READING
    said = (f"{groups:,} groups of {pool} passages, {length} tokens a pair; {gpu}: {share:.0%} of {device.tflops:g} TFLOP/s, {gpus} in all",)
    found = _weights(recipe)
    if found is None:
        return TeacherPlan(recipe.teacher.model, texts, tokens, None, None, (*said, "its size is not known before it is opened"))
    linear, memory, note = found
    hours = tokens * 2 * linear / (device.tflops * 1e12 * share * gpus) / 3600
    return TeacherPlan(recipe.teacher.model, texts, tokens, memory + (0 if gpu.startswith("cpu") else OVERHEAD), hours, (*said, note))


def _weights(recipe: Recipe) -> tuple[int, int, str] | None:
    """Weights that a token meets, bytes of all, and how they are held; None where the shape is not known."""
    name, precision = recipe.teacher.model, recipe.teacher.precision
    if name == MINILM:
        return MINILM_LINEAR, MINILM_ALL * 4, "fp32; each distinct passage is read once, all are counted as distinct"
    if name.startswith(("bi-encoder:", "cross-encoder:")):
        return None
    found = zoo.resolve(name).pointwise
    if found is None or found.shape is None or found.bytes_bf16 is None or found.bytes_nf4 is None:
        return None
    linear = found.shape.linear(found.layers)
    if precision == "nf4" or (precision == "auto" and (found.parameters or 0) >= SMALL):
        return linear, found.bytes_nf4, "weights in NF4"
    wide = 2 if precision == "fp32" else 1
    return linear, found.bytes_bf16 * wide, "weights in " + ("fp32" if wide == 2 else "bf16")


def text(found: TeacherPlan) -> str:
    """The plan as lines for a terminal."""
    head = f"teacher {found.name}: {found.texts:,} pairs to score, {found.tokens:,.0f} tokens"
    bill = "" if found.hours is None or found.memory is None else f", {found.memory / GB:.2f} GB, about {hours_text(found.hours)}"
    return "\n".join([head + bill, *(f"  assumed: {said}" for said in found.assumptions)])
