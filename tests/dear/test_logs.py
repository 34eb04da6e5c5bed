"""What a log keeps of an error: its kind, its place and what led to it, and not its words."""

from __future__ import annotations

from dear import logs


def test_kind_place_and_cause_without_words():
    def reads(text: str) -> None:
        try:
            int(text)
        except ValueError as error:
            raise RuntimeError(f"cannot read {text}") from error

    try:
        reads("a private question")
    except RuntimeError as error:
        told = logs.places(error)
    first, second = told.split("\nafter ")
    assert first.startswith("RuntimeError at\n")
    assert second.startswith("ValueError at\n")
    assert f"{__file__}:" in first
    assert " in reads" in second
    assert "private" not in told


def test_an_error_that_leads_to_itself_ends():
    first, second = ValueError("a"), KeyError("b")
    first.__context__, second.__context__ = second, first
    assert logs.places(first) == "ValueError at\n  no known place\nafter KeyError at\n  no known place"
