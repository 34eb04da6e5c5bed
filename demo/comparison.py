"""Two configurations on the same candidates: what may be asked, in which order passages go in, and how far the results agree. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dear.errors import BadInput, DearError
from dear.explain import kendall_tau, rank_biased_overlap
from dear.types import Hit, Passage, Stage, check_query
from demo.limits import check_name, check_number

METHODS: Mapping[str, str] = {
    "retrieval": "Retrieval only",
    "pointwise": "Pointwise",
    "listwise": "Listwise, with reasoning",
    "listwise-fast": "Listwise, fast mode",
    "both": "Both stages, with reasoning",
    "both-fast": "Both stages, fast mode",
}
PRECISIONS: Mapping[str, str] = {"auto": "the usual", "fp32": "fp32", "bf16": "bf16", "int8": "int8", "int4": "int4", "nf4": "NF4"}
ORDERS: Mapping[str, str] = {"retrieved": "as retrieved", "shuffled": "shuffled", "reversed": "reversed"}
CANDIDATES = (4, 20, 10)  # least, most, default
SEED = 20  # of the shuffle: the same every time, so that a comparison can be repeated
DEPTHS = (1, 3, 5, 10)
DISAGREEMENTS = 3
Vote = Literal["left", "right", "tie", "skipped"]
VOTES: tuple[Vote, ...] = ("left", "right", "tie", "skipped")


@dataclass(frozen=True, slots=True)
class Setup:
    """One configuration: which stages rank, in what precision the listwise model runs, in which order the passages go in."""

    method: str = "pointwise"
    precision: str = "auto"
    order: str = "retrieved"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that run after retrieval."""
        if self.method == "retrieval":
            return ()
        if self.method == "pointwise":
            return ("pointwise",)
        return ("pointwise", "listwise") if self.method.startswith("both") else ("listwise",)

    @property
    def reasoning(self) -> bool:
        """Whether the listwise stage writes before it ranks."""
        return not self.method.endswith("-fast")

    def label(self) -> str:
        """In words, what is usual left out."""
        parts = [METHODS[self.method]]
        if "listwise" in self.stages and self.precision != "auto":
            parts.append(self.precision)
        if self.order != "retrieved":
            parts.append(f"{ORDERS[self.order]} input")
        return " · ".join(parts)


PRESETS: Mapping[str, tuple[Setup, Setup]] = {
    "Pointwise or listwise": (Setup("pointwise"), Setup("listwise")),
    "Reasoning or fast": (Setup("listwise"), Setup("listwise-fast")),
    "4 bits or 32": (Setup("listwise-fast", "int4"), Setup("listwise-fast", "fp32")),
    "Shuffled input": (Setup("listwise-fast"), Setup("listwise-fast", order="shuffled")),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One checked comparison."""

    query: str
    corpus: str
    model: str
    candidates: int
    setups: tuple[Setup, Setup]
    blind: bool = True


def check(
    query: object, corpus: object, model: object, candidates: object, blind: object, setups: Sequence[object],
    *, corpora: Collection[str], models: Collection[str],
) -> Asked:  # fmt: skip
    """The comparison asked for; `setups` are method, precision and order of the first, then of the second. Raises `BadInput`."""
    if not isinstance(query, str):
        raise BadInput("the query is not text: type a question")
    first, second = (_setup(*setups[i : i + 3]) for i in (0, 3))
    if first == second:
        raise BadInput("both configurations are the same: change the method, the precision or the input order of one")
    return Asked(
        check_query(query), check_name("corpus", corpus, corpora), check_name("model", model, models),
        check_number("number of candidates", candidates, CANDIDATES), (first, second), bool(blind),
    )  # fmt: skip


def _setup(method: object, precision: object, order: object) -> Setup:
    found = Setup(check_name("method", method, METHODS), check_name("precision", precision, PRECISIONS), check_name("input order", order, ORDERS))
    return found if "listwise" in found.stages else replace(found, precision="auto")  # the precision is the listwise stage's


def arranged(hits: Sequence[Hit], order: str) -> list[Passage]:
    """The candidates' passages in the order a configuration wants them in."""
    passages = [hit.passage for hit in hits]
    if order == "reversed":
        passages.reverse()
    elif order == "shuffled":
        random.Random(SEED).shuffle(passages)
    return passages


@dataclass(frozen=True, slots=True)
class Side:
    """What one configuration made of the candidates: hits best first, seconds, and what went wrong."""

    setup: Setup
    hits: tuple[Hit, ...] = ()
    seconds: float = 0.0
    problems: tuple[str, ...] = ()
    ndcg: float | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Passage ids best first."""
        return tuple(hit.id for hit in self.hits)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both results. `swapped` says that the second configuration is shown on the left; `vote` is None until the visitor voted."""

    query: str
    sides: tuple[Side, Side]
    swapped: bool = False
    vote: Vote | None = None
    judgments: Mapping[str, int] = field(default_factory=dict)

    @property
    def left(self) -> Side:
        """What is shown on the left."""
        return self.sides[1 if self.swapped else 0]

    @property
    def right(self) -> Side:
        """What is shown on the right."""
        return self.sides[0 if self.swapped else 1]

    def voted(self, vote: object) -> Comparison:
        """The comparison with its vote, which cannot be changed afterwards; raises `BadInput` on an unknown one."""
        if vote not in VOTES:
            raise BadInput(f"the vote {vote!r} is not known: use one of {', '.join(VOTES)}")
        return self if self.vote else replace(self, vote=vote)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two rankings of the same passages agree: overlap by depth, Kendall's tau, rank-biased overlap (p = 0.9)."""

    overlap: Mapping[int, float]
    tau: float
    rbo: float


def agreement(a: Sequence[str], b: Sequence[str]) -> Agreement:
    """Agreement of two orders of the same ids; overlap@k is the share of the first k that both name.

    >>> agreement(["a", "b"], ["b", "a"]).overlap
    {1: 0.0}
    """
    overlap = {k: len(set(a[:k]) & set(b[:k])) / k for k in DEPTHS if k < len(a) or k == 1}
    return Agreement(overlap, kendall_tau(a, b), rank_biased_overlap(a, b))


def disagreements(left: Side, right: Side) -> list[tuple[Hit, int, int]]:
    """The passages placed most differently, as (hit of the left side, rank left, rank right), the widest apart first."""
    places = {id: rank for rank, id in enumerate(right.ids, 1)}
    apart = [(hit, rank, places[hit.id]) for rank, hit in enumerate(left.hits, 1) if places[hit.id] != rank]
    return sorted(apart, key=lambda item: (-abs(item[1] - item[2]), min(item[1], item[2])))[:DISAGREEMENTS]


def tally(counts: Mapping[str, int], comparison: Comparison) -> dict[str, int]:
    """The session's wins by configuration, and "no difference", after this comparison's vote; what was skipped counts nothing."""
    counts = dict(counts)
    winner = {"left": comparison.left.setup.label(), "right": comparison.right.setup.label(), "tie": "No difference"}.get(comparison.vote or "")
    if winner:
        counts[winner] = counts.get(winner, 0) + 1
    return counts


def ndcg(ids: Sequence[str], judgments: Mapping[str, int]) -> float | None:
    """nDCG@10, or None where the query was not judged or the measure is not installed."""
    if not judgments:
        return None
    try:
        from dear.metrics import measure

        return measure(ids, judgments)["nDCG@10"]
    except (DearError, ImportError):
        return None
