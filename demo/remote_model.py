"""A model on a server, as visitors may know it: where the server is stays out of what its failures say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from dear.engines import EngineInfo, Message, TextGenerator
from dear.errors import EngineError

CALLED = "its server"
Hidden = Sequence[tuple[str, str]]  # what is private, and what is said in its place; longer ones first


def addresses(url: str) -> Hidden:
    """The server's address in every form an error may have it in."""
    parts = urlsplit(url)
    forms = (url, parts.netloc, parts.netloc.rpartition("@")[2], parts.hostname or "")
    return [(form, CALLED) for form in dict.fromkeys(forms) if form]


def without(text: str, hidden: Hidden) -> str:
    """The text with what is private replaced.

    >>> without("http://gpu7:8000/v1 failed: no route to gpu7", addresses("http://gpu7:8000/v1"))
    'its server failed: no route to its server'
    """
    for private, public in hidden:
        text = text.replace(private, public)
    return text


class Unlocated:
    """A `TextGenerator` that works as the one it holds; what breaks in the middle of an answer is told without the words in `hidden`."""

    def __init__(self, generator: TextGenerator, hidden: Hidden) -> None:
        self._generator, self._hidden = generator, hidden
        self.info: EngineInfo = generator.info
        self.context = generator.context

    def count(self, text: str) -> int:
        """Tokens of `text`, as the server's generator estimates them."""
        return self._generator.count(text)

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield pieces of the answer; closing the iterator ends the request. Raises `EngineError`."""
        try:
            yield from self._generator.stream(messages, max_tokens=max_tokens)
        except Exception as error:
            raise EngineError(without(str(error), self._hidden)) from error
