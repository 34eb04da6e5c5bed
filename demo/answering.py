"""Whether any candidate scores as an answer: a run's best pointwise score against the level that answered queries reach. Pure.

Training fixes how far scores are apart and not where they lie (all of its losses stay the same when every score of a list is shifted), so
the level is measured: `python -m demo.answer_level`. It holds for the weights it was measured with, and nothing is said for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from dear.cache import sha256
from dear.zoo import NANO

WEIGHTS = NANO / "pointwise" / "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Level:
    """The score that every answered query of the `answered` development queries reached with its best passage, for one state of the weights."""

    model: str  # as chips name it
    weights: str  # SHA-256 of the adapter
    score: float
    answered: int


LEVEL = Level("dear-nano", "f953044995c42bceb37ace5d0671bbcab6bbc9c4bc7f3aba97d2cf3ef28efc19", -3.6, 36)


def level_of(engine: str) -> Level | None:
    """The level for a pointwise engine by its chip ("dear-nano · fp32 · CPU"); None where none was measured."""
    name, *rest = (part.strip() for part in engine.split("·"))
    return LEVEL if name == LEVEL.model and "zero-shot" not in rest and _weights() == LEVEL.weights else None


def nothing_answers(engine: str, scores: Mapping[str, float]) -> tuple[float, Level] | None:
    """The best score and the level it stays below; None where it does not, or where nobody can say.

    >>> nothing_answers("another · fp32 · CPU", {"a": -9.0}) is None
    True
    """
    level, best = level_of(engine), max(scores.values(), default=None)
    return (best, level) if level and best is not None and best < level.score else None


@cache
def _weights() -> str:
    return sha256(WEIGHTS) if WEIGHTS.is_file() else ""
