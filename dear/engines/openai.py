"""Stage 2 on any OpenAI-compatible server (vLLM, TGI, `transformers serve`, llama.cpp): text in, text out, greedy."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from dear import zoo
from dear.engines import EngineInfo, Message
from dear.errors import BadInput, EngineError, require

logger = logging.getLogger(__name__)

KEY_VARIABLES = ("DEAR_OPENAI_KEY", "OPENAI_API_KEY")
CONTEXT = 8192
TIMEOUT = 120.0  # seconds without a word
_NAME = re.compile(r"openai:(?P<model>.+?)@(?P<url>https?://\S+)")
_BYTES_A_TOKEN = 2  # fewer than any common tokenizer needs for prose, so that a count is rather too high than too low


class OpenAIGenerator:
    """A `TextGenerator` over streamed chat completions at temperature 0.

    The key is read from `DEAR_OPENAI_KEY` or `OPENAI_API_KEY`; local servers need none. It is never logged or shown.
    """

    def __init__(self, model: str, base_url: str, *, family: str = "nano", context: int = CONTEXT, timeout: float = TIMEOUT) -> None:
        openai: Any = require("openai", extra="openai==2.12.0")
        if not urlsplit(base_url).netloc:
            raise BadInput(f"server address {base_url!r} is not a URL: write it as http://host:port/v1")
        key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "none")
        self._openai = openai
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=0)
        self._model, self._url, self._timeout = model, base_url, timeout
        self.context = context
        shown = urlsplit(base_url)
        where = shown.netloc.rpartition("@")[2]
        self.info = EngineInfo("openai", model, "remote", where, f"a model on the server {where}", True, family)

    @classmethod
    def from_name(cls, name: str) -> OpenAIGenerator:
        """From `openai:MODEL@http://host:port/v1`; a published student gets its own prompts. Raises `BadInput` on any other form."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise BadInput(f"{name!r} is not openai:MODEL@URL: write it as openai:my-model@http://localhost:8000/v1")
        known = zoo.CHECKPOINTS.get(found["model"].lower().rstrip("/").rpartition("/")[2])
        return cls(found["model"], found["url"], family=known.family if known and known.stage == "listwise" else "nano")

    def count(self, text: str) -> int:
        """An upper estimate of the text's tokens: the server's tokenizer is unknown, and prose has more than 2 bytes a token."""
        return -(-len(text.encode()) // _BYTES_A_TOKEN)

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield pieces of the answer as they come; closing the iterator ends the request. Raises `EngineError` with a remedy."""
        try:
            answer = self._client.chat.completions.create(
                model=self._model, messages=list(messages), temperature=0, max_tokens=max_tokens, stream=True, seed=0
            )
        except self._openai.OpenAIError as error:
            raise self._explain(error) from error
        try:
            for chunk in answer:
                piece = chunk.choices[0].delta.content if chunk.choices else None
                if piece:
                    yield piece
        except (self._openai.OpenAIError, OSError, ValueError) as error:
            raise self._explain(error) from error
        except Exception as error:  # the HTTP client's own kinds when the server goes away in mid-answer
            raise self._explain(error) from error
        finally:
            answer.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _explain(self, error: Exception) -> EngineError:
        openai, where = self._openai, self._url
        if isinstance(error, openai.APITimeoutError) or "timeout" in type(error).__name__.lower():
            return EngineError(f"{where} did not answer within {self._timeout:g} seconds: try again, or raise the limit")
        if isinstance(error, openai.APIConnectionError):
            return EngineError(f"nothing answers at {where}: start the server, or check host, port and the /v1 at the end")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return EngineError(f"{where} refuses the key: set {KEY_VARIABLES[0]} to one that is valid there")
        if isinstance(error, openai.NotFoundError):
            return EngineError(f"{where} has no model {self._model!r}: ask it for {where.rstrip('/')}/models and use a name from there")
        if isinstance(error, openai.RateLimitError):
            return EngineError(f"{where} limits the rate or the quota: wait, or use another server")
        status = getattr(error, "status_code", None)
        said = f"status {status}" if status else type(error).__name__
        return EngineError(f"{where} failed ({said}: {str(error)[:200]}): look into the server's log, or use a smaller window")
