"""Corpora by name or path: text in, retrievers out.

>>> "teaching" in corpus_names()
True
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from corpora import teaching
from corpora.formats import Query, read_passages, read_queries
from corpora.fusion import HybridRetriever
from corpora.prebuilt import PREFIX, download, language, prebuilt_names
from corpora.retrieval import KINDS, Retriever, check_ids
from corpora.rows import SUFFIXES
from corpora.trec import Qrels, read_candidates, read_qrels
from dear.errors import BadInput, DearError
from dear.types import BM25_B, BM25_K1, MAX_PASSAGE_CHARS, Passage, check_passages

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


class Corpus:
    """Passages with their queries and judgments, and the retrievers over them, each built when first asked for.

    Use it from any thread; `close` (or leaving a `with` block) frees indexes and removes those of a temporary corpus.
    Raises `BadInput` when two passages have the same id.
    """

    def __init__(
        self,
        name: str,
        passages: Sequence[Passage],
        *,
        title: str = "",
        description: str = "",
        licence: str = "",
        queries: Sequence[Query] = (),
        qrels: Mapping[str, Mapping[str, int]] | None = None,
        candidates: Mapping[str, Sequence[str]] | None = None,
        temporary: bool = False,
    ) -> None:
        self.name, self.title, self.description, self.licence = name, title or name, description, licence
        self.queries, self.candidates = tuple(queries), dict(candidates or {})
        check_ids(passages)
        self._passages = {passage.id: passage for passage in passages}
        self._qrels: Mapping[str, Mapping[str, int]] = qrels or {}
        self._query_ids = {_normal(query.text): query.id for query in self.queries}
        self._retrievers: dict[tuple[str, float, float], Retriever] = {}
        self._lock, self._building = threading.Lock(), {kind: threading.RLock() for kind in KINDS}
        self._folder, self._closed = None, False
        if temporary:
            self._folder = Path(tempfile.mkdtemp(prefix="dear-corpus-"))
            self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._passages)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def passages(self) -> tuple[Passage, ...]:
        """All passages in file order."""
        return tuple(self._passages.values())

    def passage(self, id_: str) -> Passage:
        """The passage with this id; raises `BadInput` when the corpus has none."""
        found = self._find(id_)
        if found is None:
            raise BadInput(f"corpus {self.name!r} has no passage {id_!r}: use an id of one of its {len(self):,} passages")
        return found

    def judgments(self, query: str) -> dict[str, int] | None:
        """Grades by passage id for a query given by id or text (case and blanks aside); None when it was not judged."""
        grades = self._qrels.get(query)
        if grades is None:
            grades = self._qrels.get(self._query_ids.get(_normal(query), ""))
        return None if grades is None else dict(grades)

    def retriever(self, kind: str = "bm25", *, k1: float = BM25_K1, b: float = BM25_B, progress: Progress | None = None) -> Retriever:
        """The retriever of this kind ("bm25", "bm25+rm3", "dense", "hybrid"), built on the first call and shared after it.

        `k1` and `b` are BM25's, wherever it takes part; `progress(done, total)` counts passages while one is built. Raises `BadInput` on
        an unknown kind, on values BM25 does not have, and on any of them for dense search, which has no BM25.
        """
        if kind not in KINDS:
            raise BadInput(f"unknown retriever {kind!r}: use one of {', '.join(KINDS)}")
        if kind == "dense" and (k1, b) != (BM25_K1, BM25_B):
            raise BadInput(f"k1 {k1:g} and b {b:g} are BM25's, which dense search has not: leave them out, or use bm25, bm25+rm3 or hybrid")
        key = (kind, k1, b)
        with self._building[kind]:  # a slow build (dense) keeps nobody from another kind
            if (found := self._retrievers.get(key)) and not self._closed:
                return found
            if self._closed:
                raise self._closed_error()
            built = self._build(kind, k1, b, progress)
            with self._lock:
                if not self._closed:
                    self._retrievers[key] = built
                    return built
        built.close()
        raise self._closed_error()

    def close(self) -> None:
        """Close every retriever and remove a temporary corpus' index; calling it again does nothing."""
        with self._lock:
            self._closed = True
            retrievers, self._retrievers = self._retrievers, {}
        for retriever in retrievers.values():
            retriever.close()
        if self._folder:
            self._remove()

    def _closed_error(self) -> BadInput:
        return BadInput(f"corpus {self.name!r} is closed: open it again")

    def _find(self, id_: str) -> Passage | None:
        return self._passages.get(id_)

    def _build(self, kind: str, k1: float, b: float, progress: Progress | None) -> Retriever:
        if not len(self):
            return _Empty(kind)
        if kind == "hybrid":
            return HybridRetriever([self.retriever("bm25", k1=k1, b=b, progress=progress), self.retriever("dense", progress=progress)])
        if kind == "dense":
            from corpora.dense import DenseRetriever, default_folder

            return DenseRetriever(self.passages, folder=None if self._folder else default_folder(), progress=progress)
        from corpora.indexes import open_index
        from corpora.lucene import Feedback, LuceneRetriever

        folder = open_index(self.passages, folder=self._folder, progress=progress)
        return LuceneRetriever(folder, self._passages, feedback=Feedback() if kind == "bm25+rm3" else None, k1=k1, b=b)


class IndexCorpus(Corpus):
    """A corpus that lives in a Lucene index only, its text in the stored raw field: a prebuilt index, or a folder of one."""

    def __init__(self, name: str, folder: Path, *, title: str = "", description: str = "", language: str = "en") -> None:
        super().__init__(name, (), title=title, description=description, licence="as its publisher states")
        self._index, self._language = folder, language
        self._reader = self.retriever("bm25")

    def __len__(self) -> int:
        return len(self._reader)  # type: ignore[arg-type]

    @property
    def passages(self) -> tuple[Passage, ...]:
        """Not available: an index is read by search or by id."""
        raise BadInput(f"the passages of {self.name!r} cannot be listed: search it, or ask for one passage by id")

    def _find(self, id_: str) -> Passage | None:
        return self._reader.passage(id_)  # type: ignore[attr-defined]

    def _build(self, kind: str, k1: float, b: float, progress: Progress | None) -> Retriever:
        if kind not in ("bm25", "bm25+rm3"):
            raise BadInput(f"{kind!r} search needs the passages' embeddings, which {self.name!r} has not: use bm25 or bm25+rm3")
        from corpora.lucene import Feedback, LuceneRetriever

        feedback = Feedback() if kind == "bm25+rm3" else None
        return LuceneRetriever(self._index, None, feedback=feedback, k1=k1, b=b, language=self._language)


class _Empty:
    """What a corpus without passages answers: nothing."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def search(self, query: str, k: int) -> tuple:
        return ()

    def close(self) -> None:
        pass


def corpus_names() -> tuple[str, ...]:
    """The bundled corpora's names."""
    return tuple(_BUNDLED)


def open_corpus(name_or_path: str | Path, *, max_chars: int = MAX_PASSAGE_CHARS) -> Corpus:
    """The corpus of that name or at that path; raises `BadInput` listing the known names when there is none.

    A bundled name ("teaching"); a folder with corpus.jsonl (or .tsv, .csv, .txt, each also .gz) and, where present,
    queries.jsonl, qrels.tsv, candidates.tsv and corpus.json (title, description, licence); one passages file; a folder
    that is a Lucene index with stored raw text; or a Pyserini prebuilt index ("prebuilt:msmarco-v1-passage", or its bare name).
    `max_chars` bounds a folder's passages: benchmarks hold longer ones than the page takes.
    """
    name = str(name_or_path)
    if name in _BUNDLED:
        return _BUNDLED[name]()
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path, max_chars)
    if path.is_file():
        return Corpus(_stem(path), tuple(read_passages(path)))
    if name.startswith(PREFIX) or _is_prebuilt(name):
        bare = name.removeprefix(PREFIX)
        return IndexCorpus(bare, download(bare), description=f"Pyserini's prebuilt index {bare}", language=language(bare))
    raise BadInput(
        f"no corpus {name!r}: use one of {', '.join(corpus_names())}, the path of a folder or of a passages file, "
        f"or {PREFIX}NAME with the name of a Pyserini prebuilt index such as msmarco-v1-passage"
    )


def corpus_from_passages(passages: Iterable[Passage], name: str = "my passages", *, max_chars: int = MAX_PASSAGE_CHARS) -> Corpus:
    """A corpus of passages in memory (a user's upload); its index lies in a folder of its own and goes with `close`.

    Raises `BadInput` on a duplicate id, an empty text or one of more than `max_chars` characters.
    """
    return Corpus(name, check_passages(tuple(passages), max_chars=max_chars), temporary=True)


def _teaching() -> Corpus:
    data = teaching.load()
    return Corpus(
        "teaching", data.passages, title=teaching.TITLE, description=teaching.DESCRIPTION, licence=teaching.LICENCE,
        queries=data.queries, qrels=data.qrels,
    )  # fmt: skip


_BUNDLED: dict[str, Callable[[], Corpus]] = {"teaching": _teaching}


def _from_folder(folder: Path, max_chars: int) -> Corpus:
    if any(folder.glob("segments_*")):
        return IndexCorpus(folder.name, folder, description="a Lucene index")
    names = [f"{stem}{suffix}{packed}" for stem in ("corpus", "passages") for suffix in SUFFIXES for packed in ("", ".gz") if suffix != ".json"]
    file = _first(folder, names)
    if file is None:
        raise BadInput(f"folder {str(folder)!r} holds no corpus.jsonl: put the passages there as corpus.jsonl (or .tsv, .csv, .txt, .gz)")
    about, queries = folder / "corpus.json", _first(folder, [f"queries.{end}" for end in ("jsonl", "jsonl.gz", "tsv", "tsv.gz")])
    qrels, pools = _first(folder, ["qrels.tsv", "qrels.tsv.gz", "qrels.txt"]), _first(folder, ["candidates.tsv", "candidates.tsv.gz"])
    found: Qrels = read_qrels(qrels) if qrels else {}
    return Corpus(
        folder.resolve().name,
        tuple(read_passages(file, max_chars=max_chars)),
        queries=tuple(read_queries(queries)) if queries else (),
        qrels=found,
        candidates=read_candidates(pools) if pools else None,
        **_about(about),
    )


def _about(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    try:
        data = dict(json.loads(file.read_bytes()))
        return {name: str(data[name]) for name in ("title", "description", "licence") if name in data}
    except (ValueError, TypeError) as error:
        raise BadInput(f"{str(file)!r} is not a JSON object ({error}): write title, description and licence into one") from error


def _is_prebuilt(name: str) -> bool:
    try:
        return "/" not in name and name in prebuilt_names()
    except DearError as error:  # without Java the name is simply not known
        logger.debug("Pyserini's names cannot be read: %s", error)
        return False


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem


def _normal(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(" ?")
