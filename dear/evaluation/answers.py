"""Does a passage hold an answer? The token match that DPR measures top-k accuracy by (Karpukhin et al. 2020; after DrQA)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dear.types import Passage


def tokens(text: str) -> list[str]:
    """Words and single signs, normalised (NFD) and in lower case; white space and control characters part them.

    A word is a run of letters, digits and marks, as in DrQA's simple tokenizer.

    >>> tokens("Elan, 3.5%")
    ['elan', ',', '3', '.', '5', '%']
    """
    found: list[str] = []
    inside = False
    for char in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(char)
        if kind[0] in "LNM":
            found[-1:] = [found[-1] + char] if inside else [*found[-1:], char]
            inside = True
        else:
            inside = False
            if kind[0] not in "ZC":
                found.append(char)
    return [token.lower() for token in found]


def has_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether the tokens of any answer stand in the text one after the other.

    >>> has_answer("He died in 1 504 AD.", ["504 ad"]), has_answer("He died in 1504.", ["504"])
    (True, False)
    """
    words = tokens(text)
    for answer in answers:
        wanted = tokens(answer)
        if wanted and any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1)):
            return True
    return False


def body(passage: Passage) -> str:
    """The text that answers count in: DPR leaves titles out, and its Wikipedia index keeps a passage's title as the first line.

    >>> body(Passage("1", '"Aaron"\\nHe was a prophet.'))
    'He was a prophet.'
    """
    title, line_end, text = passage.text.partition("\n")
    return text if line_end and not passage.title and title.startswith('"') and title.endswith('"') else passage.text
