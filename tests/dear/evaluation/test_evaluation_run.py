"""The whole of it, from plan to JSON line, files and command line."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_benchmarks import QRELS, timeless

from dear.errors import BadInput, CheckpointError
from dear.evaluation.opening import Want
from dear.evaluation.run import Plan, evaluate
from dear.evaluation.show import command, show
from dear.runs import read_trec
from dear.zoo import CHECKPOINTS

ROOT = Path(__file__).parents[3]
MODEL_STAGES = ("bm25", "pointwise", "listwise", "fast")
ROW = {"stage", "ndcg@1", "ndcg@5", "ndcg@10", "mrr@10", "ci95", "seconds_per_query"}


def plan(folder, **options):
    given = {"model": "fake", "stages": MODEL_STAGES, "peers": ("bm25",), "shuffles": 2, "max_tokens": 2000}
    return Plan((str(folder),), **{**given, **options})


def line_of(folder, room, **options):
    (result,) = evaluate(plan(folder, **options), room)
    return result.line


def test_the_line_of_a_benchmark(small, room):
    line = line_of(small, room)
    assert {"benchmark", "model", "engine", "queries", "rows", "explanations", "peers"} <= set(line)
    assert (line["benchmark"], line["model"], line["queries"]) == ("small", "fake", len(QRELS))
    assert [row["stage"] for row in line["rows"]] == list(MODEL_STAGES)
    for row in line["rows"]:
        assert set(row) >= ROW
        assert 0 <= row["ci95"][0] <= row["ndcg@10"] <= row["ci95"][1] <= 100
        assert row["seconds_total"] >= row["seconds_per_query"] > 0
    assert [row["after"] for row in line["rows"]] == ["", "bm25", "pointwise", "pointwise"]
    assert json.loads(json.dumps(line)) == line


def test_explanations_of_the_scripted_model(small, room):
    found = line_of(small, room)["explanations"]
    assert found["windows"] == 3
    assert found["parsed"] == found["grounded"] == 100.0
    assert found["quotes"] > 0
    assert found["order_agreement"] == 1.0
    assert found["agreement"]["listwise-fast"]["tau"] == 1.0  # both order by overlap
    assert set(found["injection"]) == {"pointwise", "listwise", "fast"}
    assert set(found["position_bias"]) == {"listwise", "fast"}
    assert found["sufficiency"]["sentences"] > 0
    assert line_of(small, room, explain=False)["explanations"] == {}


def test_a_repeated_run_is_the_same_to_the_last_second(small, room):
    first, second = line_of(small, room, stages=("pointwise",)), line_of(small, room, stages=("pointwise",))
    (one,), (two,) = first["rows"], second["rows"]
    assert one["seconds_per_query"] == two["seconds_per_query"] > 0  # the second is told what the first took
    assert timeless(one) == timeless(two)


def test_real_checkpoints_of_both_stages(small, room, tiny_scorer, tiny_causal, tmp_path):
    """Random weights, real engines: every stage runs, and the padded reference ranks as the student does."""
    model = tmp_path / "student"
    shutil.copytree(tiny_scorer, model / "pointwise")
    shutil.copytree(tiny_causal, model / "listwise")
    options = {"model": str(model), "engine": "transformers", "peers": ("reference", "reference-windows"), "max_tokens": 16, "shuffles": 1}
    line = line_of(small, room, **options, window=7, top=7)
    rows = {row["stage"]: row for row in [*line["rows"], *line["peers"]]}
    assert rows["reference"]["ndcg@10"] == rows["pointwise"]["ndcg@10"]
    assert rows["reference-windows"]["ndcg@10"] == rows["pointwise"]["ndcg@10"]  # no pool fills a window of seven: it reads none
    assert rows["reference-windows"]["after"] == "pointwise"
    assert line["explanations"]["windows"] == 3
    assert timeless(line_of(small, room, **options, window=7, top=7)) == timeless(line)


def test_listwise_without_pointwise_reads_the_first_stage(small, room):
    line = line_of(small, room, stages=("fast",), peers=())
    assert [row["after"] for row in line["rows"]] == ["bm25"]


def test_files(small, room, tmp_path):
    out = tmp_path / "out"
    (text,) = show(plan(small), room, out, as_json=False)
    assert "small: 3 queries" in text
    assert json.loads((out / "small.json").read_text(encoding="utf-8"))["queries"] == 3
    run = dict(read_trec(out / "small.pointwise.trec"))
    assert set(run) == set(QRELS)
    with open(out / "small.queries.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["query"], row["stage"]) for row in rows} == {(query, stage) for query in QRELS for stage in MODEL_STAGES}
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "| fake listwise | measured here |" in table
    assert f"python -m dear evaluate {small} --model fake" in table  # the folder itself, so that the command finds it
    assert (out / "table.csv").read_text(encoding="utf-8").startswith("benchmark,system,from,")
    with open(out / "paper.csv", encoding="utf-8") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"bm25", "fake pointwise", "fake listwise", "fake fast"}
    assert all(row["measured here"] and row["command"] and not row["paper"] for row in rows.values())
    assert (out / "small.png").stat().st_size > 5000


def test_a_run_file_measures_to_what_the_line_says(small, room, tmp_path):
    from dear.metrics import evaluate as measure

    (line,) = (json.loads(text) for text in show(plan(small), room, tmp_path, as_json=True))
    run = {query: {passage: score for _, passage, _, score in rows} for query, rows in read_trec(tmp_path / "small.fast.trec")}
    stated = next(row for row in line["rows"] if row["stage"] == "fast")["ndcg@10"]
    assert 100 * measure(run, QRELS)["nDCG@10"] == pytest.approx(stated, abs=0.005)


def test_published_figures_stand_beside_the_measured(staged, room, tmp_path):
    given = Plan(("dl19",), model="fake", stages=("bm25", "listwise"), want=Want(data=staged.parent), peers=(), explain=False)
    (text,) = show(given, room, tmp_path, as_json=True)
    line = json.loads(text)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| DeAR-L-8B | paper |  |  | 77.91 |" in table
    assert "| bm25 | measured here |" in table
    assert "| system | measure | paper | measured here | 95% CI | command |" in table
    bm25, listwise = (f"{row['ndcg@10']:.2f} | {row['ci95'][0]:.1f}–{row['ci95'][1]:.1f} | python -m dear evaluate dl19 " for row in line["rows"])
    assert f"| BM25 | ndcg@10 | 50.58 | {bm25}" in table
    assert f"| DeAR-L-8B (here fake listwise) | ndcg@10 | 77.91 | {listwise}" in table
    assert "| monoT5-3B | ndcg@10 | 71.83 |  |  |  | RankGPT, arXiv 2304.09542 |" in table  # not measured, so there is no command
    assert "| DeAR-L-8B (timed run) (here fake listwise) | s/query | 11.16 | " in table


def test_the_command_in_the_table_is_the_plan():
    given = Plan(("x",), model="dear-8b", want=Want(limit=3, data=Path("my data")), top=5)
    stages = "bm25,dense,pointwise,listwise,fast"
    expected = f"python -m dear evaluate x --model dear-8b --stages {stages} --engine auto --data 'my data' --limit 3 --top 5"
    assert command(given, "x") == expected
    assert command(Plan(("x",), probes=0, explain=False, max_tokens=64), "x").endswith("--engine auto --max-tokens 64 --probes 0 --no-explain")


AS_IN_THE_PAPER = {"top": 100, "window": 20, "stride": 10, "max_tokens": 1024}
LISTS = [name for name, checkpoint in CHECKPOINTS.items() if checkpoint.stage == "listwise"]


@pytest.mark.parametrize("model", ["dear-8b", *LISTS, *(f"abdoelsayed/{name}" for name in LISTS), "openai:any@http://host:1/v1"])
def test_published_models_read_as_in_the_paper(model):
    found = Plan(("x",), model=model, stages=("listwise",))
    assert found.reach() == AS_IN_THE_PAPER
    assert found.want.depth == 100
    settings = found.settings(reasoning=True)
    assert (settings.depth, settings.window, settings.stride, settings.max_tokens) == (100, 20, 10, 1024)


def test_input_is_shuffled_ten_times():
    import inspect

    import dear.__main__ as command_line

    assert Plan(("x",)).shuffles == inspect.signature(command_line.evaluate).parameters["shuffles"].default == 10


def test_what_would_fail_late_fails_first(small, room):
    asked = []
    with pytest.raises(CheckpointError, match="cannot be opened as a CrossEncoder"):
        next(evaluate(plan(small, peers=("/no/such/folder",)), room, progress=lambda items, what, total: asked.append(what) or items))
    assert asked == []
    with pytest.raises(BadInput, match="two benchmarks are called 'small'"):
        Plan((str(small), "elsewhere/small"))
    with pytest.raises(BadInput, match="does not do the listwise stage"):
        Plan(("x",), model="dear-3b", stages=("pointwise",), peers=("reference-windows",))
    with pytest.raises(BadInput, match="precision 'fp16' is not known: use one of auto, "):
        Plan(("x",), stages=("pointwise",), precision="fp16")


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(small, room, tmp_path):
    from dear.evaluation.show import show

    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadInput, match="cannot hold the files"):
        next(show(plan(small), room, file, as_json=True))


def test_how_far_the_listwise_stage_goes():
    assert Plan(("x",)).reach() == {"top": 10, "window": 10, "stride": 5, "max_tokens": 320}
    assert Plan(("x",), model="dear-8b").reach() == AS_IN_THE_PAPER
    assert Plan(("x",), model="dear-8b", top=30).reach()["top"] == 30
    with pytest.raises(BadInput, match="stride 9 exceeds window 4"):
        Plan(("x",), window=4, stride=9)


def dear(*arguments, **environment):
    given = [sys.executable, "-m", "dear", *map(str, arguments)]
    return subprocess.run(given, cwd=ROOT, capture_output=True, text=True, timeout=240, env={**os.environ, **environment})


def test_the_command_line_prints_one_line_a_benchmark(small, staged):
    options = ("--model", "fake", "--stages", "bm25,fast", "--peers", "bm25", "--shuffles", "1", "--json")
    result = dear("evaluate", small, "dl19", "--data", staged.parent, *options)
    assert result.returncode == 0, result.stderr
    assert [json.loads(line)["benchmark"] for line in result.stdout.splitlines()] == ["small", "dl19"]
    assert re.search(r"fast: .*\d+/\d+ \[\d\d:\d\d<(\d\d:\d\d|\?)", result.stderr)  # done, of how many, and the time left


def test_the_command_line_says_what_is_wrong(small):
    for arguments, says in (
        (("nothing",), "no benchmark 'nothing'"),
        ((small, "--stages", "bm26"), "unknown stage 'bm26'"),
        (("nq", "--split", "x"), "split"),
    ):
        result = dear("evaluate", *arguments, "--model", "fake")
        assert result.returncode == 2
        assert says in result.stderr
        assert "Traceback" not in result.stderr
