"""DeAR: two-stage reranking with reasons (arXiv 2508.16998). `Reranker.load("dear-nano").rank(query, passages)`.

Importing this package is cheap; models and indexes are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["DearError", "Hit", "Passage", "Pipeline", "Reranker", "Settings", "__version__"]

if TYPE_CHECKING:
    from dear.errors import DearError
    from dear.pipeline import Pipeline, Settings
    from dear.reranker import Reranker
    from dear.types import Hit, Passage

_HOME = {
    "DearError": "dear.errors",
    "Hit": "dear.types",
    "Passage": "dear.types",
    "Pipeline": "dear.pipeline",
    "Reranker": "dear.reranker",
    "Settings": "dear.pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'dear' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
