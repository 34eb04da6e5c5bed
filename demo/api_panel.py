"""The API tab as HTML: what can be called, with which limits, and code that calls this very server. Pure: knows no gradio."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from demo import limits
from demo.markup import esc, join

FALLBACK = "http://127.0.0.1:7860"
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\-]{1,200}(:\d{1,5})?|https?://\[[0-9a-fA-F:]{2,45}\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the table shows it; `hue` is the stage whose colour it wears."""

    name: str
    does: str
    bounds: str
    hue: str = ""


CALLS = (
    Call("retrieve", "Candidates for a query, with what each term contributed. No model.", "5 to 50 passages", "retrieval"),
    Call("score", "A pointwise score for each of your own passages.", "50 passages of 2,000 characters", "pointwise"),
    Call("rerank_explain", "A whole run as it happens: scores, reasoning, quotes, ranking.", f"one at a time, {limits.DEADLINE_S:.0f} s", "listwise"),
    Call("replay", "A recorded run, event by event. Needs no model.", "the recordings of this server"),
)


def address(scheme: str, host: str) -> str:
    """The server's address as a visitor wrote it, or a plain local one where that is not an address at all.

    >>> address("https", "dear.example.org"), address("http", "x'><script>")
    ('https://dear.example.org', 'http://127.0.0.1:7860')
    """
    found = f"{scheme}://{host}"
    return found if _ADDRESS.fullmatch(found) else FALLBACK


def python_snippet(base: str) -> str:
    """Code for `gradio_client`, ready to run."""
    return f"""from gradio_client import Client

client = Client({json.dumps(base)})

hits = client.predict("why is the sky blue", api_name="/retrieve")
for hit in hits:
    print(hit["rank"], hit["title"])

# The last event of a run is the ranking. client.submit() gives
# the same events as they come: iterate over the job it returns.
final = client.predict(
    "why is the sky blue", candidates=10, depth=5, window=5,
    api_name="/rerank_explain",
)[-1]
for hit in final["hits"]:
    print(hit["rank"], hit["title"], hit["rationale"])"""


def mcp_snippet(base: str) -> str:
    """Settings of a program that speaks MCP."""
    return json.dumps({"mcpServers": {"dear": {"url": f"{base}/gradio_api/mcp/"}}}, indent=2)


def curl_snippet(base: str) -> str:
    """A request without any client."""
    return f"""curl -s {base}/gradio_api/run/retrieve \\
  -H 'Content-Type: application/json' \\
  -d '{{"data": ["why is the sky blue", "", "bm25", 5]}}'"""


def page(base: str, *, mcp: bool, corpora: tuple[str, ...], models: tuple[str, ...]) -> str:
    """The whole tab. `mcp` says whether the server speaks MCP; without it the tab says so and how to change that."""
    served = _code("MCP", mcp_snippet(base), "For any program that speaks MCP over HTTP.") if mcp else _no_mcp()
    names = f"<p>Corpora: {_names(corpora)}. Models: {_names(models)}. Left empty, the first is taken.</p>"
    return (
        '<div class="api"><section class="lab-intro lab-card"><h2>Call this server</h2>'
        "<p>The page reads one stream of events; so can your program, over HTTP or MCP. Four calls, all of them read-only: "
        "nothing you send is kept, and passages uploaded under My data cannot be reached from here.</p>"
        f"{_table()}{names}"
        "<p>Calls that use the model wait in the same queue as the page. A full queue says so; a cancelled call frees the model within two seconds; "
        f"a run ends after {limits.DEADLINE_S:.0f} seconds with the best ranking so far.</p></section>"
        f'<div class="api-code">{_code("Python", python_snippet(base), "pip install gradio_client")}{served}'
        f"{_code('curl', curl_snippet(base), 'retrieve and replay answer in one request, past the queue.')}</div>"
        '<p class="sr" role="status"></p></div>'
    )


def waiting() -> str:
    """The tab until the visitor's own address of this server is known: code with another's would be copied and not work."""
    return '<div class="api"><p class="hint">The calls and their code appear as soon as this page is connected to its server.</p></div>'


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"<code>{esc(name)}</code>" for name in names)


def _table() -> str:
    rows = join(_row(call) for call in CALLS)
    head = join(f'<th scope="col">{name}</th>' for name in ("Call", "What it gives", "At most"))
    return (
        '<div class="scroll-x" tabindex="0" role="group" aria-label="calls">'
        f'<table class="faults calls"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(call: Call) -> str:
    hue = '<span class="hue" aria-hidden="true"></span>' if call.hue else ""
    name = f'<th scope="row">{hue}<code>{call.name}</code></th>'
    return f'<tr class="{call.hue}">{name}<td>{esc(call.does)}</td><td>{esc(call.bounds)}</td></tr>'


def _code(title: str, text: str, note: str) -> str:
    return (
        f'<section class="snippet lab-card"><div class="snippet-head"><h2>{esc(title)}</h2>'
        f'<button type="button" class="ghost-button" data-copy="{esc(title)}" aria-label="Copy the {esc(title)} code">Copy</button></div>'
        f'<p class="hint">{esc(note)}</p><pre tabindex="0" role="group" aria-label="{esc(title)} code"><code>{esc(text)}</code></pre></section>'
    )


def _no_mcp() -> str:
    return (
        '<section class="snippet lab-card"><div class="snippet-head"><h2>MCP</h2></div>'
        "<p>This server does not speak MCP: the package that does is not installed in the version needed. "
        "<code>pip install 'mcp&lt;2'</code> and a new start change that.</p></section>"
    )
