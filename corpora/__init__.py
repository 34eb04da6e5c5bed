"""Text in, ranked candidates out: readers, Lucene and dense search, fusion, and a registry of corpora.

    from corpora import open_corpus
    hits = open_corpus("teaching").retriever("bm25").search("why is the sky blue", 10)

Importing it loads neither Java nor a model; a retriever does, when it is first asked for.
"""

from corpora.formats import Query, ReadResult, collect_passages, read_passages, read_queries
from corpora.fusion import HybridRetriever, reciprocal_rank_fusion
from corpora.registry import Corpus, corpus_from_passages, corpus_names, open_corpus
from corpora.retrieval import KINDS, Retriever
from corpora.rows import RowError
from corpora.trec import RunLine, read_candidates, read_qrels, read_run, stream_run

__all__ = [
    "KINDS", "Corpus", "HybridRetriever", "Query", "ReadResult", "Retriever", "RowError", "RunLine",
    "collect_passages", "corpus_from_passages", "corpus_names", "open_corpus", "read_candidates", "read_passages",
    "read_qrels", "read_queries", "read_run", "reciprocal_rank_fusion", "stream_run",
]  # fmt: skip
