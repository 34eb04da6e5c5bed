"""Judgments, pools and runs."""

from __future__ import annotations

import gzip

import pytest

from corpora.rows import RowError
from corpora.trec import RunLine, read_candidates, read_qrels, read_run, stream_run
from dear.errors import BadInput


def write(tmp_path, text, name="f.tsv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    ["query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\nq2\ta\t1\n", "q1\ta\t2\nq1\tb\t0.0\nq2\ta\t1", "q1 0 a 2\nq1 0 b 0\nq2 0 a 1\n"],
)
def test_qrels(tmp_path, text):
    assert read_qrels(write(tmp_path, text)) == {"q1": {"a": 2, "b": 0}, "q2": {"a": 1}}
    assert read_qrels(write(tmp_path, text, "f.tsv.gz")) == read_qrels(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("q1\ta\t1\nq1\ta\t2\n", "row 2: passage 'a' is judged twice for query 'q1'"),
        ("q1\ta\thigh\n", "row 1: the grade 'high' is not a whole number"),
        ("q1\ta\t1.5\n", "row 1: the grade '1.5'"),
        ("q1\ta\tinf\n", "row 1: the grade 'inf'"),
        ("q1\ta\t1\n\nq1\tb\n", "row 3: 2 columns, 3 are wanted"),
        ("q1\t\t1\n", "row 1: 3 columns"),
        ("a b c d e\n", "row 1: 5 columns, 3 are wanted"),
    ],
)
def test_bad_qrels(tmp_path, text, problem):
    with pytest.raises(RowError) as caught:
        read_qrels(write(tmp_path, text))
    assert problem in str(caught.value)


def test_qrels_bad_bytes_and_missing_file(tmp_path):
    (tmp_path / "f.tsv").write_bytes(b"q1\ta\t1\nq\xe9\tb\t1\n")
    with pytest.raises(RowError, match="row 2: byte 0xe9 at byte offset 8"):
        read_qrels(tmp_path / "f.tsv")
    with pytest.raises(BadInput, match="cannot be opened"):
        read_qrels(tmp_path / "none.tsv")


def test_candidates_keep_file_order(tmp_path):
    assert read_candidates(write(tmp_path, "q2\tb\nq1\tz\nq1\ta\n")) == {"q2": ("b",), "q1": ("z", "a")}
    assert read_candidates(write(tmp_path, "query-id\tcorpus-id\nq\tb\n")) == {"q": ("b",)}
    with pytest.raises(RowError, match="twice"):
        read_candidates(write(tmp_path, "q\tb\nq\tb\n"))


def test_run(tmp_path):
    run = read_run(write(tmp_path, "q1 Q0 b 2 1.5 bm25\nq1 Q0 a 1 2e0 bm25\nq2 Q0 a 1 -3 bm25\n"))
    assert run == {"q1": (RunLine("q1", "a", 1, 2.0, "bm25"), RunLine("q1", "b", 2, 1.5, "bm25")), "q2": (RunLine("q2", "a", 1, -3.0, "bm25"),)}


def test_run_streams_and_wants_queries_together(tmp_path):
    lines = stream_run(write(tmp_path, "q1 Q0 a 1 1 t\nq2 Q0 a 1 1 t\nq1 Q0 b 2 1 t\n"))
    assert next(lines)[0] == "q1"
    assert next(lines)[0] == "q2"
    with pytest.raises(RowError, match="row 3: query 'q1' comes back"):
        next(lines)


@pytest.mark.parametrize("line", ["q Q0 a one 1 t", "q Q0 a 1 nan t", "q Q0 a 1 x t", "q Q0 a 1 1", "q Q0 a 1 1 t\nq Q0 a 2 1 t"])
def test_bad_run(tmp_path, line):
    with pytest.raises(RowError):
        read_run(write(tmp_path, line))
