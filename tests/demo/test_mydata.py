"""My data: limits, errors by row, one session's passages for that session alone, gone in time; and the tab in a browser."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from browsing import no_sideways_scroll, visitor
from demo_parts import CANARIES
from gradio.utils import get_upload_folder

from corpora.rows import RowError
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import BadInput, DearError
from dear.types import Passage
from demo import session, upload_panel, uploads
from demo.kept_runs import KeptRuns
from demo.limits import Request
from demo.resources import Resources
from demo.tabs.explain import ExplainTab
from demo.tabs.mydata import MyDataTab
from demo.uploads import MINE, Uploads, read_upload

ANNA, BEN = SimpleNamespace(session_hash="anna"), SimpleNamespace(session_hash="ben")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def resources() -> Resources:
    found = Resources(corpora=("teaching",), models=("fake",))
    for key, value in (("scorer:fake", FakeScorer()), ("generator:fake", FakeGenerator())):
        found._jobs[key].state, found._jobs[key].value = "ready", value
    threading.Thread(target=found._work, daemon=True).start()
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(resources, clock) -> Uploads:
    return Uploads(resources, clock)


def write(path: Path, *texts: str) -> Path:
    path.write_text("\n".join(json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)), encoding="utf-8")
    return path


def take(kept: Uploads, who: str, path: Path) -> None:
    for _ in kept.take(who, path.name, read_upload(path)):
        pass


# ---- reading


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.zip", "rows", "rows.parquet", "rows.xlsx"])
def test_archives_and_other_kinds_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadInput, match=r"unpack or convert"):
        read_upload(tmp_path / name)


def test_limits(tmp_path):
    big = tmp_path / "big.txt"
    big.write_bytes(b"x" * (uploads.MAX_BYTES + 1))
    with pytest.raises(BadInput, match="the limit is 2 MB"):
        read_upload(big)
    with pytest.raises(BadInput, match="did not arrive"):
        read_upload(tmp_path / "absent.txt")
    read = read_upload(write(tmp_path / "long.jsonl", "short enough", "x" * 2001))
    assert [p.id for p in read.passages] == ["d0"]
    assert "2,001 characters, the limit is 2,000" in read.errors[0].problem
    many = read_upload(write(tmp_path / "many.jsonl", *(f"passage {i}" for i in range(2003))))
    assert len(many.passages) == 2000
    assert "more than 2,000 passages" in many.errors[0].problem


def test_a_million_bad_rows_are_not_kept(tmp_path):
    path = tmp_path / "wrong.jsonl"
    path.write_text("x\n" * 1_000_000)
    read = read_upload(path)
    assert len(read.errors) == uploads.MAX_ERRORS + 1
    assert "not read" in read.errors[-1].problem


# ---- keeping


def test_the_index_is_real_and_the_sessions_own(kept, resources, tmp_path):
    take(kept, "anna", write(tmp_path / "a.jsonl", "the secret harbour of Anna", "tea and biscuits"))
    take(kept, "ben", write(tmp_path / "b.jsonl", "the secret harbour of Ben"))
    found = {}
    for who in ("anna", "ben"):
        asked = kept.scoped(Request("secret harbour", MINE, model="fake"), who)
        view = list(session.explain(resources, asked, session.Ticket("1")))[-1]
        assert view.final
        assert view.by == "listwise"
        assert view.hits[0].terms, "Lucene says what each term weighs"
        found[who] = [hit.passage.text for hit in view.hits]
    assert found == {"anna": ["the secret harbour of Anna"], "ben": ["the secret harbour of Ben"]}


def test_another_session_can_never_read_it(kept, resources, tmp_path):
    take(kept, "anna", write(tmp_path / "a.jsonl", "the secret harbour of Anna"))
    tab = ExplainTab(resources, session.Tickets(), kept, KeptRuns())
    name = kept.find("anna").name
    assert kept.names("ben") == ("teaching",)
    for corpus in (MINE, name, f"corpus:{name}", "anna"):
        answer = tab.begin("secret harbour", corpus, "bm25", 20, 10, 10, 5, "fake", True, BEN)
        assert answer[0] is None, "no ticket, so no run"
        assert "secret harbour of Anna" not in str(answer)
    assert "secret harbour of Anna" in str(tab.begin("secret harbour", MINE, "bm25", 20, 10, 10, 5, "fake", True, ANNA))
    assert len(name) > 24, "a name nobody guesses"
    assert name not in str(resources.parts())


def test_a_second_upload_replaces_the_first_and_its_folder_goes(kept, resources, tmp_path):
    take(kept, "anna", write(tmp_path / "a.jsonl", "first"))
    first = kept.find("anna")
    folder = first.corpus._folder
    assert folder.exists()
    take(kept, "anna", write(tmp_path / "b.jsonl", "second"))
    assert kept.find("anna").file == "b.jsonl"
    assert not folder.exists()
    with pytest.raises(BadInput):
        resources.get(f"corpus:{first.name}")


def test_what_fails_or_is_left_loses_nothing(kept, resources, tmp_path, monkeypatch):
    take(kept, "anna", write(tmp_path / "a.jsonl", "first"))
    again = kept.take("anna", "b.jsonl", read_upload(write(tmp_path / "b.jsonl", "second")))
    next(again)
    again.close()
    assert kept.find("anna").file == "a.jsonl"
    monkeypatch.setattr("corpora.indexes.write_index", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DearError):
        take(kept, "anna", write(tmp_path / "c.jsonl", "third"))
    assert kept.find("anna").file == "a.jsonl"
    assert sum(key.startswith("corpus:own-") for key in resources._jobs) == 1


def test_gone_after_half_an_hour_and_when_the_page_is_closed(kept, clock, resources, tmp_path):
    take(kept, "anna", write(tmp_path / "a.jsonl", "first"))
    take(kept, "ben", write(tmp_path / "b.jsonl", "second"))
    folders = [kept.find(who).corpus._folder for who in ("anna", "ben")]
    MyDataTab(resources, kept, 1).leave(BEN)
    assert [folder.exists() for folder in folders] == [True, False]
    clock.now += 29 * 60
    assert kept.minutes_left("anna") == 1
    assert kept.sweep() == 0
    clock.now += 61
    assert kept.find("anna") is None, "gone on the minute, whether swept yet or not"
    assert kept.sweep() == 1
    assert not folders[0].exists()
    with pytest.raises(BadInput, match="your passages are gone"):
        kept.scoped(Request("first", MINE), "anna")


def test_the_server_keeps_a_bounded_number(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 2)
    for who in ("one", "two", "three"):
        take(kept, who, write(tmp_path / f"{who}.jsonl", who))
    assert [bool(kept.find(who)) for who in ("one", "two", "three")] == [False, True, True]


# ---- the handlers


def shown(updates) -> str:
    return " ".join(str(part) for part in list(updates)[-1][:2])


def test_the_handler_says_what_was_wrong_and_deletes_the_file(kept, resources, tmp_path):
    folder = Path(get_upload_folder()) / f"test-{tmp_path.name}"
    folder.mkdir(parents=True)
    tab = MyDataTab(resources, kept, 1)
    good = write(folder / "good.jsonl", "a passage", "another")
    assert "2 passages from" in shown(tab.upload(str(good), ANNA))
    assert not good.exists(), "what is read is not left lying"
    bad = folder / "bad.jsonl"
    bad.write_text("{broken\n")
    text = shown(tab.upload(str(bad), ANNA))
    assert "1 row left out" in text
    assert "2 passages from" in text, "the earlier file stays"
    (folder / "x.zip").write_bytes(b"PK")
    text = shown(tab.upload(str(folder / "x.zip"), ANNA))
    assert 'role="alert"' in text
    assert "good.jsonl</bdi> stays in use" in text
    outside = write(tmp_path / "outside.jsonl", "not in the upload folder")
    list(tab.upload(str(outside), BEN))
    assert outside.exists(), "only uploads are deleted"
    assert "deleted" in str(tab.forget(ANNA)[1])
    assert kept.find("anna") is None
    folder.rmdir()


def test_a_choice_of_passages_that_are_gone_is_the_usual_corpus_again(kept, resources, clock, tmp_path):
    tab = MyDataTab(resources, kept, 3)
    take(kept, "anna", write(tmp_path / "a.jsonl", "a passage"))
    there = tab.shown(MINE, "teaching", MINE, ANNA)[-3:]
    assert not any("value" in field._constructor_args[0] for field in there), "what is chosen stays"
    clock.now += 31 * 60
    gone = [field._constructor_args[0].get("value") for field in tab.shown(MINE, "teaching", MINE, ANNA)[-3:]]
    assert gone == ["teaching", None, "teaching"]


def test_a_file_that_was_not_read_to_its_end_is_said_first(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"text": "good"}\n' + "{broken\n" * 150 + '{"text": "never reached"}\n')
    read = read_upload(path)
    page = upload_panel.errors(read.errors, used=len(read.passages))
    assert "100 rows left out, and not read to its end" in page
    assert "The 1 row read before can be searched." in page
    first = page.index("what follows was not read")
    assert first < page.index("not JSON") if "not JSON" in page else first < page.index('<th scope="row">2</th>')
    assert "and 50 more" in page


def test_the_panels_escape_everything():
    rows = [RowError(c, i, f"bad {c}", f"mend {c}") for i, c in enumerate(CANARIES)]
    page = upload_panel.errors(rows, used=0) + upload_panel.refused(CANARIES[0], CANARIES[1]) + upload_panel.working(CANARIES[2])
    page += "".join(upload_panel.kept(c, [Passage(c, c, c)], 3) for c in CANARIES)
    assert not any(mark in page for mark in ("<img", "<script", "<svg", "${", "{{", "\u202e"))


# ---- the tab in a browser


@pytest.mark.browser
def test_upload_search_forget(chrome, lab_site, tmp_path):
    with visitor(chrome, lab_site) as tab:
        tab.get_by_role("tab", name="My data").click()
        tab.wait_for_selector(".lab-intro")
        bad = tmp_path / "bad.jsonl"
        bad.write_text('{"text": ""}\n')
        tab.set_input_files(".lab-drop input[type=file]", str(bad))
        tab.wait_for_selector(".lab-errors", timeout=20_000)
        assert "the text is empty" in tab.locator(".faults").inner_text()
        assert tab.locator(".lab-kept").count() == 0
        rows = [{"id": f"r{i}", "title": c, "text": f"harbour {c} number {i}"} for i, c in enumerate(CANARIES)]
        good = tmp_path / "good <b>.jsonl"
        good.write_text("\n".join(json.dumps(row) for row in [*rows, {"id": "r1", "text": "twice"}]))
        tab.set_input_files(".lab-drop input[type=file]", str(good))
        tab.wait_for_selector(".lab-kept", timeout=60_000)
        assert "8 passages" in tab.locator(".lab-kept h2").inner_text()
        assert "'r1' was used" in tab.locator(".faults").inner_text()
        tab.get_by_role("button", name="Search them in Explain").click()
        tab.wait_for_function("document.querySelector('.dear-settings').textContent.includes('my data')")
        tab.fill(".dear-query input", "harbour")
        tab.press(".dear-query input", "Enter")
        tab.wait_for_selector("body:not(:has(.rail.told)) .report", timeout=60_000)
        assert tab.locator(".card").count() == 8
        assert tab.evaluate("window.canary === undefined")
        tab.get_by_role("button", name="Copy link").click()
        tab.wait_for_function("document.querySelector('.dear-page [role=status]').textContent.includes('without your passages')", timeout=5_000)
        assert "corpus" not in tab.evaluate("location.search"), "one's own passages are nobody else's to ask"
        assert tab.locator("button.dear-copy.own").count() == 1
        tab.get_by_role("tab", name="My data").click()
        tab.get_by_role("button", name="Forget my passages").click()
        tab.wait_for_selector(".lab-intro")
        assert "deleted" in tab.locator(".lab-note").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(chrome, lab_site, tmp_path, scheme):
    with visitor(chrome, lab_site, width=390, scheme=scheme) as tab:
        tab.get_by_role("tab", name="My data").click()
        tab.wait_for_selector(".lab-intro")
        no_sideways_scroll(tab)
        path = tmp_path / "mixed.jsonl"
        path.write_text('{"id": "a", "text": "fine"}\n{"id": "' + "x" * 300 + '", "text": "too long an id"}\n')
        tab.set_input_files(".lab-drop input[type=file]", str(path))
        tab.wait_for_selector(".lab-kept", timeout=60_000)
        no_sideways_scroll(tab)
