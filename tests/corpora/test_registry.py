"""Corpora by name and by path, their retrievers, and what goes when they close."""

from __future__ import annotations

import gzip
import json
import threading
import time

import pytest

from corpora import KINDS, Corpus, corpus_from_passages, corpus_names, open_corpus
from corpora.prebuilt import prebuilt_names
from corpora.teaching import FOLDER
from dear.errors import BadInput, IndexFailure
from dear.types import Passage


@pytest.fixture
def folder(tmp_path, sky):
    """A corpus folder in the layout of evaluation sets."""
    path = tmp_path / "skies"
    path.mkdir()
    rows = "".join(json.dumps({"id": p.id, "title": p.title, "text": p.text}) + "\n" for p in sky)
    (path / "corpus.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    (path / "queries.jsonl.gz").write_bytes(gzip.compress(b'{"id": "q1", "text": "Why is the sky blue?"}\n{"id": "q2", "text": "whales"}\n'))
    (path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ts1\t2\nq1\ts2\t3\nq1\ts4\t0\n")
    (path / "candidates.tsv").write_text("q1\ts4\nq1\ts1\n")
    (path / "corpus.json").write_text('{"title": "Skies", "licence": "CC0"}')
    return path


def test_folder(folder, sky):
    with open_corpus(folder) as corpus:
        assert (corpus.name, corpus.title, corpus.description, corpus.licence, len(corpus)) == ("skies", "Skies", "", "CC0", 7)
        assert corpus.passages == sky
        assert corpus.passage("s4") == sky[3]
        assert [query.text for query in corpus.queries] == ["Why is the sky blue?", "whales"]
        assert corpus.candidates == {"q1": ("s4", "s1")}
        for query in ("q1", "Why is the sky blue?", "  why is the SKY blue "):
            assert corpus.judgments(query) == {"s1": 2, "s2": 3, "s4": 0}
        assert corpus.judgments("q2") is None
        assert corpus.judgments("something else") is None
        with pytest.raises(BadInput, match="no passage 'zz'"):
            corpus.passage("zz")


def test_every_kind_of_retriever(folder):
    with open_corpus(folder) as corpus:
        for kind in KINDS:
            retriever = corpus.retriever(kind)
            assert retriever.kind == kind
            assert retriever is corpus.retriever(kind)
            hits = retriever.search("why is the sky blue", 3)
            assert hits[0].id == "s2"
            assert [hit.rank for hit in hits] == [1, 2, 3]
        assert corpus.retriever("hybrid").search("why is the sky blue", 1)[0].terms, "the hybrid shows BM25's term weights"
        with pytest.raises(BadInput, match="unknown retriever 'splade': use one of bm25, bm25\\+rm3, dense, hybrid"):
            corpus.retriever("splade")
    with pytest.raises(BadInput, match="is closed"):
        corpus.retriever("bm25")
    with pytest.raises(IndexFailure, match="closed"):
        retriever.search("sky", 1)


def test_one_file(tmp_path):
    (tmp_path / "mine.csv").write_text("id,text\na,the sky is blue\nb,the sea\n")
    with open_corpus(tmp_path / "mine.csv") as corpus:
        assert (corpus.name, len(corpus), corpus.queries, corpus.judgments("x")) == ("mine", 2, (), None)
        assert [hit.id for hit in corpus.retriever().search("sky", 5)] == ["a"]
    (tmp_path / "bad.csv").write_text("id,text\na,the sky is blue\na,the sea\n")
    with pytest.raises(BadInput, match="row 3: id 'a' was used in row 2"):
        open_corpus(tmp_path / "bad.csv")


def test_upload_lives_in_a_folder_of_its_own_until_closed(sky, tmp_path, monkeypatch):
    monkeypatch.setenv("DEAR_CACHE", str(tmp_path / "cache"))
    corpus = corpus_from_passages(sky, name="mine")
    assert [hit.id for hit in corpus.retriever().search("stars", 5)] == ["s6", "s7"]
    corpus.retriever("dense").search("stars", 1)
    kept = corpus._folder
    assert list(kept.iterdir())
    assert not (tmp_path / "cache").exists(), "uploads leave nothing in the cache"
    corpus.close()
    corpus.close()
    assert not kept.exists()


def test_two_uploads_do_not_see_each_other(sky):
    with corpus_from_passages(sky[:4]) as one, corpus_from_passages([Passage("x", "the sky of another user")]) as two:
        assert {hit.id for hit in one.retriever().search("sky", 5)} == {"s2"}
        assert {hit.id for hit in two.retriever().search("sky", 5)} == {"x"}


def test_upload_checks(sky):
    with pytest.raises(BadInput, match="'s1' occurs twice"):
        corpus_from_passages([*sky, sky[0]])
    with pytest.raises(BadInput, match="has no text"):
        corpus_from_passages([Passage("a", " ")])
    with pytest.raises(BadInput, match="occurs twice"):
        Corpus("x", [*sky, sky[0]])


def test_no_passages_no_hits():
    with corpus_from_passages([]) as corpus:
        assert [corpus.retriever(kind).search("sky", 5) for kind in KINDS] == [()] * 4


def test_one_retriever_for_all_threads(folder):
    with open_corpus(folder) as corpus:
        found = []
        threads = [threading.Thread(target=lambda: found.append(corpus.retriever("bm25"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(retriever) for retriever in found}) == 1


def test_a_slow_build_keeps_nobody_from_another_kind(folder):
    with open_corpus(folder) as corpus:
        reached, go_on = threading.Event(), threading.Event()

        def progress(done, total):
            reached.set()
            go_on.wait(60)

        corpus._passages["new"] = Passage("new", f"a text that no cache holds {time.time()}")
        slow = threading.Thread(target=corpus.retriever, args=("dense",), kwargs={"progress": progress})
        slow.start()
        assert reached.wait(60)
        assert corpus.retriever("bm25").search("sky", 1)
        go_on.set()
        slow.join()


def test_closed_while_building(folder):
    corpus = open_corpus(folder)
    corpus._passages["new"] = Passage("new", f"another text that no cache holds {time.time()}")
    with pytest.raises(BadInput, match="is closed"):
        corpus.retriever("bm25", progress=lambda done, total: corpus.close())
    assert not corpus._retrievers


def test_each_pair_of_bm25_values_has_a_retriever_of_its_own(folder):
    corpus = open_corpus(folder)
    usual, other = corpus.retriever("bm25"), corpus.retriever("bm25", k1=2.0, b=1.0)
    assert corpus.retriever("bm25") is usual
    assert corpus.retriever("bm25", k1=2.0, b=1.0) is other
    query = next(iter(corpus.passages)).text
    before, after = ({hit.id: hit.scores["retrieval"] for hit in found.search(query, 3)} for found in (usual, other))
    assert before.keys() & after.keys()
    assert before != after
    with pytest.raises(BadInput, match="k1 2 and b 1 are BM25's"):
        corpus.retriever("dense", k1=2.0, b=1.0)
    with pytest.raises(BadInput, match="b between 0 and 1"):
        corpus.retriever("bm25", b=1.5)


def test_unknown_names_list_what_is_known(tmp_path):
    assert "teaching" in corpus_names()
    for name in ("nope", "/nowhere/corpus.jsonl", str(tmp_path / "none")):
        with pytest.raises(BadInput, match="use one of teaching, the path of a folder"):
            open_corpus(name)
    with pytest.raises(BadInput, match=r"holds no corpus.jsonl"):
        open_corpus(tmp_path)
    with pytest.raises(BadInput, match="Pyserini knows no prebuilt index 'msmarco-v9': use one of its names, such as msmarco"):
        open_corpus("prebuilt:msmarco-v9")


def test_prebuilt_indexes(tmp_path, monkeypatch):
    assert "msmarco-v1-passage" in prebuilt_names()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "file"))  # stops the download before the network is asked
    for name in ("msmarco-v1-passage", "prebuilt:msmarco-v1-passage"):
        with pytest.raises(IndexFailure, match=r"'msmarco-v1-passage' cannot be downloaded .* needs network"):
            open_corpus(name)


def test_a_lucene_index_as_corpus(tmp_path):
    from test_lucene import write_raw_index

    write_raw_index(str(tmp_path))
    with open_corpus(tmp_path) as corpus:
        assert len(corpus) == 2
        assert corpus.passage("m2") == Passage("m2", "a sky of night", "Night")
        assert {hit.id for hit in corpus.retriever("bm25+rm3").search("sky", 5)} == {"m1", "m2"}
        with pytest.raises(BadInput, match="use bm25 or bm25\\+rm3"):
            corpus.retriever("dense")
        with pytest.raises(BadInput, match="no passage 'zz'"):
            corpus.passage("zz")


def test_bad_metadata(folder):
    (folder / "corpus.json").write_text("[1]")
    with pytest.raises(BadInput, match="not a JSON object"):
        open_corpus(folder)


@pytest.mark.skipif(not (FOLDER / "passages.jsonl").exists(), reason="the bundled teaching corpus is not in this checkout")
def test_teaching():
    with open_corpus("teaching") as corpus:
        assert corpus.licence == "CC BY 4.0"
        query = next(query for query in corpus.queries if corpus.judgments(query.id))
        assert corpus.judgments(query.text) == corpus.judgments(query.id)
        assert corpus.retriever("bm25").search(query.text, 10)
