"""The registry: every row says where it comes from and what is published; copies of published figures are guarded by sums."""

import pytest

from dear.evaluation.benchmarks import BENCHMARKS, lookup

BEIR = ("covid", "nfcorpus", "touche", "dbpedia", "scifact", "news", "robust04", "signal")


def figure(name, system, column="ndcg@10"):
    return next(p.values[column] for p in lookup(name).published if p.system == system)


def test_the_benchmarks_of_the_paper_are_there():
    assert set(BENCHMARKS) == {"dl19", "dl20", "noveleval", "nq", "teaching", "dl-sub", *(f"beir/{name}" for name in BEIR)}
    assert lookup("covid") is lookup("beir/covid")
    assert lookup("nothing") is None


@pytest.mark.parametrize(("system", "average"), [("BM25", 43.42), ("monoT5-3B", 51.36), ("RankGPT-4", 53.68)])
def test_the_eight_beir_figures_add_up_to_the_published_average(system, average):
    assert sum(figure(name, system) for name in BEIR) / 8 == pytest.approx(average, abs=0.01)


def test_what_dear_reports():
    assert [figure(name, "DeAR-L-8B") for name in ("dl19", "dl20", *BEIR)] == [77.91, 75.63, 88.36, 40.56, 37.23, 47.12, 74.95, 52.89, 62.18, 34.40]
    assert [figure("noveleval", "DeAR-L-8B", f"ndcg@{k}") for k in (1, 5, 10)] == [92.86, 88.04, 92.01]
    for system, values in (("BM25", [33.33, 45.96, 55.77]), ("monoT5-3B", [83.33, 78.38, 84.62]), ("RankGPT-4", [85.71, 87.49, 90.45])):
        assert [figure("noveleval", system, f"ndcg@{k}") for k in (1, 5, 10)] == values
    assert figure("nq", "DeAR-L-8B", "top@1") == 54.29
    assert sorted(p.seconds_per_query for p in lookup("dl19").published if p.seconds_per_query) == [2.2, 11.16]


def test_every_figure_has_a_source_and_is_a_percentage():
    for row in BENCHMARKS.values():
        columns = {column for column, _ in row.measures}
        for published in row.published:
            assert published.source
            assert set(published.values) <= columns
            assert all(0 < value < 100 for value in published.values.values())


def test_equal_to_gpt4_is_said_where_it_is_so():
    for name in BEIR:
        row = next(p for p in lookup(name).published if p.system == "DeAR-L-8B")
        assert bool(row.note) == (row.values["ndcg@10"] == figure(name, "RankGPT-4"))


def test_a_row_is_read_from_the_network_or_from_a_folder():
    for row in BENCHMARKS.values():
        assert (row.index and row.topics and (row.qrels or row.by_answer)) or row.folders or row.name == "teaching"
        assert row.folders or not row.index


def test_measures_follow_the_benchmark():
    assert dict(lookup("dl19").measures)["mrr@10"] == "RR(rel=2)@10"
    assert dict(lookup("covid").measures)["mrr@10"] == "RR@10"
    assert [column for column, _ in lookup("nq").measures] == ["top@1", "top@5", "top@20", "mrr@10"]
    assert lookup("nq").main == "top@1"
