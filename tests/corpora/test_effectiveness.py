"""nDCG@10 of the first stage on the evaluation sets, where they lie (see the fixture `shared`)."""

from __future__ import annotations

import pytest

from corpora import open_corpus
from corpora.dense import score
from corpora.retrieval import by_score


def ndcg(corpus, rankings):
    """Mean nDCG@10 over the judged queries, in percent, by ir-measures."""
    import ir_measures

    qrels = {query: corpus.judgments(query) for query in rankings}
    run = {query: {id_: -float(place) for place, id_ in enumerate(ids)} for query, ids in rankings.items()}
    measure = ir_measures.parse_measure("nDCG@10")
    return 100 * ir_measures.calc_aggregate([measure], qrels, run)[measure]


def test_noveleval_bm25(shared):
    """One index over all 420 passages, its ranking cut down to each pool, ties by id: 70.9 (69.8 was noted earlier, tie rule unknown)."""
    with open_corpus(shared / "test" / "noveleval") as corpus:
        retriever, rankings = corpus.retriever("bm25"), {}
        for query in corpus.queries:
            pool = set(corpus.candidates[query.id])
            rankings[query.id] = [hit.id for hit in retriever.search(query.text, len(corpus)) if hit.id in pool]
        assert ndcg(corpus, rankings) == pytest.approx(70.9, abs=1.5)


def test_deep_learning_track_bm25(shared):
    with open_corpus(shared / "test" / "dl-sub") as corpus:
        judged = [query for query in corpus.queries if corpus.judgments(query.id)]
        rankings = {query.id: [hit.id for hit in corpus.retriever("bm25").search(query.text, 100)] for query in judged}
        assert len(judged) == 43
        assert ndcg(corpus, rankings) == pytest.approx(72.8, abs=0.5)


@pytest.mark.slow
def test_noveleval_minilm(shared):
    with open_corpus(shared / "test" / "noveleval") as corpus:
        rankings = {}
        for query in corpus.queries:
            pool = corpus.candidates[query.id]
            rankings[query.id] = by_score(dict(zip(pool, score(query.text, [corpus.passage(id_).full_text for id_ in pool]), strict=True)))
        assert ndcg(corpus, rankings) == pytest.approx(74.1, abs=0.5)
