"""Every example that a docstring shows holds."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHOWING = sorted(
    path.relative_to(ROOT)
    for room in ("dear", "corpora", "demo", "training", "bench")
    for path in (ROOT / room).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8") and path.name != "__main__.py"
)


def test_there_are_examples():
    assert len(SHOWING) > 30


@pytest.mark.parametrize("path", SHOWING, ids=str)
def test_its_examples_hold(path):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
