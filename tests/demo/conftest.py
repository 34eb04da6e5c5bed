"""Fixtures; what they are made of is in `demo_parts`."""

import pytest
from demo_parts import QUERY, pipeline, served, write_corpus


@pytest.fixture(scope="session")
def run_events() -> list:
    """A whole run of the fake engines, as recorded events."""
    return list(pipeline(max_tokens=2000).run(QUERY))


@pytest.fixture(scope="module")
def lab_site(tmp_path_factory):
    """The page over a small corpus with the fake model, slow enough that a run can be stopped: 2 ms a token."""
    with served(str(write_corpus(tmp_path_factory.mktemp("lab") / "small")), delay=0.002) as url:
        yield url


@pytest.fixture(scope="module")
def slow_site(tmp_path_factory):
    """The same at 20 ms a token: what is there only while a run goes on is there for seconds, and Stop comes in time."""
    with served(str(write_corpus(tmp_path_factory.mktemp("slow") / "small")), delay=0.02) as url:
        yield url
