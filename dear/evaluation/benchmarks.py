"""The registry of benchmarks: where each one's text, topics and judgments come from, how it is measured, what is published.

Figures are percent. Sources of the published ones, by key:

- `dear`: DeAR, arXiv 2508.16998, and the tables of its repository's README (github.com/DataScienceUIBK/DeAR-Reranking);
- `rankgpt`: RankGPT, arXiv 2304.09542. The eight BEIR figures of each system there average to the 43.42 (BM25),
  51.36 (monoT5-3B) and 53.68 (GPT-4) it prints, which guards the copies here against slips; NovelEval's are also in the
  README of its data (github.com/sunnweiwei/RankGPT, NovelEval).

The DeAR tables give DBPedia, SciFact, News and Signal the very figures that RankGPT reports for GPT-4; `Published.note` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dear.errors import BadInput

Pool = Literal["bm25", "all"]  # what is ranked where no candidates are given: BM25's best, or the whole corpus

DEAR = "DeAR, arXiv 2508.16998"
RANKGPT = "RankGPT, arXiv 2304.09542"
SAME_AS_GPT4 = "to the last digit the figure RankGPT reports for GPT-4"


@dataclass(frozen=True, slots=True)
class Published:
    """What a paper reports for a system on a benchmark: columns as in our tables, in percent; absent columns are not reported.

    `stage` is the stage here that does what the system does, if with another model; its figures are shown side by side.
    """

    system: str
    source: str
    values: Mapping[str, float] = field(default_factory=dict)
    seconds_per_query: float | None = None
    note: str = ""
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the registry. `folders` are the names its folder may have below `--data`.

    `index`, `topics`, `qrels` are Pyserini's prebuilt index and Anserini's constants, for use with a network. `relevant` is the
    lowest grade that MRR counts as relevant (TREC's passage tracks: 2); nDCG takes every grade as its gain, as trec_eval does.
    """

    name: str
    title: str
    queries: int | None = None  # judged ones
    folders: tuple[str, ...] = ()
    index: str = ""
    topics: str = ""
    qrels: str = ""
    reader: str = "TsvString"  # Anserini's reader of the topics file
    pool: Pool = "bm25"
    relevant: int = 1
    by_answer: bool = False  # judged by answer strings instead of qrels
    gain: str = "grade"
    published: tuple[Published, ...] = ()

    @property
    def measures(self) -> tuple[tuple[str, str], ...]:
        """(column, ir-measures' name) of each measure, the main one first in `main`."""
        if self.by_answer:
            return tuple((f"top@{k}", f"Success@{k}") for k in (1, 5, 20)) + (("mrr@10", "RR@10"),)
        rr = f"RR(rel={self.relevant})@10" if self.relevant != 1 else "RR@10"
        return ("ndcg@1", "nDCG@1"), ("ndcg@5", "nDCG@5"), ("ndcg@10", "nDCG@10"), ("mrr@10", rr)

    @property
    def main(self) -> str:
        """The column the benchmark is known for, whose confidence interval is given."""
        return "top@1" if self.by_answer else "ndcg@10"


def _reported(column: str, bm25: float, monot5: float, gpt4: float, dear: float, note: str = "") -> tuple[Published, ...]:
    return (
        Published("BM25", RANKGPT, {column: bm25}, stage="bm25"),
        Published("monoT5-3B", RANKGPT, {column: monot5}),
        Published("RankGPT-4", RANKGPT, {column: gpt4}),
        Published("DeAR-L-8B", DEAR, {column: dear}, note=note, stage="listwise"),
    )


def _track(year: int, queries: int, qrels: str, topics: str, figures: tuple[float, float, float, float], times: tuple[Published, ...]) -> Benchmark:
    return Benchmark(
        f"dl{year}",
        f"TREC Deep Learning 20{year}, passages",
        queries,
        (f"dl{year}",),
        "msmarco-v1-passage",
        topics,
        qrels,
        "TsvInt",
        relevant=2,
        published=_reported("ndcg@10", *figures) + times,
    )


def _beir(short: str, title: str, name: str, queries: int, figures: tuple[float, float, float, float], note: str = "") -> Benchmark:
    constant = f"BEIR_V1_0_0_{name.upper().replace('-', '_')}_TEST"
    return Benchmark(
        f"beir/{short}",
        title,
        queries,
        tuple(dict.fromkeys((short, name))),
        f"beir-v1.0.0-{name}.flat",
        constant,
        constant,
        published=_reported("ndcg@10", *figures, note),
    )


# Seconds a query on DL19, top 100 (README of DeAR's repository); the nDCG@10 beside them is that timing run's own.
_TIMES = (
    Published("DeAR-P-8B (timed run)", DEAR, {"ndcg@10": 74.5}, 2.2, stage="pointwise"),
    Published("DeAR-L-8B (timed run)", DEAR, {"ndcg@10": 75.54}, 11.16, stage="listwise"),
)
_NOVEL = (
    Published("BM25", DEAR, {"ndcg@1": 33.33, "ndcg@5": 45.96, "ndcg@10": 55.77}, stage="bm25"),
    Published("monoT5-3B", RANKGPT, {"ndcg@1": 83.33, "ndcg@5": 78.38, "ndcg@10": 84.62}),
    Published("RankGPT-4", RANKGPT, {"ndcg@1": 85.71, "ndcg@5": 87.49, "ndcg@10": 90.45}),
    Published("DeAR-L-8B", DEAR, {"ndcg@1": 92.86, "ndcg@5": 88.04, "ndcg@10": 92.01}, stage="listwise"),
)

_ROWS = (
    _track(19, 43, "TREC2019_DL_PASSAGE", "TREC2019_DL_PASSAGE", (50.58, 71.83, 75.59, 77.91), _TIMES),
    _track(20, 54, "TREC2020_DL_PASSAGE", "TREC2020_DL", (47.96, 68.89, 70.56, 75.63), ()),
    _beir("covid", "BEIR TREC-COVID", "trec-covid", 50, (59.47, 80.71, 85.51, 88.36)),
    _beir("nfcorpus", "BEIR NFCorpus", "nfcorpus", 323, (30.75, 38.97, 38.47, 40.56)),
    _beir("touche", "BEIR Touché 2020", "webis-touche2020", 49, (44.22, 32.41, 38.57, 37.23)),
    _beir("dbpedia", "BEIR DBPedia-Entity", "dbpedia-entity", 400, (31.80, 44.45, 47.12, 47.12), SAME_AS_GPT4),
    _beir("scifact", "BEIR SciFact", "scifact", 300, (67.89, 76.57, 74.95, 74.95), SAME_AS_GPT4),
    _beir("news", "BEIR TREC-NEWS", "trec-news", 57, (39.52, 48.49, 52.89, 52.89), SAME_AS_GPT4),
    _beir("robust04", "BEIR Robust04", "robust04", 249, (40.70, 56.71, 57.55, 62.18)),
    _beir("signal", "BEIR Signal-1M", "signal1m", 97, (33.05, 32.55, 34.40, 34.40), SAME_AS_GPT4),
    Benchmark("noveleval", "NovelEval-2306: 21 queries, 20 passages each", 21, ("noveleval",), published=_NOVEL),
    Benchmark(
        "nq",
        "Natural Questions, Wikipedia passages, by DPR's answer match",
        3610,
        ("nq",),
        "wikipedia-dpr-100w",
        "NQ_TEST",
        reader="DprNq",
        by_answer=True,
        gain="the passage holds an answer",
        published=(Published("DeAR-L-8B", DEAR, {"top@1": 54.29}, stage="listwise"),),
    ),
    Benchmark("teaching", "Teaching corpus: 600 passages; 216 train, 36 dev and 48 test queries", None, pool="all"),
    Benchmark("dl-sub", "TREC Deep Learning queries over 5,000 MS MARCO passages", 43, ("dl-sub",), relevant=2),
)
BENCHMARKS: Mapping[str, Benchmark] = {row.name: row for row in _ROWS}


def lookup(name: str) -> Benchmark | None:
    """The registry's row of this name, or None (it may be a folder); `covid` finds `beir/covid`.

    >>> lookup("covid").name
    'beir/covid'
    """
    return BENCHMARKS.get(name) or BENCHMARKS.get(f"beir/{name}")


def unknown(name: str) -> BadInput:
    """The error for a name that is neither in the registry nor a folder."""
    return BadInput(f"no benchmark {name!r}: use one of {', '.join(BENCHMARKS)}, or a folder with corpus.jsonl, queries.jsonl and qrels.tsv")
