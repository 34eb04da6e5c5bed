"""BM25 and RM3 over a Lucene index, with the weight of every term in every hit.

The Java classes are those that Pyserini wraps (Anserini's SimpleSearcher and its bag-of-words query), called without
importing pyserini.search, which would load torch first (6–10 s). Scores are rounded to 4 decimals by Anserini and
tied ones are lowered by 1e-6 each, so they fall strictly; the term weights sum to the score within 1e-3.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from corpora.formats import passage_of
from corpora.jvm import in_java, java_class
from corpora.retrieval import check_k, make_hits
from dear.errors import BadInput, IndexFailure
from dear.types import BM25_B, BM25_K1, Hit, Passage, TermWeight

_WEIGHT = re.compile(r"^\s*([\d.E+-]+) = weight\(contents:(\S+) in \d+\)", re.MULTILINE)
_WORD = re.compile(r"\w+(?:['’]\w+)*")
MAX_PLACES = 50  # of one term in one passage: a text that repeats a word does not make a run large


@dataclass(frozen=True, slots=True)
class Feedback:
    """RM3 (Abdul-Jaleel et al. 2004): expand the query by `terms` terms of the first `passages` hits; Anserini's defaults."""

    terms: int = 10
    passages: int = 10
    original_weight: float = 0.5


class LuceneRetriever:
    """Search a Lucene index: BM25 with Anserini's k1 0.9 and b 0.4, or BM25+RM3 when `feedback` is given.

    `passages` gives each id its passage; without it the text is read from the index's stored field (prebuilt indexes). `language`
    is that of the index's analyzer.
    Raises `IndexFailure` when `folder` holds no readable index.
    """

    def __init__(
        self,
        folder: Path,
        passages: Mapping[str, Passage] | None = None,
        *,
        feedback: Feedback | None = None,
        k1: float = BM25_K1,
        b: float = BM25_B,
        language: str = "en",
    ) -> None:
        if not 0 <= k1 < math.inf or not 0 <= b <= 1:
            raise BadInput(f"BM25 with k1 {k1:g} and b {b:g}: k1 is 0 or more, b between 0 and 1")
        self.kind = "bm25+rm3" if feedback else "bm25"
        self._passages, self._java = passages, _open(str(folder), k1, b, feedback, language)
        self._k1, self._b = k1, b
        self._idle, self._searching, self._closed = threading.Condition(), 0, False
        self._stem = lru_cache(maxsize=50_000)(self._analyse)
        self._release = weakref.finalize(self, _close, self._java)
        self._release.atexit = False

    def __len__(self) -> int:
        return self._java["size"]

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """The best `k` hits, score descending, then passage id; only stop words or unknown words give none."""
        check_k(k)
        with self._open_index():
            return make_hits(self._search(_clean(query), min(k, len(self))))

    def passage(self, id_: str) -> Passage | None:
        """The passage with this id, or None."""
        return self._passages.get(id_) if self._passages is not None else self._stored(id_)

    def weigh(self, query: str, texts: Sequence[str]) -> list[float]:
        """BM25 of each text for the query by this index's statistics, whether the index holds the text or not.

        For a passage of the index it is `search`'s score, but for Lucene's rounding of long lengths (within 5 per cent).
        """
        with self._open_index():
            return self._weigh(_clean(query), texts)

    def close(self) -> None:
        """Take no more searches, wait for those under way, then free the index; calling it again does nothing."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: self._searching == 0)
            self._release()

    @contextlib.contextmanager
    def _open_index(self) -> Iterator[None]:
        """The index, not closed before the block ends; raises `IndexFailure` where it already is."""
        with self._idle:
            if self._closed:
                raise IndexFailure("this index is closed: open the corpus again")
            self._searching += 1
        try:
            yield
        finally:
            with self._idle:
                self._searching -= 1
                self._idle.notify_all()

    @in_java
    def _weigh(self, query: str, texts: Sequence[str]) -> list[float]:
        searcher, term = self._java["explainer"], java_class("org.apache.lucene.index.Term")
        statistics = searcher.collectionStatistics("contents")
        size, average = statistics.docCount(), statistics.sumTotalTermFreq() / statistics.docCount()
        wanted = Counter(self._analyse(query))
        held = {stem: self._java["reader"].docFreq(term("contents", stem)) for stem in wanted}
        rarity = {stem: count * math.log(1 + (size - held[stem] + 0.5) / (held[stem] + 0.5)) for stem, count in wanted.items()}
        return [_bm25(rarity, self._analyse(_clean(text)), average, self._k1, self._b) for text in texts]

    @in_java
    def _search(self, query: str, k: int) -> list[tuple[Passage, float, tuple[TermWeight, ...]]]:
        java = self._java
        parsed, weights = java["parse"](query), {}
        if not parsed.toString():
            return []
        docs = [(doc.docid, doc.lucene_docid, doc.score) for doc in java["searcher"].search(query, k)]
        found = [(self.passage(id_), number, score) for id_, number, score in docs]
        if missing := [id_ for (id_, _, _), (passage, _, _) in zip(docs, found, strict=True) if passage is None]:
            if self._passages is None:
                raise IndexFailure(
                    f"the index stores no text of passage {missing[0]!r}: use an index with stored text, one without -slim in its name"
                )
            raise IndexFailure(f"the index names passage {missing[0]!r}, which the corpus has not: delete the index to have it rebuilt")
        if self.kind == "bm25+rm3" and docs:
            weights = _feedback_terms(java["searcher"], query)
            parsed = _weighted_query(weights)
        words = self._words(_WORD.findall(query))
        words |= self._expansions(set(weights) - set(words), [passage.full_text for passage, _, _ in found[:10]])
        explained = [java["explainer"].explain(parsed, number).toString() for _, number, _ in found]
        places = [self._places(passage.text, words) for passage, _, _ in found]
        return [(p, score, tuple(_terms(*known, words))) for (p, _, score), *known in zip(found, explained, places, strict=True)]

    def _words(self, words: Iterable[str]) -> dict[str, str]:
        """Stem -> the word as written, the first one that has it."""
        stems: dict[str, str] = {}
        for word in words:
            tokens = self._stem(word.lower())
            if len(tokens) == 1:
                stems.setdefault(tokens[0], word)
        return stems

    def _places(self, text: str, stems: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
        """Stem -> character spans of the words in `text` that have it, the first `MAX_PLACES` of each."""
        # English stemming changes a word's end only, so few words need to be asked about.
        starts, places = tuple(stem[: max(2, len(stem) - 1)] for stem in stems), defaultdict(list)
        for match in _WORD.finditer(text):
            word = match[0].lower()
            if word.startswith(starts):
                for stem in self._stem(word):
                    places[stem].append(match.span())
        return {stem: spans[:MAX_PLACES] for stem, spans in places.items()}

    def _expansions(self, stems: set[str], texts: list[str]) -> dict[str, str]:
        """A readable word for each stem that is not in the query, from the passages the stems came from."""
        found: dict[str, str] = {}
        for stem in sorted(stems):
            starts = re.compile(rf"\b{re.escape(stem[: max(2, len(stem) - 1)])}\w*", re.IGNORECASE)
            candidates = {word.lower() for text in texts for word in starts.findall(text)}
            word = min((word for word in candidates if self._stem(word) == (stem,)), key=lambda word: (len(word), word), default=stem)
            found[stem] = word
        return found

    @in_java
    def _analyse(self, word: str) -> tuple[str, ...]:
        return tuple(java_class("io.anserini.analysis.AnalyzerUtils").analyze(self._java["analyzer"], word).toArray())

    @in_java
    def _stored(self, id_: str) -> Passage | None:
        raw = self._java["searcher"].doc_raw(id_)
        return None if raw is None else stored_passage(id_, raw)


def stored_passage(id_: str, raw: str) -> Passage:
    """The passage in an index's stored `raw` field: a JSON object under the usual names, its title where it has no text, or plain text itself."""
    try:
        data = json.loads(raw)
    except ValueError:
        return Passage(id_, raw)
    if not isinstance(data, dict):
        return Passage(id_, raw)
    fields = {str(key).lower(): value for key, value in data.items()}
    try:
        _, title, text = passage_of(fields)
        return Passage(id_, text, title)
    except ValueError:
        title = fields.get("title")
        return Passage(id_, title if isinstance(title, str) and title.strip() else raw)


def _clean(query: str) -> str:
    """The query with what Java cannot take (NUL, half surrogates) as blanks."""
    return "".join(" " if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in query)


def _bm25(rarity: Mapping[str, float], stems: Sequence[str], average: float, k1: float, b: float) -> float:
    """Lucene's BM25: sum over the query's terms of idf * tf / (tf + k1 (1 - b + b length / average length)) (Robertson and Zaragoza 2009)."""
    counts = Counter(stem for stem in stems if stem in rarity)
    norm = k1 * (1 - b + b * len(stems) / average)
    return sum(rarity[stem] * count / (count + norm) for stem, count in counts.items())


def _terms(explanation: str, places: Mapping[str, Sequence[tuple[int, int]]], words: Mapping[str, str]) -> list[TermWeight]:
    """The term weights in Lucene's explanation of one hit, largest first, with where the terms stand in the text."""
    found = _WEIGHT.findall(explanation)
    weights = [TermWeight(words.get(term, term), float(value), tuple(places.get(term, ()))) for value, term in found]
    return sorted(weights, key=lambda weight: (-weight.weight, weight.term))


@in_java
def _open(folder: str, k1: float, b: float, feedback: Feedback | None, language: str) -> dict[str, Any]:
    searcher = java_class("io.anserini.search.SimpleSearcher")(folder)
    searcher.set_bm25(k1, b)
    if language != "en":
        searcher.set_language(language)
    reader = java_class("io.anserini.index.IndexReaderUtils").getReader(folder)
    explainer = java_class("org.apache.lucene.search.IndexSearcher")(reader)
    explainer.setSimilarity(java_class("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
    generator, analyzer = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")(), searcher.get_analyzer()
    if feedback:
        source = None if reader.numDocs() and reader.termVectors().get(0) else "JsonCollection"
        searcher.set_rm3(source, feedback.terms, feedback.passages, feedback.original_weight, False, True)
    searcher.search("a", 1)  # makes the inner searcher now: the first search is not thread-safe
    return {
        "searcher": searcher, "reader": reader, "explainer": explainer, "analyzer": analyzer, "size": reader.numDocs(),
        "parse": lambda query: generator.buildQuery("contents", analyzer, query),
    }  # fmt: skip


@in_java
def _close(java: dict[str, Any]) -> None:
    java["searcher"].close()
    java["reader"].close()
    size = java["size"]
    java.clear()
    java["size"] = size


def _feedback_terms(searcher: Any, query: str) -> dict[str, float]:
    terms = searcher.get_feedback_terms(query)
    return {entry.getKey(): entry.getValue() for entry in terms.entrySet().toArray()} if terms else {}


def _weighted_query(weights: Mapping[str, float]) -> Any:
    """The expanded query as RM3 runs it: one boosted optional clause a term."""
    from jnius import cast

    term, query = java_class("org.apache.lucene.index.Term"), java_class("org.apache.lucene.search.TermQuery")
    boost, occur = java_class("org.apache.lucene.search.BoostQuery"), java_class("org.apache.lucene.search.BooleanClause$Occur")
    builder = java_class("org.apache.lucene.search.BooleanQuery$Builder")()
    for text, weight in weights.items():
        builder.add(boost(query(term("contents", text)), weight), occur.SHOULD)
    return cast("org.apache.lucene.search.Query", builder.build())
