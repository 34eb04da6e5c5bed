"""BM25 and RM3 on real Lucene: order, ties, term weights, odd queries, threads, closing."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpora.indexes import open_index
from corpora.jvm import in_java, java_class
from corpora.lucene import Feedback, LuceneRetriever, stored_passage
from corpora.retrieval import Retriever
from dear.errors import BadInput, IndexFailure
from dear.explain import lexical
from dear.types import Hit, Passage, TermWeight

POOL = ["sky", "blue", "light", "scatter", "whale", "recipe", "night", "star", "sun", "red"]
POOL += ["air", "path", "ocean", "wave", "colour", "violet", "eye", "prism", "rain", "cloud"]
# pairs of words that stand together in one passage of twelve: RM3 leaves out terms found in more than a tenth of all passages
PAIRS = ["studies galaxies", "berries jellies", "horses stables", "engines pistons", "violins orchestras", "mountains glaciers"]
PAIRS += ["kings castles", "bridges rivers", "poems verses", "doctors clinics", "trains stations", "bees flowers"]
MANY = tuple(Passage(f"d{i:03}", " ".join([*(POOL[(i * 7 + j * j) % len(POOL)] for j in range(3 + i % 17)), PAIRS[i % 12]])) for i in range(200))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Retrievers over MANY, by kind."""
    index = open_index(MANY, folder=tmp_path_factory.mktemp("many"))
    passages = {passage.id: passage for passage in MANY}
    found = {"bm25": LuceneRetriever(index, passages), "bm25+rm3": LuceneRetriever(index, passages, feedback=Feedback())}
    yield found
    for retriever in found.values():
        retriever.close()


@pytest.fixture
def small(tmp_path, sky):
    retriever = LuceneRetriever(open_index(sky, folder=tmp_path), {passage.id: passage for passage in sky})
    yield retriever
    retriever.close()


def test_hits(small, sky):
    assert isinstance(small, Retriever)
    hits = small.search("Why is the sky blue?", 3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].passage == sky[1]
    assert all(isinstance(hit, Hit) and hit.ranks == {"retrieval": hit.rank} and set(hit.scores) == {"retrieval"} for hit in hits)
    assert len(small.search("sky", 2)) == 2
    assert len(small.search("sky", 10**9)) == 3
    assert len(small) == 7


def test_any_text_is_weighed_as_search_weighs_its_own(many):
    hits = many["bm25"].search("red sky at night, star", 20)
    weights = many["bm25"].weigh("red sky at night, star", [hit.passage.full_text for hit in hits])
    assert weights == pytest.approx([hit.scores["retrieval"] for hit in hits], abs=2e-4)


def test_a_text_outside_the_index_is_weighed_too(small):
    both, one, none = small.weigh("blue whale", ["A blue whale is the largest animal.", "Whales sing.", "Bread rises."])
    assert both > one > none == 0
    assert small.weigh("the", ["the"]) == [0]
    assert small.weigh("whale", []) == []
    small.close()
    with pytest.raises(IndexFailure, match="closed"):
        small.weigh("whale", ["whale"])


def test_bm25_by_hand(tmp_path):
    """One term, k1 0.9, b 0.4: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), tf / (tf + k1 (1 - b + b length / mean))."""
    passages = [Passage("a", "sky sky blue"), Passage("b", "red sea wide"), Passage("c", "green grass hill")]
    retriever = LuceneRetriever(open_index(passages, folder=tmp_path), {passage.id: passage for passage in passages})
    (hit,) = retriever.search("sky", 5)
    retriever.close()
    assert hit.scores["retrieval"] == pytest.approx(math.log(1 + 2.5 / 1.5) * 2 / (2 + 0.9), abs=1e-4)


@pytest.mark.parametrize("kind", ["bm25", "bm25+rm3"])
def test_term_weights_sum_to_the_score(many, kind):
    for query in ("blue sky", "scatter scatter light", "why do whales sing at night", "rain clouds and the sun"):
        hits = many[kind].search(query, 50)
        assert hits
        for hit in hits:
            assert sum(term.weight for term in hit.terms) == pytest.approx(hit.scores["retrieval"], abs=1e-3)
            assert all(term.weight > 0 for term in hit.terms)
            assert list(hit.terms) == sorted(hit.terms, key=lambda term: (-term.weight, term.term))


def test_terms_are_readable(many, small):
    assert {term.term for hit in small.search("Scattering WAVES", 5) for term in hit.terms} == {"Scattering", "WAVES"}
    expanded = {term.term for hit in many["bm25+rm3"].search("Galaxy", 20) for term in hit.terms}
    assert expanded == {"Galaxy", "studies"}, "RM3 adds a word as the passages have it, not its stem"


def test_repeated_query_word_counts_twice(many):
    once, twice = many["bm25"].search("whale", 1)[0], many["bm25"].search("whale whales", 1)[0]
    assert twice.terms == (TermWeight("whale", pytest.approx(2 * once.terms[0].weight, abs=1e-4), once.terms[0].places),)


def test_terms_know_their_places(tmp_path):
    """Stems, capitals, possessives and punctuation as the index sees them; a word that only looks alike is not one."""
    text = "The sky’s blue: “SCATTERED” light scatters, skylarks do not. Scattering!"
    passages = [Passage("a", text, "Sky and scatter in the title"), Passage("b", "red sea wide " * 3), Passage("c", "green grass hill")]
    retriever = LuceneRetriever(open_index(passages, folder=tmp_path), {passage.id: passage for passage in passages})
    (hit,) = retriever.search("why is the sky scattering light, blue", 5)
    many = retriever.search("wide seas", 5)[0]
    retriever.close()
    words = {term.term: [text[a:b] for a, b in term.places] for term in hit.terms}
    assert words == {"sky": ["sky’s"], "scattering": ["SCATTERED", "scatters", "Scattering"], "light": ["light"], "blue": ["blue"]}
    assert [piece.quote for piece in lexical(hit)] == ["sky’s", "blue", "SCATTERED", "light", "scatters", "Scattering"]
    assert {term.term: len(term.places) for term in many.terms} == {"wide": 3, "seas": 3}


@pytest.mark.parametrize("kind", ["bm25", "bm25+rm3"])
def test_ties_stand_by_id_and_scores_fall(small, many, kind):
    assert [hit.id for hit in small.search("stars", 5)] == ["s6", "s7"]
    hits = many[kind].search("sky", 200)
    scores = [hit.scores["retrieval"] for hit in hits]
    assert all(first > second for first, second in pairwise(scores))
    assert [hit.id for hit in many[kind].search("sky", 7)] == [hit.id for hit in hits[:7]], "the cut does not change the order"
    same = [[b.id for b in hits if b.passage.text == a.passage.text] for a in hits]
    assert all(ids == sorted(ids) for ids in same)


def test_same_query_same_answer(many):
    for retriever in many.values():
        assert retriever.search("blue sky light", 30) == retriever.search("blue sky light", 30)


@pytest.mark.parametrize("query", ["", "   ", "the of and", "?!*", "\\", "日本語", "\ud800", "\0", "zzzzunknown"])
@pytest.mark.parametrize("kind", ["bm25", "bm25+rm3"])
def test_queries_that_find_nothing(many, kind, query):
    assert many[kind].search(query, 5) == ()


@pytest.mark.parametrize(
    "query", ['"blue', "blue AND (sky OR", "+blue -sky ~2 ^3", "contents: blue", "blue\0sky", "bl\ud800 blue", "😀 blue", "{blue TO sky]"]
)
@pytest.mark.parametrize("kind", ["bm25", "bm25+rm3"])
def test_lucene_syntax_is_only_text(many, kind, query):
    assert many[kind].search(query, 5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=60), k=st.integers(1, 300))
def test_any_text_is_a_query(many, query, k):
    hits = many["bm25"].search(query, k)
    assert len({hit.id for hit in hits}) == len(hits) <= k


def test_bad_options(many, tmp_path, sky):
    with pytest.raises(BadInput, match="k is 0"):
        many["bm25"].search("sky", 0)
    with pytest.raises(BadInput, match="more than 1,024 different words"):
        many["bm25"].search(" ".join(f"w{i}" for i in range(1100)), 5)
    with pytest.raises(BadInput, match="k1 -1"):
        LuceneRetriever(tmp_path, {}, k1=-1)
    with pytest.raises(BadInput, match="k1 nan"):
        LuceneRetriever(tmp_path, {}, k1=float("nan"))
    with pytest.raises(IndexFailure):
        LuceneRetriever(tmp_path / "none", {})


def test_k1_and_b_change_the_scores(tmp_path):
    index, passages = open_index(MANY, folder=tmp_path), {passage.id: passage for passage in MANY}
    scores = set()
    for k1, b in ((0.9, 0.4), (1.2, 0.75), (0.0, 0.0)):
        retriever = LuceneRetriever(index, passages, k1=k1, b=b)
        hit = retriever.search("blue sky", 1)[0]
        assert sum(term.weight for term in hit.terms) == pytest.approx(hit.scores["retrieval"], abs=1e-3)
        scores.add(hit.scores["retrieval"])
        retriever.close()
    assert len(scores) == 3


def test_eight_threads_get_their_own_answers(many, small):
    """Calls from many threads must not be mixed up, also between two indexes."""
    queries = [" ".join(POOL[i : i + 3]) for i in range(0, 18, 2)]
    want = {(kind, query): many[kind].search(query, 10) for kind in many for query in queries}
    blue, errors = small.search("blue", 5), []

    def work(offset):
        try:
            for step in range(24):
                key = list(want)[(offset * 5 + step) % len(want)]
                assert many[key[0]].search(key[1], 10) == want[key]
                assert small.search("blue", 5) == blue
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_close_waits_for_searches_and_is_final(tmp_path):
    retriever = LuceneRetriever(open_index(MANY, folder=tmp_path), {passage.id: passage for passage in MANY}, feedback=Feedback())
    outcomes = []

    def work():
        try:
            while True:
                outcomes.append(len(retriever.search("sky", 50)))
        except IndexFailure as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 5:
        pass
    retriever.close()
    retriever.close()
    for thread in threads:
        thread.join()
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["this index is closed: open the corpus again"] * 3


def test_a_dropped_retriever_is_freed(tmp_path, sky):
    retriever = LuceneRetriever(open_index(sky, folder=tmp_path), {passage.id: passage for passage in sky})
    java, gone = retriever._java, weakref.ref(retriever)
    del retriever
    gc.collect()
    assert gone() is None
    assert list(java) == ["size"]


def test_passage_that_the_corpus_lacks(tmp_path, sky):
    retriever = LuceneRetriever(open_index(sky, folder=tmp_path), {})
    with pytest.raises(IndexFailure, match="which the corpus has not"):
        retriever.search("sky", 2)
    retriever.close()


@in_java
def write_raw_index(folder):
    indexer = java_class("io.anserini.index.SimpleIndexer")(["-index", folder, "-collection", "JsonCollection", "-input", "", "-storeRaw"])
    indexer.addRawDocument('{"id": "m1", "contents": "the sky is blue"}')
    indexer.addRawDocument('{"id": "m2", "contents": "a sky of night", "title": "Night"}')
    indexer.close()


@pytest.mark.parametrize("feedback", [None, Feedback()])
def test_text_from_the_stored_field(tmp_path, feedback):
    """As in a prebuilt index: no passages at hand, no document vectors."""
    write_raw_index(str(tmp_path))
    retriever = LuceneRetriever(tmp_path, None, feedback=feedback)
    assert {hit.passage for hit in retriever.search("sky", 5)} == {Passage("m1", "the sky is blue"), Passage("m2", "a sky of night", "Night")}
    assert retriever.passage("m1").text == "the sky is blue"
    assert retriever.passage("none") is None
    retriever.close()


def test_stored_passage_forms():
    assert stored_passage("1", '{"_id": "1", "title": "T", "text": "x"}') == Passage("1", "x", "T")
    assert stored_passage("1", "plain <b>text</b>") == Passage("1", "plain <b>text</b>")
    assert stored_passage("1", "[1]") == Passage("1", "[1]")
    assert stored_passage("1", '{"docid": "d", "url": "u", "title": "T", "segment": "x"}') == Passage("1", "x", "T")
    assert stored_passage("1", '{"_id": "1", "title": "Only a title", "text": ""}') == Passage("1", "Only a title")


def test_a_query_is_taken_apart_as_the_index_was(many, tmp_path, sky):
    index = open_index(sky, folder=tmp_path)
    chinese = LuceneRetriever(index, {p.id: p for p in sky}, language="zh")
    assert chinese._analyse("天空蓝色") == ("天空", "空蓝", "蓝色")
    assert many["bm25"]._analyse("studies") == ("studi",)
    chinese.close()
