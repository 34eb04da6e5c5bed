"""Measures equal what trec_eval itself says of a golden run: two judged queries are missing from it, one has nothing relevant.

`golden/trec_eval.txt` is what the program (version 9.0.4, C) printed for `golden/qrels.txt` and `golden/run.trec`, by measure, query and
value: `-q -c -m ndcg_cut.1,5,10 -m success.1,5,20`; `-q -c -M 10 -m recip_rank`; the last again with `-l 2`.
"""

from pathlib import Path

import pytest

from corpora.trec import read_qrels
from dear.evaluation.benchmarks import Benchmark, lookup
from dear.evaluation.questions import Opened, Question
from dear.evaluation.report import line, measure_rows
from dear.evaluation.stages import Ranked, Row, values
from dear.metrics import evaluate, per_query
from dear.runs import read_trec
from dear.types import Passage

GOLDEN = Path(__file__).parent / "golden"
NAMES = {
    "nDCG@1": "ndcg_cut_1", "nDCG@5": "ndcg_cut_5", "nDCG@10": "ndcg_cut_10", "Success@1": "success_1", "Success@5": "success_5",
    "Success@20": "success_20", "RR@10": "recip_rank_10", "RR(rel=2)@10": "recip_rank_10_rel_2",
}  # fmt: skip
PRINTED = 5e-5 + 1e-9  # trec_eval prints four decimals


@pytest.fixture(scope="module")
def qrels():
    return read_qrels(GOLDEN / "qrels.txt")


@pytest.fixture(scope="module")
def run():
    return {query: {passage: score for _, passage, _, score in rows} for query, rows in read_trec(GOLDEN / "run.trec")}


def theirs(measure):
    """Query -> trec_eval's value, the mean under `all`."""
    rows = [row.split() for row in (GOLDEN / "trec_eval.txt").read_text(encoding="utf-8").splitlines()]
    return {query: float(value) for name, query, value in rows if name == NAMES[measure]}


@pytest.mark.parametrize("measure", NAMES)
def test_every_query_and_the_mean(qrels, run, measure):
    expected = theirs(measure)
    found = per_query(run, qrels, [measure])[measure]
    assert set(found) == set(qrels)
    assert {query for query, value in expected.items() if query != "all"} == set(qrels) - {"q04", "q09"}  # those the run has
    assert found["q04"] == found["q09"] == 0.0
    for query, value in expected.items():
        assert (evaluate(run, qrels, [measure])[measure] if query == "all" else found[query]) == pytest.approx(value, abs=PRINTED)


def ranked(run, qrels, benchmark):
    """The run as a benchmark's row."""
    questions = [Question(query, "x", grades, tuple(Passage(id_, "t") for id_ in run.get(query, ()))) for query, grades in qrels.items()]
    row = Row("bm25", {q.id: Ranked(tuple(sorted(run.get(q.id, ()), key=lambda id_: -run[q.id][id_])), 0.0) for q in questions})
    return Opened(benchmark, tuple(questions)), row


@pytest.mark.parametrize("benchmark", [Benchmark("folder", "relevant from 1"), lookup("dl19"), lookup("nq")], ids=lambda b: b.name)
def test_a_benchmarks_columns_and_its_line(qrels, run, benchmark):
    opened, row = ranked(run, qrels, benchmark)
    found = values(row, opened)
    (shown,) = line(measure_rows(opened, [row], []), model="m", engine="e", settings={}, explanations={})["rows"]
    for column, measure in benchmark.measures:
        expected = theirs(measure)
        for query, value in found[column].items():
            assert value == pytest.approx(expected.get(query, 0.0), abs=PRINTED)
        assert shown[column] == pytest.approx(100 * expected["all"], abs=100 * PRINTED + 0.005)  # percent with two decimals
