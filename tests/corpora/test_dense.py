"""Dense search with the real all-MiniLM-L6-v2, its cache, and faiss against exact search."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from corpora import dense
from corpora.dense import DenseRetriever, cached_embeddings, embed, score
from corpora.retrieval import Retriever
from dear.errors import BadInput, IndexFailure
from dear.types import Passage

FACTS = ["whale", "sky", "violin", "bread", "volcano", "train", "glacier", "poem", "doctor", "bee"]
MANY = [Passage(f"d{i:02}", f"A note on the {FACTS[i % 10]}, number {i}, kept in drawer {i * 7 % 13}.") for i in range(60)]


@pytest.fixture(scope="module")
def exact():
    return DenseRetriever(MANY)


def test_embeddings_are_unit_float32():
    vectors = embed(["the sky", "", "a much longer text about the sky " * 80])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embed([]).shape == (0, 384)


def test_search_knows_other_words(sky):
    retriever = DenseRetriever(sky)
    assert isinstance(retriever, Retriever)
    hits = retriever.search("marine mammals", 3)
    assert hits[0].id == "s4"
    assert [hit.rank for hit in hits] == [hit.ranks["retrieval"] for hit in hits] == [1, 2, 3]
    assert all(-1 <= hit.scores["retrieval"] <= 1 and hit.terms == () for hit in hits)
    assert [hit.id for hit in retriever.search("stars at night", 2)] == ["s6", "s7"], "the same text twice: ties stand by id"
    assert len(retriever.search("whale", 100)) == 7
    assert retriever.search("  ", 3) == ()
    with pytest.raises(BadInput, match="k is 0"):
        retriever.search("whale", 0)


def test_score_is_the_cosine_of_search(sky, exact):
    texts = [passage.full_text for passage in sky]
    hits = {hit.id: hit.scores["retrieval"] for hit in DenseRetriever(sky).search("why is the sky blue", 7)}
    assert exact.score("why is the sky blue", texts) == pytest.approx([hits[passage.id] for passage in sky], abs=1e-5)
    assert score("q", []) == []


def test_progress_and_cache(tmp_path):
    steps = []
    first = cached_embeddings(MANY, tmp_path, lambda *step: steps.append(step))
    assert steps == [(32, 60), (60, 60)]
    second = cached_embeddings(MANY, tmp_path, lambda *_: pytest.fail("embedded again"))
    assert np.array_equal(first, second)
    assert cached_embeddings(MANY[:10], tmp_path).shape == (10, 384)
    assert len(list(tmp_path.glob("*.npy"))) == 2


@pytest.mark.parametrize("spoil", ["cut", "empty", "shape", "zeros", "pickle"])
def test_damaged_embeddings_are_made_again(tmp_path, spoil):
    passages = MANY[:8]
    want = cached_embeddings(passages, tmp_path)
    (path,) = tmp_path.glob("*.npy")
    data = path.read_bytes()
    if spoil in ("cut", "empty"):
        path.write_bytes(data[: len(data) // 2] if spoil == "cut" else b"")
    else:
        array = {"shape": want[:3], "zeros": np.zeros_like(want), "pickle": np.array([{"a": 1}], dtype=object)}[spoil]
        np.save(path, array, allow_pickle=spoil == "pickle")
    assert np.allclose(cached_embeddings(passages, tmp_path), want, atol=1e-6)
    assert path.read_bytes() == data


def test_faiss_agrees_with_exact_search(exact):
    approximate = DenseRetriever(MANY, exact_limit=10)
    assert approximate._graph is not None
    assert exact._graph is None
    for query in ("whales in the sea", "baking bread", "drawer number 7"):
        assert [(h.id, pytest.approx(h.scores["retrieval"], abs=1e-5)) for h in exact.search(query, 5)] == [
            (h.id, h.scores["retrieval"]) for h in approximate.search(query, 5)
        ]
    assert len(approximate.search("bread", 1000)) == 60


def test_threads(exact):
    want, errors = {query: exact.search(query, 5) for query in FACTS}, []

    def work(query):
        for _ in range(3):
            if [h.id for h in exact.search(query, 5)] != [h.id for h in want[query]]:
                errors.append(query)

    threads = [threading.Thread(target=work, args=(query,)) for query in FACTS[:8]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_closing_and_nothing_to_search():
    retriever = DenseRetriever(MANY[:2])
    retriever.close()
    retriever.close()
    with pytest.raises(IndexFailure, match="closed"):
        retriever.search("sky", 1)
    assert DenseRetriever([]).search("sky", 1) == ()
    assert dense.default_folder().name == "dense"
