"""The command line as a user runs it: a fresh process, real files, exit codes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dear.zoo import NANO

ROOT = Path(__file__).parents[2]
ROWS = [
    {"id": "a", "text": "Short waves scatter more, so the sky is blue.", "title": "Light"},
    {"id": "b", "text": "Bread rises in the oven."},
    {"id": "c", "text": "Why is my blue screen blue?"},
]


def dear(*arguments, **environment):
    command = [sys.executable, "-m", "dear", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, env={**os.environ, **environment})


@pytest.fixture
def passages(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_rerank_streams_events_and_ends_in_a_permutation(passages):
    result = dear("rerank", "why is the sky blue", "--passages", passages, "--stage", "both", "--model", "fake", "--json")
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [events[0]["type"], events[1]["type"], events[-1]["type"]] == ["Started", "Retrieved", "Final"]
    assert sorted(hit["id"] for hit in events[-1]["hits"]) == ["a", "b", "c"]
    assert [hit["rank"] for hit in events[-1]["hits"]] == [1, 2, 3]
    assert {"id", "rank", "scores"} <= set(events[-1]["hits"][0])


def test_a_recording_replays_to_the_same_events(passages, tmp_path):
    recording = tmp_path / "run.jsonl"
    recording.write_text(dear("rerank", "blue sky", "--passages", passages, "--model", "fake", "--json").stdout, encoding="utf-8")
    assert dear("replay", recording, "--json").stdout == recording.read_text(encoding="utf-8")
    words = dear("replay", recording).stdout
    assert "Retrieved 3 passages." in words
    assert "Final:" in words


def test_bulk_writes_shards_and_resumes(tmp_path):
    requests, out = tmp_path / "requests.jsonl", tmp_path / "out.jsonl"
    requests.write_text("".join(json.dumps({"query_id": f"q{i}", "query": "blue sky", "passages": ROWS}) + "\n" for i in range(4)), encoding="utf-8")
    arguments = ("rerank", "--requests", requests, "--out", out, "--model", "fake", "--stage", "pointwise")
    assert dear(*arguments).returncode == 0
    first = out.read_text(encoding="utf-8")
    assert len(first.splitlines()) == 4
    out.write_text(first[: len(first) // 2], encoding="utf-8")
    assert dear(*arguments).returncode == 0
    assert out.read_text(encoding="utf-8") == first


def test_search_prints_what_each_term_contributed():
    found = dear("search", "why is the sky blue", "--corpus", "teaching", "--json", "-k", "3")
    assert found.returncode == 0, found.stderr
    (event,) = [json.loads(line) for line in found.stdout.splitlines()]
    assert event["type"] == "Retrieved"
    assert [hit["rank"] for hit in event["hits"]] == [1, 2, 3]
    best = event["hits"][0]
    assert sum(term["weight"] for term in best["terms"]) == pytest.approx(best["scores"]["retrieval"], abs=2e-3)
    assert "1." in dear("search", "why is the sky blue", "-k", "1").stdout


def test_search_takes_bm25s_values():
    found = dear("search", "why is the sky blue", "--json", "-k", "3", "--k1", "0", "--b", "0")
    assert found.returncode == 0, found.stderr
    (event,) = [json.loads(line) for line in found.stdout.splitlines()]
    weights = {}
    for hit in event["hits"]:
        for term in hit["terms"]:
            weights.setdefault(term["term"], []).append(term["weight"])
    shared = [seen for seen in weights.values() if len(seen) > 1]
    assert shared
    assert all(len(set(seen)) == 1 for seen in shared), "with k1 0 a term counts once, however often it is there"
    refused = dear("search", "why is the sky blue", "--b", "2")
    assert refused.returncode == 2
    assert "--b" in refused.stderr


def test_a_run_is_reranked_over_its_corpus_in_shards(tmp_path):
    from corpora import teaching

    corpus = teaching.load()
    queries, ids = [q.id for q in corpus.queries[:6]], [p.id for p in corpus.passages[:5]]
    run = tmp_path / "bm25.trec"
    run.write_text("".join(f"{q} Q0 {id} {rank} {9 - rank} x\n" for q in queries for rank, id in enumerate(ids, 1)), encoding="utf-8")
    done = {}
    for shard in ("1/2", "2/2"):
        out = tmp_path / f"{shard[0]}.trec"
        found = dear("rerank", "--run", run, "--corpus", "teaching", "--model", "fake", "--candidates", "3", "--shard", shard, "--out", out)
        assert found.returncode == 0, found.stderr
        rows = [line.split() for line in out.read_text(encoding="utf-8").splitlines()]
        done |= {q: [row[2] for row in rows if row[0] == q] for q in {row[0] for row in rows}}
    assert sorted(done) == sorted(queries)
    assert all(sorted(ranked[:3]) == sorted(ids[:3]) and ranked[3:] == ids[3:] for ranked in done.values())


def test_unusable_queries_are_named_and_the_others_ranked(tmp_path):
    """Any number of them in a row: they say nothing of the engine."""
    requests, out = tmp_path / "requests.jsonl", tmp_path / "out.jsonl"
    asked = ["blue sky", *[" "] * 7, "bread"]
    requests.write_text(
        "".join(json.dumps({"query_id": f"q{i}", "query": q, "passages": ROWS}) + "\n" for i, q in enumerate(asked)), encoding="utf-8"
    )
    done = dear("rerank", "--requests", requests, "--out", out, "--model", "fake", "--stage", "pointwise")
    assert done.returncode == 1
    assert "7 queries could not be ranked" in done.stderr
    assert "query 'q3' is passed over: the query is empty" in done.stderr
    assert [json.loads(line)["query_id"] for line in out.read_text(encoding="utf-8").splitlines()] == ["q0", "q8"]


def cut(folder):
    """A student whose weights were cut while being copied."""
    shutil.copytree(NANO / "pointwise", folder / "cut")
    os.truncate(folder / "cut" / "adapter_model.safetensors", 3_000_000)
    return folder / "cut"


BAD = {
    "empty query": (lambda t, p: ("rerank", " ", "--passages", p), "the query is empty"),
    "long query": (lambda t, p: ("rerank", "x" * 10_000, "--passages", p), "10000 characters, the limit is 300"),
    "no query": (lambda t, p: ("rerank",), "there is no query"),
    "unknown model": (lambda t, p: ("rerank", "sky", "--passages", p, "--model", "dear-nana"), "dear-nano"),
    "unknown corpus": (lambda t, p: ("search", "sky", "--corpus", "teeching"), "teaching"),
    "no such file": (lambda t, p: ("rerank", "sky", "--passages", t / "none.jsonl"), "none.jsonl"),
    "row without text": (lambda t, p: ("rerank", "sky", "--passages", write(t, b'{"id": "a"}\n')), "row 1"),
    "not utf-8": (lambda t, p: ("rerank", "sky", "--passages", write(t, b'{"id": "a", "text": "\xff"}\n')), "UTF-8"),
    "duplicate ids": (lambda t, p: ("rerank", "sky", "--passages", write(t, b'{"id": "a", "text": "x"}\n' * 2)), "'a'"),
    "no passages": (lambda t, p: ("rerank", "sky", "--passages", write(t, b"")), "no rows"),
    "stride over window": (
        lambda t, p: ("rerank", "sky", "--passages", p, "--model", "fake", "--window", "5", "--stride", "9"),
        "stride 9 exceeds window 5",
    ),
    "no such requests": (lambda t, p: ("rerank", "--requests", t / "none.jsonl", "--out", t / "o.jsonl"), "none.jsonl"),
    "no such run": (lambda t, p: ("rerank", "--run", t / "none.trec", "--out", t / "o.trec"), "none.trec"),
    "cut weights": (lambda t, p: ("rerank", "sky", "--passages", p, "--model", cut(t), "--stage", "pointwise"), "is truncated"),
    "bulk without out": (lambda t, p: ("rerank", "--requests", p), "--out"),
    "damaged recording": (lambda t, p: ("replay", p), "unknown event"),
}


def write(folder, data):
    path = folder / "bad.jsonl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_exit_2(tmp_path, passages, case):
    make, says = BAD[case]
    result = dear(*make(tmp_path, passages))
    assert result.returncode == 2, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in result.stderr


def test_import_is_cheap_and_brings_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import dear, corpora, dear.pipeline; seconds = time.perf_counter() - start;"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'pyserini', 'gradio', 'sentence_transformers', 'onnxruntime'} & set(sys.modules);"
        "print(sorted(heavy), seconds < 2)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "[] True", result.stderr  # a fifth of a second when nothing else runs
