"""Practice topics: passages and graded queries written for stage 1 to learn from, in the form of the teaching corpus (DATA_CARD.md)."""

from __future__ import annotations

import functools
from pathlib import Path

from corpora.teaching import Teaching


@functools.cache
def load() -> Teaching:
    """The practice topics; splits are "train" and "dev". Reasons are written for one or two queries of the topics that are not news."""
    return Teaching(Path(__file__).resolve().parent)
