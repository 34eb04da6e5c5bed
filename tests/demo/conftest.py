"""Fixtures; what they are made of is in `demo_parts`."""

import pytest
from demo_parts import QUERY, pipeline


@pytest.fixture(scope="session")
def run_events() -> list:
    """A whole run of the fake engines, as recorded events."""
    return list(pipeline(max_tokens=2000).run(QUERY))
