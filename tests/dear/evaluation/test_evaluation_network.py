"""The registry's network rows from the places that a download fills, by the code that downloads: a real Lucene index where Pyserini
keeps its prebuilt ones, topics and qrels in Anserini's formats under Anserini's names. The proxy leads nowhere, so nothing else is read.
"""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_benchmarks import QRELS, QUERIES, write_raw_index

from corpora.jvm import in_java, java_class
from corpora.prebuilt import prebuilt_names
from dear.evaluation.benchmarks import BENCHMARKS
from dear.evaluation.opening import Want, open_benchmark
from dear.evaluation.run import Plan, evaluate

ROOT = Path(__file__).parents[3]
ROWS = [row for row in BENCHMARKS.values() if row.index]
ANSWERS = {"what covers most of the earth": ["salt water"], "who eats krill": ["a penguin"]}


@in_java
def downloads(row):
    """The names a row's download has: the index's folder, the topics' file, the qrels' file or None."""
    from pyserini.prebuilt_index_info import TF_INDEX_INFO

    index = TF_INDEX_INFO[row.index]
    topics = java_class("io.anserini.search.topicreader.Topics").valueOf(row.topics).path
    qrels = None if row.by_answer else java_class("io.anserini.eval.Qrels").valueOf(row.qrels).path
    return f"{index['filename'].removesuffix('.tar.gz')}.{index['md5']}", str(topics), qrels and str(qrels)


def queries(row):
    """The ids a row's topics have: numbers in the Deep Learning tracks, any words in BEIR, places in DPR's file."""
    return ["0", "1"] if row.by_answer else [str(n) if row.reader == "TsvInt" else f"{row.topics[:4]}-{n}" for n in range(101, 101 + len(QUERIES))]


def write_topics(row, file):
    if row.by_answer:
        text = "".join(f"{question}\t{answers}\n" for question, answers in ANSWERS.items())
    else:
        text = "".join(f"{id_}\t{query}\n" for id_, query in zip(queries(row), QUERIES.values(), strict=True))
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A home and a Pyserini cache in which every row's download is there."""
    prebuilt_names()  # readies Pyserini's tables
    home = tmp_path_factory.mktemp("home")
    indexes, files = home / "pyserini" / "indexes", home / ".cache" / "pyserini" / "topics-and-qrels"
    (home / "index").mkdir()
    write_raw_index(str(home / "index"))
    indexes.mkdir(parents=True)
    files.mkdir(parents=True)
    for row in ROWS:
        index, topics, qrels = downloads(row)
        if not (indexes / index).exists():
            (indexes / index).symlink_to(home / "index")
        write_topics(row, files / topics)
        if qrels:
            judged = zip(queries(row), QRELS.values(), strict=False)  # the last query has no judgment
            lines = [f"{id_} 0 {passage} {grade}\n" for id_, grades in judged for passage, grade in grades.items()]
            (files / qrels).write_text("".join(lines), encoding="utf-8")
    return home


def test_every_network_row_is_measured_from_what_a_download_leaves(mirror, tmp_path):
    options = ["--model", "fake", "--stages", "bm25,pointwise", "--peers", "bm25", "--no-explain", "--json", "--out"]
    call = [sys.executable, "-m", "dear", "evaluate", *(row.name for row in ROWS), *options, str(tmp_path / "out")]
    java = f"-Duser.home={mirror} -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9"
    environment = {"JAVA_TOOL_OPTIONS": java, "PYSERINI_CACHE": str(mirror / "pyserini"), "https_proxy": "http://127.0.0.1:9"}
    result = subprocess.run(call, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(text) for text in result.stdout.splitlines()]
    assert [line["benchmark"] for line in lines] == [row.name for row in ROWS]
    for line, row in zip(lines, ROWS, strict=True):
        assert f"Pyserini's prebuilt index {row.index}" in line["notes"]
        assert f"{line['queries']} queries where the benchmark has {row.queries}" in line["notes"]
        assert line["queries"] == (len(ANSWERS) if row.by_answer else len(QRELS))
        first = line["rows"][0]
        assert (first["stage"], first[row.main]) == ("bm25", 50.0 if row.by_answer else pytest.approx(100, abs=10))
        assert {figure["system"] for figure in line["published"]} >= {"DeAR-L-8B"}
    run = (tmp_path / "out" / "beir-covid.bm25.trec").read_text(encoding="utf-8")
    assert run.startswith("BEIR-101 Q0 sky-1 1 ")


@pytest.mark.network
@pytest.mark.parametrize(("name", "queries"), [("beir/scifact", 300), ("beir/nfcorpus", 323)])
def test_for_real(name, queries, room):
    opened = open_benchmark(name, Want(), room)
    assert len(opened) == queries == opened.benchmark.queries
    assert max(len(question.pool) for question in opened) == 100


@pytest.mark.network
def test_bm25_for_real_is_the_published_one(room):
    (result,) = evaluate(Plan(("beir/scifact",), stages=("bm25",), peers=(), explain=False), room)
    assert result.line["rows"][0]["ndcg@10"] == pytest.approx(67.89, abs=0.1)
