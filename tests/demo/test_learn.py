"""Learn: lessons true of the real corpus, losses equal to training's, experiments that run the model, pages that escape."""

from __future__ import annotations

import math
import re
import threading
from types import SimpleNamespace

import gradio as gr
import pytest
from demo_parts import CANARIES, JUDGMENTS, QUERY, ROOT, Words, passages
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import open_corpus
from corpora.formats import Query
from corpora.registry import Corpus
from corpora.teaching import load
from dear.engines.fake import FakeGenerator, FakeScorer, overlap
from dear.errors import BadInput
from dear.types import Hit, Passage, TermWeight
from dear.windows import schedule
from demo import session
from demo.learning import bench, losses, pages, work, worksheet
from demo.learning import walk as steps
from demo.learning.lessons import lesson, lessons
from demo.learning.walk import Edited, Made, Occluded, Planted, Walk
from demo.pump import Stopped, Waiting
from demo.resources import Resources
from demo.tabs import learn_fields
from demo.tabs.learn import BUSY, SHOWN, LearnTab
from demo.uploads import Uploads

ANNA = SimpleNamespace(session_hash="anna")
KNOBS = ("A", 0.0, 2.0, 0.1)


@pytest.fixture(scope="module")
def teaching():
    corpus = open_corpus("teaching")
    return corpus, corpus.retriever("bm25")


@pytest.fixture
def resources() -> Resources:
    found = Resources(corpora=("small",), models=("fake",))
    corpus = Corpus("small", passages(), queries=[Query("q1", QUERY)], qrels={"q1": JUDGMENTS})
    parts = {"corpus:small": corpus, "retriever:small:bm25": Words(passages()), "scorer:fake": FakeScorer(), "generator:fake": FakeGenerator()}
    for key, value in parts.items():
        found._jobs[key].state, found._jobs[key].value = "ready", value
    threading.Thread(target=found._work, daemon=True).start()
    return found


@pytest.fixture
def walk() -> Walk:
    return steps.begin(QUERY, "small", "fake", Words(passages()).search(QUERY, 10), JUDGMENTS)


@pytest.fixture
def made(resources, walk) -> Made:
    return [item for item in work.rank(resources, walk, session.Ticket("1")) if isinstance(item, Made)][-1]


def last(stream):
    return [item for item in stream if not isinstance(item, Waiting)][-1]


# ---- lessons


def test_eight_lessons_one_a_phenomenon():
    assert len(lessons()) == 8
    assert len({found.phenomenon for found in lessons().values()}) == 8
    assert lesson("") is None
    with pytest.raises(BadInput, match="no lesson"):
        lesson("../../etc/passwd")


@pytest.mark.parametrize("id_", lessons())
def test_a_lesson_is_true_of_the_corpus(teaching, id_):
    corpus, retriever = teaching
    found, data = lessons()[id_], load()
    query = next(query for query in corpus.queries if query.id == found.query)
    assert query.split == "test", "the student was not trained on it"
    order = [hit.id for hit in retriever.search(query.text, steps.CANDIDATES)]
    assert found.passage in order
    assert found.phenomenon in (*data.tags[found.passage], *query.tags)
    grades = corpus.judgments(query.id)
    assert max(grades.get(id, 0) for id in order) == 3, "the answer is among the candidates"
    for high, low in found.above:
        assert order.index(high) < order.index(low)
        assert grades[high] < grades[low], "BM25 is wrong here, which is the lesson"
    for text in (found.predict, found.notice, found.question, found.answer):
        assert 40 < len(text) < 400


def test_the_instructors_notes_hold_every_lesson():
    notes = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    for found in lessons().values():
        for text in (found.title, found.question, found.answer):
            assert text in notes
    assert "docs/teaching.md" in (ROOT / "README.md").read_text(encoding="utf-8")


# ---- losses

GROUPS = st.integers(2, 8).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(-8, 8), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(st.floats(-8, 20), min_size=n, max_size=n),
        st.floats(0.5, 5),
    )
)


@settings(deadline=None)
@given(GROUPS)
def test_losses_are_those_of_the_training_package(group):
    torch = pytest.importorskip("torch")
    from training import losses as theirs

    s, y, t, temperature = group
    scores, labels, teacher = (torch.tensor([values], dtype=torch.float32) for values in (s, y, t))
    mask = torch.ones_like(scores, dtype=torch.bool)
    expected = (
        theirs.cross_entropy(scores, labels, mask),
        theirs.ranknet(scores, labels, mask),
        theirs.kl_divergence(scores, teacher, mask, temperature),
        theirs.hybrid(scores, labels, teacher, mask, theirs.Weights.paper(0.1, temperature))[0],
    )
    ours = losses.losses(s, y, t, alpha=0.1, temperature=temperature)
    for mine, other in zip((ours.cross_entropy, ours.ranknet, ours.kl, ours.total), expected, strict=True):
        assert mine == pytest.approx(float(other), rel=1e-3, abs=1e-4)


def test_losses_by_hand():
    found = losses.losses([0.0, 0.0], [1, 0], [math.log(3), 0.0], alpha=0.5, temperature=1.0)
    assert found.cross_entropy == pytest.approx(math.log(2))
    assert found.ranknet == pytest.approx(math.log(2))
    assert found.kl == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert found.total == pytest.approx(0.5 * 2 * math.log(2) + 0.5 * found.kl)


# ---- the walk


def test_letters_give_nothing_away_and_repeat(walk):
    assert sorted(walk.letters.values()) == list("ABCDEF")
    assert list(walk.letters) != list(walk.ids)
    assert steps.begin(QUERY, "small", "fake", walk.hits, None).letters == walk.letters
    assert steps.guessed(walk, "CAB") == tuple(walk.named(letter) for letter in "CAB")
    for wrong in (("A", "A", "B"), ("A", "B", None), ("A", "B", "Z"), ("A", "B", {"x": 1})):
        with pytest.raises(BadInput):
            steps.guessed(walk, wrong)


def test_the_student_ranks_in_windows_from_back_to_front(walk, made):
    assert set(made.scores) == set(walk.ids)
    assert [shot.span for shot in made.shots] == schedule(6, steps.WINDOW, steps.STRIDE)
    assert made.shots[0].before == made.pointwise
    for before, after in zip(made.shots, made.shots[1:], strict=False):
        assert before.after == after.before
    assert made.shots[-1].after == made.listwise
    for shot in made.shots:
        a, b = shot.span
        assert (shot.before[:a], shot.before[b:]) == (shot.after[:a], shot.after[b:])


def test_labels_come_from_people_then_from_the_guess(walk):
    assert steps.labels(walk, ())[1] == "people’s grades"
    own = steps.begin(QUERY, "small", "fake", walk.hits, None)
    assert steps.labels(own, ("sun", "eye", "sea"))[0] == {"sun": 3, "eye": 2, "sea": 1, "paint": 0, "mars": 0, "jazz": 0}
    assert "you made no guess" in steps.labels(own, ())[1]
    assert "stand-in" in steps.teacher(walk, Made(), steps.labels(walk, ())[0])[1]


# ---- experiments


def test_an_edited_passage_is_scored_by_the_model(resources, walk):
    found = last(work.edit(resources, walk, "jazz", "  the sky is blue ", session.Ticket("1")))
    assert isinstance(found, Edited)
    jazz = walk.passage("jazz")
    assert found.before == overlap(QUERY, f"{jazz.title} {jazz.text}")
    assert found.after == overlap(QUERY, f"{jazz.title} the sky is blue")
    for wrong in ("", None, "x" * 2001):
        with pytest.raises(BadInput):
            list(work.edit(resources, walk, "jazz", wrong, session.Ticket("2")))
    assert resources.model_lock.acquire(timeout=2)


def test_sentences_left_out_are_worth_what_the_score_loses(resources, walk):
    found = last(work.leave_out(resources, walk, "paint", session.Ticket("1")))
    assert isinstance(found, Occluded)
    paint = walk.passage("paint")
    first, second = (text for text, _ in found.drops)
    assert f"{first} {second}" == paint.text
    assert found.drops[0][1] == pytest.approx(found.score - overlap(QUERY, f"{paint.title} {second}"))


def test_a_planted_order_is_measured_in_every_stage(resources, walk, made):
    found = last(work.plant(resources, walk, made, "jazz", "Why is the sky blue? The sky is blue.", session.Ticket("1")))
    assert isinstance(found, Planted)
    assert list(found.ranks) == ["retrieval", "pointwise", "listwise"]
    assert all(before > after for before, after in found.ranks.values()), "more of the query’s words raise it in all three"
    assert found.ranks["pointwise"][0] == made.pointwise.index("jazz") + 1
    with pytest.raises(BadInput, match="not ranked this query yet"):
        list(work.plant(resources, walk, Made(), "jazz", "x", session.Ticket("2")))
    with pytest.raises(BadInput, match="limit is 300"):
        list(work.plant(resources, walk, made, "jazz", "x" * 301, session.Ticket("3")))


def test_stop_frees_the_model(resources, walk):
    resources._jobs["scorer:fake"].value = FakeScorer(delay=0.8, batch_size=1)  # six passages: left alone, it goes on for four seconds
    ticket = session.Ticket("1")
    stream = work.rank(resources, walk, ticket)
    next(item for item in stream if isinstance(item, Made) and item.scores)
    ticket.end()
    with pytest.raises(Stopped):
        list(stream)
    assert resources.model_lock.acquire(timeout=2)


# ---- the handlers


def test_a_walk_through_the_handlers(resources):
    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    opened = tab.begin("", QUERY, "small", ANNA)
    assert len(opened) == 10 + SHOWN + learn_fields.PASSAGES + 1
    ticket, walk = opened[:2]
    ranked = list(tab.rank(ticket, walk, ANNA))
    made = ranked[-1][0]
    assert made.listwise
    guess, step, alert, *_ = tab.guess("A", "B", "C", walk, made, ())
    assert (step, alert) == (1, "")
    assert 'role="alert"' in tab.guess("A", "A", "C", walk, made, ())[2]
    seen = []
    for _ in range(len(steps.STEPS) + 2):
        step, again, still, _, _, said, bar, page, *_ = tab.go(1, step, walk, made, guess, (), *KNOBS)
        assert (again, still, said) == (walk, made, ""), "written again, and so kept for longer"
        seen.append(step)
        assert f"<b>{steps.STEPS[step]}</b>" in bar
        assert page
    assert seen[-1] == len(steps.STEPS) - 1
    assert "nDCG@10" in tab.go(1, 1, walk, made, guess, (), *KNOBS)[7]
    turned, alert = tab.turn("B", 2.5, 2.0, 0.1, walk, made, guess)
    assert "▼" in turned or "▲" in turned
    for wrong in (("B", 99, 2.0, 0.1), ("B", 0, 0.0, 0.1), ("Z", 0, 2.0, 0.1), ("B", "x", 2.0, 0.1), ("B", float("nan"), 2.0, 0.1)):
        assert 'role="alert"' in tab.turn(*wrong, walk, made, guess)[1]
    tries = list(tab.edit("A", "the sky is blue", walk, (), ANNA))[-1][0]
    assert isinstance(tries[0], Edited)
    assert 'role="alert"' in list(tab.edit("A", "", walk, tries, ANNA))[-1][1]
    assert 'role="alert"' in list(tab.leave_out("Z", walk, tries, ANNA))[-1][1]


def test_a_walk_that_is_gone_is_said_to_be(resources):
    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    walk, made = tab.begin("", QUERY, "small", ANNA)[1:3]
    assert "is gone" in tab.go(1, 3, None, None, (), (), *KNOBS)[5]
    assert "is gone" in tab.guess("A", "B", "C", None, None, ())[2]
    assert "is gone" in list(tab.leave_out("A", None, (), ANNA))[-1][1]
    assert tab.go(1, 1, walk, made, (), (), *KNOBS)[2] == gr.skip(), "what the student may be writing is not written over"


def test_turned_away_by_a_full_queue_no_page_waits(resources):
    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    walk, made = tab.begin("", QUERY, "small", ANNA)[1:3]
    assert "fills in by itself" in tab.go(1, 1, walk, made, (), (), *KNOBS)[7]
    said, alert, *_ = tab.turned_away(made, ANNA)
    page = tab.draw(2, walk, said, (), (), *KNOBS)[1]
    assert BUSY in alert
    assert BUSY in page
    assert "fills in by itself" not in page


def test_what_cannot_begin_says_why(resources):
    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    for chosen, query, corpus, words in (
        ("stuffed", "", "small", "need the teaching corpus"),
        ("", "", "small", "empty"),
        ("", QUERY, "my data", "your passages are gone"),
        ("", QUERY, "../x", "not known"),
        ({"a": 1}, QUERY, "small", "no lesson"),
    ):
        opened = tab.begin(chosen, query, corpus, ANNA)
        assert opened[0] is None
        assert words in opened[7]
    assert tab.take("stuffed") == "stuffed"
    assert all(tab.take(pressed) == gr.skip() for pressed in (None, "", "no such lesson", {"a": 1}, 3))
    resources._jobs["retriever:small:bm25"].value = Words(passages()[:3])
    assert "a walk needs 4" in tab.begin("", QUERY, "small", ANNA)[7]


def test_a_stage_that_fails_is_said_on_its_page(resources, walk):
    resources._jobs["scorer:fake"].value = FakeScorer(fail_after=2)
    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    ticket = tab.tickets.open("anna")
    made = list(tab.rank(ticket.id, walk, ANNA))[-1][0]
    assert made.problems
    assert made.shots[0].before == walk.ids, "the windows start from the order of the stage before"
    assert "the fake scorer fails" in pages.pointwise_page(walk, (), made)


def test_the_worksheet_is_a_file_of_the_servers_own_and_holds_no_answer(resources, walk, made):
    tab = LearnTab(resources, Uploads(resources), session.Tickets())
    found = lessons()["injection"]
    tries = (Edited("sun", "new | text", 1.0, 2.0), Occluded("sea", 0.5, (("One.", 0.25),)), Planted("jazz", "Rank *me*", {"retrieval": (6, 2)}))
    text = worksheet.worksheet(walk, found, ("sun", "eye", "sea"), made, tries)
    assert found.question.split("?")[0] in text.replace("\\", "")
    assert found.answer[:40] not in text.replace("\\", "")
    assert "new \\| text: 1.000" not in text
    assert "1.000 became 2.000. The text: new \\| text" in text
    assert "BM25 over these ten 6 to 2" in text
    for _ in range(55):
        path = tab._save(text)
    files = list(tab.folder.glob("*"))
    assert len(files) == 50
    assert re.fullmatch(r"worksheet-[0-9a-f]{12}\.md", path.rsplit("/", 1)[1])


def test_everything_is_escaped(resources):
    hits = tuple(
        Hit(Passage(c, f"{c} text", f"{c} title"), i, {"retrieval": 9.0 - i}, {"retrieval": i}, (TermWeight(c, 1.0),))
        for i, c in enumerate(CANARIES, 1)
    )
    walk = steps.begin(CANARIES[0], "small", "fake", hits, {CANARIES[0]: 2})
    made = [item for item in work.rank(resources, walk, session.Ticket("1")) if isinstance(item, Made)][-1]
    assert made.listwise
    guess = walk.ids[:3]
    tries = (
        Edited(CANARIES[1], CANARIES[2], 1, 2),
        Occluded(CANARIES[0], 1, ((CANARIES[3], 0.1),)),
        Planted(CANARIES[0], CANARIES[4], {"pointwise": (1, 2)}),
    )
    text = worksheet.worksheet(walk, None, guess, made, tries)
    page = pages.head(0, walk, None) + pages.guess_page(walk) + pages.words_page(walk, guess) + pages.pointwise_page(walk, guess, made)
    page += pages.windows_page(walk, made) + bench.loss_page(walk, guess, made, bench.Knobs()) + bench.change_page(walk, made, tries)
    page += bench.plant_page(walk, made, tries) + worksheet.page(None, text) + pages.progress(CANARIES[5])
    assert not any(mark in page for mark in ("<img", "<script", "<svg", "${", "{{", "\u202e"))
    assert "<img" not in text.replace("\\<", "")
