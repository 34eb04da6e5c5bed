"""The API tab in a real browser: what it shows is copied and run as it stands, and it fits a phone; the calls themselves are in `test_api`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from browsing import no_sideways_scroll, visitor
from demo_parts import QUERY, TEXTS, get

pytest.importorskip("gradio_client")
pytestmark = pytest.mark.browser
SNIPPETS = ("Python", "MCP", "curl")


def copied(tab, title: str) -> str:
    """Press a snippet's button, and what is then in the clipboard."""
    tab.get_by_role("button", name=f"Copy the {title} code").click()
    tab.wait_for_selector(f".api [role=status]:text-is('{title} code copied')", state="attached")
    return tab.evaluate("navigator.clipboard.readText()")


def test_what_the_tab_shows_is_copied_and_runs(chrome, lab_site):
    """The snippets hold this server's own address; the Python one and the curl one rank here, the MCP one leads to the MCP server."""
    with visitor(chrome, lab_site) as tab:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.get_by_role("tab", name="API").click()
        tab.wait_for_selector(f".snippet pre:has-text('{lab_site}')")
        assert tab.locator(".calls tbody tr").count() == 4
        code = {title: copied(tab, title) for title in SNIPPETS}
        ran = subprocess.run([sys.executable, "-c", code["Python"]], capture_output=True, text=True, timeout=90)
        assert ran.returncode == 0, ran.stderr
        lines = [line for line in ran.stdout.splitlines() if line[:1].isdigit()]
        assert {title for title, _ in TEXTS.values()} & {line.split(" ", 1)[1] for line in lines}, "the candidates, then the ranking"
        assert sum(line.startswith("1 ") for line in lines) == 2
        told = subprocess.run(["bash", "-c", code["curl"]], capture_output=True, text=True, timeout=60)
        assert json.loads(told.stdout)["data"][0][0]["rank"] == 1
        address = json.loads(code["MCP"])["mcpServers"]["dear"]["url"]
        assert address.startswith(lab_site)
        assert get(address)[0] not in (0, 404)


def test_a_closed_clipboard_is_said(chrome, lab_site):
    with visitor(chrome, lab_site) as tab:
        tab.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('closed')))")
        tab.get_by_role("tab", name="API").click()
        button = tab.get_by_role("button", name="Copy the Python code")
        button.click()
        tab.wait_for_selector(".snippet button:has-text('Select it by hand')")
        assert "select it by hand" in tab.locator(".api [role=status]").inner_text()
        tab.evaluate("void (navigator.clipboard.writeText = () => Promise.resolve())")
        button.click()
        tab.wait_for_selector(".snippet button:has-text('Select it by hand')", state="detached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(chrome, lab_site, scheme):
    with visitor(chrome, lab_site, width=390, scheme=scheme) as tab:
        tab.get_by_role("tab", name="API").click()
        tab.wait_for_selector(f".snippet pre:has-text('{lab_site}')")
        no_sideways_scroll(tab)
        assert QUERY in tab.locator(".snippet pre").first.inner_text()
