"""What the command prints, the page explains; what the page promises, the command has."""

import re
from pathlib import Path

from dear.evaluation.benchmarks import BENCHMARKS
from dear.evaluation.explanations import flat
from dear.evaluation.opening import Want
from dear.evaluation.run import Plan, evaluate
from dear.evaluation.show import registry

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
ROOM = ROOT / "dear" / "evaluation"


def test_every_figure_is_documented(small, room):
    plan = Plan((str(small),), model="fake", peers=(), shuffles=1, want=Want(limit=1), stages=("bm25", "pointwise", "listwise", "fast"))
    (result,) = evaluate(plan, room)
    documented = set(re.findall(r"`([^`]+)`", PAGE))
    names = {part for name, _ in flat(result.line["explanations"]) for part in name.split(".")}
    stages = {"bm25", "pointwise", "listwise", "fast", *result.line["explanations"]["agreement"]}
    assert names - stages <= documented
    assert {"seconds_per_query", "seconds_total", "ci95", "comparisons", "mrr@10"} <= documented


def test_options_on_the_page_exist():
    import inspect

    import dear.__main__ as command

    known = {f"--{name.replace('_', '-')}" for name in inspect.signature(command.evaluate).parameters} | {"--json", "--list"}
    assert set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE)) <= known


def test_the_registry_as_text_names_every_benchmark_with_its_sources():
    text = registry()
    for name, row in BENCHMARKS.items():
        assert f"{name}: {row.title}" in text
    assert "DeAR-L-8B: ndcg@10 77.91 (DeAR, arXiv 2508.16998)" in text
    assert "index msmarco-v1-passage, topics TREC2020_DL, judgments TREC2020_DL_PASSAGE" in text
