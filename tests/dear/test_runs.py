import csv
import gzip
import io
import json

import pytest

from dear.bulk import Request, Shard, requests_from_jsonl, requests_from_run, rerank_file
from dear.engines.fake import FakeScorer
from dear.errors import BadInput
from dear.metrics import evaluate, measure, ndcg_working
from dear.pipeline import Settings
from dear.reranker import Reranker
from dear.runs import csv_text, read_trec, trec_lines, write_atomic
from dear.types import Hit, Passage, rerank_hits

HITS = tuple(Hit(Passage(f"p{i}", f"text {i}"), i, {"retrieval": 1.0}, {"retrieval": i}) for i in (1, 2, 3))


def reranker():
    return Reranker(FakeScorer(), None, Settings(stages=("retrieval", "pointwise")))


def requests(n, passages=3):
    texts = ["short waves", "blue sky", "bread"]
    return [Request(f"q{i}", "blue sky", tuple(Passage(f"d{i}-{j}", texts[j % 3]) for j in range(passages))) for i in range(n)]


def test_a_trec_run_reads_back(tmp_path):
    path = tmp_path / "run.trec"
    write_atomic(path, [*trec_lines("q1", HITS, "dear"), *trec_lines("q2", HITS[::-1], "dear")])
    queries = dict(read_trec(path))
    assert [row[1] for row in queries["q1"]] == ["p1", "p2", "p3"]
    assert [row[1] for row in queries["q2"]] == ["p3", "p2", "p1"]
    scores = [row[3] for row in queries["q1"]]
    assert scores == sorted(set(scores), reverse=True)


def test_a_trec_run_is_ordered_by_score_not_by_line(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q Q0 a 2 1.0 x\nq Q0 b 1 2.0 x\n", encoding="utf-8")
    assert [row[1] for row in dict(read_trec(path))["q"]] == ["b", "a"]


@pytest.mark.parametrize("text", ["q Q0 a 1\n", "q Q0 a one 1.0 x\n", "q Q0 a 1 1.0 x\nr Q0 a 1 1.0 x\nq Q0 b 2 0.5 x\n"])
def test_a_damaged_run_names_its_line(tmp_path, text):
    path = tmp_path / "run.trec"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"line \d"):
        list(read_trec(path))


def test_an_id_with_a_space_cannot_go_into_a_run():
    with pytest.raises(BadInput, match="white space"):
        list(trec_lines("q 1", HITS, "dear"))


def test_csv_disarms_formulas():
    hits = (Hit(Passage("=1+1", "x", "@title"), 1, {"retrieval": 0.5}, {"retrieval": 1}, rationale="+cmd"),)
    header, row = list(csv.reader(io.StringIO(csv_text(hits))))
    assert header == ["rank", "id", "title", "retrieval_rank", "retrieval_score", "rationale"]
    assert row == ["1", "'=1+1", "'@title", "1", "0.5", "'+cmd"]


def test_rerank_hits_keeps_ties_in_order_and_wants_every_score():
    ranked = rerank_hits(HITS, "pointwise", {"p1": 0.5, "p2": 0.5, "p3": 0.9})
    assert [hit.id for hit in ranked] == ["p3", "p1", "p2"]
    assert HITS[0].ranks == {"retrieval": 1}
    with pytest.raises(BadInput, match="first unscored 'p3'"):
        rerank_hits(HITS, "pointwise", {"p1": 0.5, "p2": 0.5})


@pytest.mark.parametrize("name", ["out.jsonl", "out.trec"])
@pytest.mark.parametrize("cut", [0, 7, 60])
def test_a_bulk_run_that_was_cut_ends_as_an_uninterrupted_one(tmp_path, name, cut):
    whole, resumed = tmp_path / f"whole-{name}", tmp_path / name
    assert list(rerank_file(requests(6), reranker(), whole, shard=Shard(), tag="t")) == [f"q{i}" for i in range(6)]
    list(rerank_file(requests(4), reranker(), resumed, shard=Shard(), tag="t"))
    resumed.write_bytes(resumed.read_bytes()[: -cut or None])
    list(rerank_file(requests(6), reranker(), resumed, shard=Shard(), tag="t"))
    assert resumed.read_bytes() == whole.read_bytes()
    assert list(rerank_file(requests(6), reranker(), resumed, shard=Shard(), tag="t")) == []


def test_what_was_not_ranked_follows_in_its_order(tmp_path):
    request = Request("q", "blue sky", (Passage("a", "bread"), Passage("b", "blue sky")), ("y", "x"))
    out = tmp_path / "out.trec"
    assert list(rerank_file([request], reranker(), out, shard=Shard(), tag="t")) == ["q"]
    assert [(row[1], row[2]) for _, rows in read_trec(out) for row in rows] == [("b", 1), ("a", 2), ("y", 3), ("x", 4)]
    assert list(rerank_file([request], reranker(), out, shard=Shard(), tag="t")) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.trec"])
def test_an_output_of_another_job_is_not_written_into(tmp_path, name):
    out = tmp_path / name
    list(rerank_file(requests(2), reranker(), out, shard=Shard(), tag="t"))
    before = out.read_bytes()
    deeper = Reranker(FakeScorer(), None, Settings(candidates=50, stages=("retrieval", "pointwise")))
    for other, shard, tag, said in ((deeper, Shard(), "t", "settings"), (reranker(), Shard(1, 2), "t", "shard"), (reranker(), Shard(), "u", "tag")):
        with pytest.raises(BadInput, match=f"another job .{said} changed"):
            list(rerank_file(requests(3, 5), other, out, shard=shard, tag=tag))
    unknown = tmp_path / f"unknown-{name}"
    unknown.write_bytes(before)
    with pytest.raises(BadInput, match="choose another --out"):
        list(rerank_file(requests(2), reranker(), unknown, shard=Shard(), tag="t"))
    assert out.read_bytes() == unknown.read_bytes() == before


def test_one_job_at_a_time_writes_an_output(tmp_path):
    job = rerank_file(requests(2), reranker(), tmp_path / "out.jsonl", shard=Shard(), tag="t")
    next(job)
    with pytest.raises(BadInput, match="another job is writing"):
        next(rerank_file(requests(2), reranker(), tmp_path / "out.jsonl", shard=Shard(), tag="t"))
    assert list(job) == ["q1"]
    assert list(rerank_file(requests(2), reranker(), tmp_path / "out.jsonl", shard=Shard(), tag="t")) == []


def test_a_query_that_cannot_be_ranked_does_not_end_the_job(tmp_path):
    bad, failed = Request("bad", "  ", (Passage("a", "x"),)), []
    given = [*requests(1), bad, *requests(3)[1:]]
    done = list(
        rerank_file(given, reranker(), tmp_path / "out.jsonl", shard=Shard(), tag="t", failed=lambda id, error: failed.append((id, str(error))))
    )
    assert done == ["q0", "q1", "q2"]
    assert [id for id, _ in failed] == ["bad"]
    assert "the query is empty" in failed[0][1]
    with pytest.raises(BadInput, match="the query is empty"):
        list(rerank_file(given, reranker(), tmp_path / "other.jsonl", shard=Shard(), tag="t"))


def test_overlong_queries_and_passages_are_cut_as_in_the_benchmarks(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"query": "why " * 200, "passages": [{"id": "a", "text": "x " * 20_000, "title": None}]}), encoding="utf-8")
    (request,) = requests_from_jsonl(path)
    assert len(request.query) <= 300
    assert request.passages[0].title == ""
    assert len(reranker().rank(request.query, request.passages)) == 1


def test_a_packed_run_is_read_and_a_damaged_one_is_said(tmp_path):
    path = tmp_path / "run.trec.gz"
    path.write_bytes(gzip.compress("".join(line + "\n" for line in trec_lines("q1", HITS, "x")).encode()))
    assert [row[1] for _, rows in read_trec(path) for row in rows] == ["p1", "p2", "p3"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match="unpack or convert"):
        list(read_trec(path))
    (tmp_path / "binary.trec").write_bytes(b"q1 Q0 p1 1 1 t\n\xff\xfe\n")
    with pytest.raises(BadInput, match="line 2: not text"):
        list(read_trec(tmp_path / "binary.trec"))
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_trec(tmp_path / "none.trec"))


def test_shards_split_the_queries_without_rest_or_overlap(tmp_path):
    done = [list(rerank_file(requests(20, 1), reranker(), tmp_path / f"{i}.jsonl", shard=Shard(i, 3), tag="t")) for i in (1, 2, 3)]
    assert sorted(id for ids in done for id in ids) == sorted(f"q{i}" for i in range(20))
    assert all(done)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_an_impossible_shard_is_refused(text):
    with pytest.raises(BadInput, match="i/n"):
        Shard.parse(text)


def test_requests_from_jsonl(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"query": "sky", "passages": [{"id": "a", "text": "blue"}, "plain"]}) + "\n\n", encoding="utf-8")
    assert list(requests_from_jsonl(path)) == [Request("1", "sky", (Passage("a", "blue"), Passage("2", "plain")))]
    path.write_text('{"query": "sky", "passages": [{"id": "a"}]}\n', encoding="utf-8")
    with pytest.raises(BadInput, match="line 1"):
        list(requests_from_jsonl(path))


def test_requests_from_a_run_take_texts_from_the_corpus(tmp_path):
    path = tmp_path / "run.trec"
    write_atomic(path, trec_lines("q1", HITS, "x"))
    texts = {hit.id: hit.passage for hit in HITS}
    (request,) = requests_from_run(path, {"q1": "sky"}, texts.__getitem__, depth=2)
    assert request == Request("q1", "sky", (HITS[0].passage, HITS[1].passage), ("p3",))


def test_a_query_without_text_or_with_a_passage_that_is_not_there_is_passed_over(tmp_path):
    path, out = tmp_path / "run.trec", tmp_path / "out.trec"
    write_atomic(path, [line for query in ("q1", "q2", "q3") for line in trec_lines(query, HITS, "x")])
    texts = {hit.id: hit.passage for hit in HITS}
    given = iter([None, *HITS, *HITS])

    def passage(id):
        if next(given) is None:
            raise BadInput(f"no passage {id!r} in the corpus")
        return texts[id]

    said = []
    found = requests_from_run(path, {"q1": "sky", "q3": "sky"}, passage, depth=2)
    done = list(rerank_file(found, reranker(), out, shard=Shard(), tag="t", failed=lambda query, error: said.append((query, str(error)))))
    assert done == ["q3"]
    assert [query for query, _ in said] == ["q1", "q2"]
    assert "no passage 'p1'" in said[0][1]
    assert "'q2' has no text" in said[1][1]
    with pytest.raises(BadInput, match="another set's queries"):
        list(rerank_file(requests_from_run(path, {}, texts.__getitem__, depth=2), reranker(), tmp_path / "o.trec", shard=Shard(), tag="t"))


def test_another_sets_queries_are_refused_soon(tmp_path):
    path = tmp_path / "run.trec"
    write_atomic(path, [line for n in range(30) for line in trec_lines(f"q{n}", HITS[:1], "x")])
    with pytest.raises(BadInput, match="another set's queries"):
        list(requests_from_run(path, {"other": "sky"}, {}.__getitem__, depth=2))


def test_an_id_that_a_run_cannot_carry_is_found_before_the_model_works(tmp_path):
    asked = [Request("q1", "sky", (Passage("a b", "blue"), Passage("c", "red")))]
    never = Reranker(FakeScorer(fail_after=0), None, Settings(stages=("retrieval", "pointwise")))
    with pytest.raises(BadInput, match="'a b' cannot go into a TREC run"):
        list(rerank_file(asked, never, tmp_path / "o.trec", shard=Shard(), tag="t"))


def test_ndcg_by_hand():
    # gains 3 and 1 at ranks 2 and 3 against the ideal 3, 1: (3/log2(3) + 1/2) / (3 + 1/log2(3))
    value = measure(["x", "a", "b"], {"a": 3, "b": 1, "x": 0})["nDCG@10"]
    assert value == pytest.approx((3 / 1.584962500721156 + 0.5) / (3 + 1 / 1.584962500721156))
    assert sum(row[3] for row in ndcg_working(["x", "a", "b"], {"a": 3, "b": 1})) == pytest.approx(3 / 1.584962500721156 + 0.5)


def test_a_query_missing_from_the_run_counts_zero():
    run, qrels = {"q1": {"a": 1.0}}, {"q1": {"a": 1}, "q2": {"b": 1}}
    assert evaluate(run, qrels, ("nDCG@10", "RR@10")) == {"nDCG@10": 0.5, "RR@10": 0.5}
    assert evaluate({}, qrels) == {"nDCG@10": 0.0}
    with pytest.raises(BadInput, match="unknown measure"):
        evaluate(run, qrels, ("nonsense@10",))


def test_reranker_takes_what_users_have():
    assert reranker().rank("sky", []) == ()
    (one,) = reranker().rank("sky", ["blue sky"])
    assert (one.id, one.rank) == ("1", 1)
    hits = reranker().rank("blue sky", ["bread", {"id": "b", "text": "blue sky", "title": "T"}, Passage("c", "sky")])
    assert [hit.id for hit in hits] == ["b", "c", "1"]
    with pytest.raises(BadInput, match="passage 1 is int"):
        reranker().rank("sky", [3])


def test_reranker_raises_where_a_stage_fails():
    from dear.errors import EngineError

    broken = Reranker(FakeScorer(fail_after=0), None, Settings(stages=("retrieval", "pointwise")))
    with pytest.raises(EngineError, match="pointwise"):
        broken.rank("sky", ["blue", "red"])
