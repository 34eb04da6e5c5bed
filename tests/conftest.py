"""Fixtures for all rooms: tiny random LLaMA checkpoints, built once a session. No test reaches for the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import chromium
from tiny_llama import save_llama, save_lora

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of evaluation sets: DEAR_SHARED_DATA, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("DEAR_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "test").is_dir():
        pytest.skip(f"no evaluation sets at {folder}: set DEAR_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole language model; pads with its end-of-text token."""
    return save_llama(tmp_path_factory.mktemp("tiny") / "causal")


@pytest.fixture(scope="session")
def tiny_scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole (merged) pointwise checkpoint."""
    return save_llama(tmp_path_factory.mktemp("tiny") / "scorer", head="score", seed=3)


@pytest.fixture(scope="session")
def tiny_score_adapter(tmp_path_factory: pytest.TempPathFactory, tiny_causal: Path) -> Path:
    """A pointwise LoRA adapter with its score head, on `tiny_causal`."""
    return save_lora(tmp_path_factory.mktemp("tiny") / "score-lora", tiny_causal, head="score")


@pytest.fixture(scope="session")
def tiny_list_adapter(tmp_path_factory: pytest.TempPathFactory, tiny_causal: Path) -> Path:
    """A listwise LoRA adapter on `tiny_causal`."""
    return save_lora(tmp_path_factory.mktemp("tiny") / "list-lora", tiny_causal, head="vocabulary", seed=2)


@pytest.fixture(scope="module")  # no wider: playwright's event loop would be in the way of later tests' own
def chrome() -> Iterator[Any]:
    """Chromium, for a module's browser tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -r requirements-dev.txt")
    with playwright.sync_playwright() as driver:
        try:
            found = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium ({str(error).splitlines()[0]}): apt-get install chromium, or playwright install chromium")
        yield found
        found.close()
