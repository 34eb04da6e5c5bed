import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dear import events as ev
from dear.errors import BadInput
from dear.types import Evidence, Hit, Passage, Rationale, TermWeight

texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
evidence = st.builds(
    Evidence,
    texts,
    texts,
    st.sampled_from(["quoted", "lexical", "occlusion"]),
    st.integers(),
    st.integers(),
    st.booleans(),
    st.lists(st.integers()).map(tuple),
)
hits = st.builds(
    Hit,
    st.builds(Passage, texts, texts, texts),
    st.integers(1, 99),
    st.dictionaries(texts, numbers),
    st.dictionaries(texts, st.integers()),
    st.lists(st.builds(TermWeight, texts, numbers, st.lists(st.tuples(st.integers(), st.integers()), max_size=2).map(tuple))).map(tuple),
    texts,
    st.lists(evidence, max_size=2).map(tuple),
)
many = st.lists(hits, max_size=2).map(tuple)
rationales = st.builds(Rationale, texts, st.lists(texts).map(tuple), st.lists(evidence, max_size=2).map(tuple), st.dictionaries(texts, texts))
ids = st.lists(texts).map(tuple)
anything = st.one_of(
    st.builds(ev.Started, texts, st.dictionaries(texts, texts)),
    st.builds(ev.Retrieved, many),
    st.builds(ev.PointScore, texts, numbers, st.integers(), st.integers()),
    st.builds(ev.Pointwise, many),
    st.builds(ev.WindowStart, st.integers(), st.integers(), st.tuples(st.integers(), st.integers()), ids, texts),
    st.builds(ev.Token, texts),
    st.builds(ev.WindowEnd, ids, st.sampled_from(["complete", "repaired", "failed"]), rationales, st.integers()),
    st.builds(ev.Notice, texts, texts),
    st.builds(
        ev.Metrics,
        st.dictionaries(texts, st.dictionaries(texts, numbers)),
        st.dictionaries(texts, st.integers()),
        st.dictionaries(texts, st.integers()),
    ),
    st.builds(ev.Timing, st.dictionaries(texts, st.builds(ev.StageTime, numbers, st.integers(), st.integers()))),
    st.builds(ev.Failed, texts, texts),
    st.builds(ev.Final, many),
)


@given(st.lists(anything, max_size=5))
def test_events_round_trip_one_json_line_each(events):
    lines = list(ev.dump(events))
    assert all("\n" not in line and json.loads(line)["type"] for line in lines)
    assert list(ev.load(lines)) == events


def test_a_final_hit_is_flat():
    hit = Hit(Passage("a", "text", "title"), 1, {"retrieval": 2.0}, {"retrieval": 1})
    data = ev.to_dict(ev.Final((hit,)))
    assert data["type"] == "Final"
    assert data["hits"][0] | {"id": "a", "rank": 1, "scores": {"retrieval": 2.0}, "text": "text"} == data["hits"][0]


@pytest.mark.parametrize("line", ["{", '{"type": "Nonsense"}', '{"type": "Token"}', '{"type": "Final", "hits": [{}]}', "[]", "3"])
def test_a_damaged_recording_is_bad_input(line):
    with pytest.raises(BadInput):
        list(ev.load([line]))


def test_records_are_frozen_all_the_way():
    hit = Hit(Passage("a", "text"), 1, {"retrieval": 2.0})
    with pytest.raises(TypeError):
        hit.scores["retrieval"] = 3.0
    with pytest.raises(AttributeError):
        hit.rank = 2
