"""Fixtures for the corpora: a cache of the test run's own, a few passages, and the evaluation sets where they lie."""

from __future__ import annotations

import pytest

from dear.types import Passage


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("DEAR_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def sky() -> tuple[Passage, ...]:
    """Seven passages; s6 and s7 have the same text."""
    return (
        Passage("s1", "Air molecules scatter short waves of light far more strongly than long ones.", "Rayleigh scattering"),
        Passage("s2", "The sky is blue because blue light is scattered in every direction.", "Blue"),
        Passage("s3", "Sunsets are red: the path through the air is long and the blue is gone.", "Evening"),
        Passage("s4", "Blue whales are the largest animals that have ever lived.", "Whales"),
        Passage("s5", "A recipe for blueberry jam: berries, sugar, lemon, patience.", "Jam"),
        Passage("s7", "The night sky holds thousands of stars.", "Stars"),
        Passage("s6", "The night sky holds thousands of stars.", "Stars"),
    )
