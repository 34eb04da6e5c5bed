"""While a local model reasons: a citation names a passage of the window, and its quote can only be that passage's words.

The model chooses which passage, where the quote starts and where it ends; a token that would leave the passage's text is passed
over for its next best one. So a quote is verbatim by construction, as the permutation is one; whether it says what the reason
claims is the model's, and the reader's, affair. Pure: text in, yes or no out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dear import prompts
from dear.explain import ALONE, MIN_QUOTE_WORDS

AHEAD = 40
MAX_QUOTE_WORDS = 24  # the longest written rationale quotes 20
_MARKS = str.maketrans('"“”', "'‘’")
_OPENS = ': "'
_CITED = re.compile(r"^(?:Not )?\[(\d+)\]", re.MULTILINE)
_INCOMPLETE = "�"
_UNSPACED = re.compile(f"[{ALONE}]")
_BEGINNINGS = re.compile(f"[{ALONE}]|(?<!\\S)\\S")


def quotable(text: str) -> str:
    """A text as it stands in the prompt, without the marks that would end a quote.

    >>> quotable('He said  "no".')
    "He said 'no'."
    """
    return prompts.neutralise(text).translate(_MARKS)


class Citations:
    """What may be written next in the nano format's lines `[i] meets 1: "quote" - why` and `Not [i]: why`.

    >>> guide = Citations(["Short waves scatter most.", "Bread rises."])
    >>> guide.allows('Needs: 1. why\\n[1] meets 1: "Short waves', " scatter"), guide.allows('[1] meets 1: "Short waves', " stay")
    (True, False)
    >>> guide.allows("[", "3"), guide.allows('[1] meets 1: "Short waves scatter', '"')
    (False, True)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [quotable(text) for text in texts]
        self._short = {i for i, text in enumerate(self._texts, 1) if _count(text) < MIN_QUOTE_WORDS}

    def allows(self, written: str, piece: str) -> bool:
        """Whether `piece` may follow `written`. Lines that are no citation are free; a passage is cited once, and none too short to quote."""
        before, _, line = written.rpartition("\n")
        cited = {int(number) for number in _CITED.findall(before)}
        *whole, last = (line + piece.rstrip(_INCOMPLETE)).split("\n")
        return all(self._line(text, cited, ended=True) for text in whole) and self._line(last, cited, ended=False)

    def following(self, written: str) -> list[str]:
        """Inside a quote: what its passage goes on with, up to `AHEAD` characters a place, and the closing mark where it may end; else nothing.

        >>> Citations(["Short waves scatter most."]).following('[1] meets 1: "Short waves scatter')
        [' most.', '"']
        """
        line = written.rpartition("\n")[2]
        cited, opened, body = line.partition(_OPENS)
        named = _CITED.match(cited)
        if not opened or '"' in body or not named or not 0 < int(named[1]) <= len(self._texts):
            return []
        text = self._texts[int(named[1]) - 1]
        places = _places(text, body) if body else [match.start() for match in _BEGINNINGS.finditer(text)]
        found = list(dict.fromkeys(text[at + len(body) :][:AHEAD] for at in places if _goes_on(text[at:], len(body))))
        return [*found, '"'] if _ends_in(text, body) else found

    def _line(self, line: str, cited: set[int], *, ended: bool) -> bool:
        start = line.removeprefix("Not ")
        if not start.startswith("["):
            return True
        number, closed, rest = start[1:].partition("]")
        if not self._identifier(number, cited | self._short if start == line else cited, whole=bool(closed)):
            return False
        if start != line:
            return not ended or rest.startswith(": ")
        _, opened, quote = rest.partition(_OPENS)
        if not opened:
            return not ended
        body, closed, _ = quote.partition('"')
        text = self._texts[int(number) - 1]
        return _ends_in(text, body) if closed else not ended and _begins_in(text, body)

    def _identifier(self, number: str, cited: set[int], *, whole: bool) -> bool:
        free = [str(i) for i in range(1, len(self._texts) + 1) if i not in cited]
        return number in free if whole else any(name.startswith(number) for name in free)


def _begins_in(text: str, body: str) -> bool:
    """Whether `body` starts at a word of `text`, goes on as it does, and can still become a quote there: long enough, short enough."""
    return any(_can_end(text[at:], len(body)) for at in _places(text, body))


def _goes_on(rest: str, length: int) -> bool:
    """Whether there is more of `rest` after its first `length` characters, and a quote may take it."""
    ahead = re.match(r"\s*\S", rest[length:])
    return ahead is not None and _can_end(rest, length + ahead.end())


def _can_end(rest: str, length: int) -> bool:
    """Whether a quote of the first `length` characters of `rest`, with the word they stop in or before, is within the limits of words."""
    begun = rest[:length]
    if not begun or begun[-1].isspace():
        ahead = re.match(r"\s*\S", rest[length:])
        if ahead is None:
            return False
        begun = rest[: length + ahead.end()]
    return _count(rest) >= MIN_QUOTE_WORDS and _count(begun) <= MAX_QUOTE_WORDS


def _ends_in(text: str, body: str) -> bool:
    """Whether `body` is a run of whole words of `text`, at least as many as make a quote."""
    enough = MIN_QUOTE_WORDS <= _count(body) <= MAX_QUOTE_WORDS
    return enough and body == body.strip() and any(_whole(text, at + len(body)) for at in _places(text, body))


def _whole(text: str, end: int) -> bool:
    """Whether a word ends before this place."""
    return not text[end : end + 1].isalnum() or bool(_UNSPACED.match(text, end) or _UNSPACED.match(text, end - 1))


def _count(text: str) -> int:
    """Words between blanks, and each character of a script that writes none.

    >>> _count("well-known facts"), _count("大气 scatters 光")
    (2, 4)
    """
    return len(_UNSPACED.sub(" ", text).split()) + len(_UNSPACED.findall(text))


def _places(text: str, body: str) -> list[int]:
    """Where `body` occurs in `text` at the start of a word."""
    if not body:
        return [0] if text else []
    found = (match.start() for match in re.finditer(f"(?={re.escape(body)})", text))
    return [at for at in found if at == 0 or (body[0] != " " and (text[at - 1] == " " or _UNSPACED.match(text, at - 1) or _UNSPACED.match(text, at)))]
