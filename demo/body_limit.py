"""A limit on the body of every request: nothing larger is kept or parsed. Gradio itself limits each file of an upload, but not their number."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

UPLOADS = ("/gradio_api/upload",)
WORDS = "the request has more than {:,} bytes, the limit: send fewer or shorter texts, and a file by way of the My data tab"
TOO_LARGE = "the upload has more than {:,} bytes, the limit: send one file, and no more of it than the My data tab takes"


class BodyLimit:
    """ASGI middleware that answers 413 to a body of more than `limit` bytes, announced or not; of an upload, to more than `upload` bytes."""

    def __init__(self, app: Callable[..., Awaitable[None]], limit: int, upload: int) -> None:
        self.app, self.limit, self.upload = app, limit, upload

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Read the body within the limit, then let the app have it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        is_file = scope["path"].removeprefix(scope.get("root_path", "")) in UPLOADS
        limit, words = (self.upload, TOO_LARGE) if is_file else (self.limit, WORDS)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the caller left before the whole was sent
            more = message.get("more_body", False)
            body += message.get("body", b"")
            if len(body) > limit:
                await self._refuse(receive, send, more, limit, words)
                return
        first = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replayed() -> dict[str, Any]:
            return first.pop() if first else await receive()

        await self.app(scope, replayed, send)

    async def _refuse(self, receive: Receive, send: Send, more: bool, limit: int, words: str) -> None:
        # A client that is still sending would see a broken connection and never the answer, so a few times the limit is read and let go.
        let_go = 0
        while more and let_go < 8 * limit:
            message = await receive()
            more = message.get("more_body", False)
            let_go += len(message.get("body", b""))
        told = json.dumps({"detail": words.format(limit)}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": told})
