"""A benchmark opened from each of its shapes, on a real Lucene index."""

import gzip
import json

import pytest
from small_benchmarks import PASSAGES, QRELS, QUERIES

from dear.errors import BadInput
from dear.evaluation.benchmarks import lookup
from dear.evaluation.opening import Want, open_benchmark
from dear.evaluation.questions import asked, readable
from dear.types import MAX_PASSAGE_CHARS, MAX_QUERY_CHARS, Passage


def ids(question):
    return [passage.id for passage in question.pool]


def test_a_folder_by_name_below_data_and_by_path(small, room):
    for name, data in (("small", small.parents[1]), (str(small), None)):
        opened = open_benchmark(name, Want(data=data), room)
        assert [question.id for question in opened] == ["q1", "q2", "q3"]  # q4 is not judged
        assert opened.qrels == QRELS
        assert ids(opened.questions[0])[0] == "sky-1"
        assert opened.first_stage == "bm25"


def test_depth_and_limit(small, room):
    opened = open_benchmark(str(small), Want(depth=1, limit=2), room)
    assert [len(question.pool) for question in opened] == [1, 1]
    assert "only the first 2 queries" in opened.notes


def test_a_pool_is_ranked_by_bm25_over_the_whole_corpus_and_the_rest_comes_last_in_pool_order(small, room):
    pool = ("bread-2", "sea-2", "bread-1", "sky-1")  # only sea-2 and sky-1 share a word with q1
    (small / "candidates.tsv").write_text("query-id\tcorpus-id\n" + "".join(f"q1\t{id_}\n" for id_ in pool))
    question = open_benchmark(str(small), Want(depth=1), room).questions[0]
    assert ids(question) == ["sky-1", "sea-2", "bread-2", "bread-1"]


def test_a_run_is_the_first_stage_where_there_is_one(small, room):
    (small / "run.trec").write_text("q1 Q0 bread-1 1 9 x\nq1 Q0 sky-1 2 8 x\nq2 Q0 sea-1 1 1 x\n")
    opened = open_benchmark(str(small), Want(), room)
    assert opened.first_stage == "run"
    assert [ids(question) for question in opened] == [["bread-1", "sky-1"], ["sea-1"], []]


def test_a_runs_scores_count_before_its_ranks(small, room):
    (small / "run.trec").write_text("q1 Q0 bread-1 1 2 x\nq1 Q0 sky-2 2 3 x\nq1 Q0 sky-1 3 3 x\n")
    assert ids(open_benchmark(str(small), Want(), room).questions[0]) == ["sky-2", "sky-1", "bread-1"]


def test_queries_that_are_not_measured_are_said(staged, room):
    with open(staged / "qrels.dl19-passage.txt", "a") as file:
        file.write("999 0 sky-1 1\n998 0 sky-1 1\n")
    notes = open_benchmark("dl19", Want(data=staged.parent), room).notes
    assert "2 judged queries without a text are left out" in notes
    assert "3 queries where the benchmark has 43" in notes
    assert "only the first 1 queries" in open_benchmark("dl19", Want(data=staged.parent, limit=1), room).notes


def test_a_benchmark_may_hold_longer_passages_than_the_page_takes(small, room):
    long = {"id": "long", "text": "blue sky " * 4000}
    with open(small / "corpus.jsonl", "a") as file:
        file.write(json.dumps(long) + "\n")
    opened = open_benchmark(str(small), Want(), room)
    found = next(passage for passage in opened.questions[0].pool if passage.id == "long")
    assert len(found.text) == MAX_PASSAGE_CHARS


def test_what_the_network_gives_is_read_by_the_same_code(staged, room):
    opened = open_benchmark("dl19", Want(data=staged.parents[0]), room)
    assert opened.benchmark is lookup("dl19")
    assert [question.id for question in opened] == ["101", "102", "103"]
    assert list(opened.qrels.values()) == list(QRELS.values())
    first = opened.questions[0]
    assert first.text == QUERIES["q1"]
    assert first.pool[0].text.endswith(PASSAGES["sky-1"][1])  # the text stored in the index
    assert first.pool[0].id == "sky-1"


def test_natural_questions_are_judged_by_answer(staged, room):
    folder = staged.rename(staged.with_name("nq"))
    (folder / "topics.dl19-passage.txt").unlink()
    lines = ["what covers most of the earth\t['salt water', 'the sea']", "who eats krill\t['a penguin']"]
    (folder / "topics.nq.test.txt").write_text("".join(line + "\n" for line in lines))
    opened = open_benchmark("nq", Want(data=folder.parent), room)
    first, second = opened.questions
    assert first.grades["sea-1"] == 1
    assert sum(first.grades.values()) == 1
    assert set(second.grades.values()) == {0}


def test_compressed_topics(staged, room):
    topics = staged / "topics.dl19-passage.txt"
    (staged / "topics.dl19.tsv.gz").write_bytes(gzip.compress(topics.read_bytes()))
    topics.unlink()
    assert len(open_benchmark("dl19", Want(data=staged.parent), room)) == 3


def test_teaching_by_split(room):
    dev = open_benchmark("teaching", Want(split="dev", limit=3), room)
    assert len(dev) == 3
    assert all(len(question.pool) == 600 for question in dev)
    test = open_benchmark("teaching", Want(split="test", limit=3), room)
    assert {question.id for question in dev}.isdisjoint(question.id for question in test)


def test_errors_say_what_to_do(small, tmp_path, room):
    data = small.parents[1]
    cases = [
        ("nothing", Want(), "no benchmark 'nothing'"),
        ("noveleval", Want(), "--data is missing"),
        ("noveleval", Want(data=data), "has no folder named 'noveleval'"),
        ("small", Want(data=tmp_path / "none"), "is not a folder"),
        ("teaching", Want(split="all"), "unknown split"),
    ]
    for name, want, says in cases:
        with pytest.raises(BadInput, match=says):
            open_benchmark(name, want, room)
    (small / "qrels.tsv").write_text("zz\tsky-1\t1\n")
    with pytest.raises(BadInput, match="no judged query"):
        open_benchmark(str(small), Want(), room)


def test_two_folders_of_one_name_are_not_guessed_between(small, room):
    other = small.parents[1] / "elsewhere" / "small"
    other.mkdir(parents=True)
    (other / "corpus.jsonl").write_text('{"id": "a", "text": "b"}\n')
    with pytest.raises(BadInput, match="holds 2 folders"):
        open_benchmark("small", Want(data=small.parents[1]), room)


def test_long_queries_and_empty_texts_are_made_fit():
    assert len(asked("word " * 200)) <= MAX_QUERY_CHARS
    assert asked(" a\n b ") == "a b"
    assert readable(Passage("p", " ", "Title")).text == "Title"
