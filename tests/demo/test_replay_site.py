"""The folder of replays: complete, read by a static Space, without a script in its index, and every link leads somewhere."""

from __future__ import annotations

import re

import pytest
import yaml
from demo_parts import CANARIES, pipeline

from dear.types import Passage
from demo import replay_site
from demo.recordings import Recording, recordings


@pytest.fixture
def site(tmp_path):
    replay_site.write_site(tmp_path, recordings())
    return tmp_path


def test_every_recording_has_a_page_and_a_link(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"]+)"', page)
    assert links == [f"{recording.name}.html" for recording in recordings()]
    assert all((site / link).read_text(encoding="utf-8").startswith("<!doctype html>") for link in links)
    assert "<script" not in page
    assert not re.search(r"https?://|@import", page.replace("http://www.w3.org/2000/svg", ""))


def test_the_readme_is_what_a_static_space_reads(site):
    front = yaml.safe_load((site / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "static"
    assert (site / front["app_file"]).exists()
    assert len(front["short_description"]) <= 60


def test_hostile_queries_stay_text():
    events = tuple(pipeline([Passage("a", f"sky {CANARIES[0]}", CANARIES[4])]).run(f"sky {CANARIES[0]} {CANARIES[4]}"))
    page = replay_site.index([Recording("one", events)])
    assert "<script" not in page
    assert page.count("<img") == 1


def test_the_command(tmp_path, capsys):
    assert replay_site.main(["--out", str(tmp_path / "site")]) == 0
    assert "index.html" in capsys.readouterr().out
    assert replay_site.main(["--recordings", str(tmp_path / "none"), "--out", str(tmp_path / "site")]) == 1
    assert "python -m demo.record" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_opens_in_a_browser(chrome, site, width, scheme):
    wrong = []
    context = chrome.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.goto((site / "index.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == ("rgb(243, 244, 247)" if scheme == "light" else "rgb(12, 15, 21)")
    tab.locator(".run a").first.click()
    tab.wait_for_selector(".card")
    assert tab.locator("#query").inner_text() == recordings()[0].query
    context.close()
    assert wrong == []


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing(chrome, site, width, scheme):
    """In the index, in a replay at its beginning and at its end."""
    pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install -r requirements-dev.txt")
    from test_accessible import violations

    context = chrome.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    tab = context.new_page()
    for address in ("index.html", f"{recordings()[0].name}.html", f"{recordings()[0].name}.html#end"):
        tab.goto("about:blank")  # from one place of a page to another it would not be read again
        tab.goto(f"{site.as_uri()}/{address}")
        tab.wait_for_selector(".run, .rail li")
        assert violations(tab) == [], address
    context.close()
