"""Text that tries to run, shared by the tests of everything that shows text; and the browser they show it in."""

from __future__ import annotations

import os
import shutil

CANARIES = (
    "<img src=x onerror=\"window.canary='img'\">",
    "${window.canary='template'}",
    "`+(window.canary='tick')+`",
    "{{constructor.constructor('window.canary=1')()}}",
    "</script><script>window.canary='script'</script>",
    '"\' onmouseover="window.canary=\'attribute\'" x="',
    "<svg onload=\"window.canary='svg'\"><style>@import 'x'</style>",
    "safe \u202egnol ylbaborp\u202c \u2066end",
)


def chromium() -> str | None:
    """An installed Chromium: the one named by CHROMIUM, the system's, or None for Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, names) if path), None)
