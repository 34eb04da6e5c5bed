"""Pyserini's prebuilt Lucene indexes by name: downloaded once by Pyserini, passages read from the stored raw field."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path

from corpora.jvm import in_java
from dear.errors import BadInput, IndexFailure

logger = logging.getLogger(__name__)
PREFIX = "prebuilt:"


@in_java
def prebuilt_names() -> tuple[str, ...]:
    """The names of the bag-of-words indexes this Pyserini knows (some 500); needs no network."""
    from pyserini.prebuilt_index_info import TF_INDEX_INFO

    return tuple(TF_INDEX_INFO)


@in_java
def _downloader() -> Callable[..., str]:
    """Pyserini's download function: importing it uses Java, calling it does not."""
    from pyserini.util import download_prebuilt_index

    return download_prebuilt_index


def download(name: str) -> Path:
    """The folder of the prebuilt index, downloaded now unless Pyserini has it already (PYSERINI_CACHE or ~/.cache/pyserini).

    Raises `BadInput` on a name Pyserini does not know, `IndexFailure` when the download fails.
    """
    if name not in prebuilt_names():
        close = [known for known in prebuilt_names() if name.split("-")[0] in known][:8]
        raise BadInput(f"Pyserini knows no prebuilt index {name!r}: use one of its names, such as {', '.join(close or ['msmarco-v1-passage'])}")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            return Path(_downloader()(name, verbose=False))
    except Exception as error:
        raise IndexFailure(
            f"the prebuilt index {name!r} cannot be downloaded ({error}): it needs network and disk space, "
            "or a copy made elsewhere under PYSERINI_CACHE; the corpus 'teaching' works offline"
        ) from error
    finally:
        logger.debug("pyserini: %s", said.getvalue().strip())
