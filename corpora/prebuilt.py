"""Pyserini's prebuilt Lucene indexes by name: downloaded once by Pyserini, passages read from the stored raw field."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path

from corpora.cache import cache_dir, locked
from corpora.jvm import in_java
from dear.errors import BadInput, IndexFailure

logger = logging.getLogger(__name__)
PREFIX = "prebuilt:"
_OTHER_LANGUAGE = re.compile(r"(?:miracl-v1\.0|mrtydi-v1\.1|hc4-v1\.0|neuclir22)-([a-z]+)(?:-.*)?")
_CODES = {
    "arabic": "ar", "bengali": "bn", "finnish": "fi", "indonesian": "id", "japanese": "ja", "korean": "ko", "russian": "ru",
    "telugu": "te", "thai": "th",
}  # fmt: skip
_ANALYSED = {"ar", "bn", "de", "es", "fa", "fi", "fr", "hi", "id", "ja", "ko", "ru", "te", "th", "zh"}  # the keys of Anserini's AnalyzerMap


def language(name: str) -> str:
    """The language a prebuilt index was analysed in, by its name; queries must be taken apart in the same way.

    >>> language("miracl-v1.0-zh"), language("mrtydi-v1.1-arabic"), language("msmarco-v1-passage"), language("miracl-v1.0-sw")
    ('zh', 'ar', 'en', 'en')
    """
    found = _OTHER_LANGUAGE.fullmatch(name)
    code = _CODES.get(found[1], found[1]) if found else "en"
    return code if code in _ANALYSED else "en"


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
        get = _downloader()
        # Two downloads at once would unpack into each other's folder.
        with locked(cache_dir() / "prebuilt" / name), contextlib.redirect_stdout(said):
            return Path(get(name, verbose=False))
    except IndexFailure:
        raise
    except Exception as error:
        raise IndexFailure(
            f"the prebuilt index {name!r} cannot be downloaded ({error}): it needs network and disk space, "
            "or a copy made elsewhere under PYSERINI_CACHE; the corpus 'teaching' works offline"
        ) from error
    finally:
        logger.debug("pyserini: %s", said.getvalue().strip())
