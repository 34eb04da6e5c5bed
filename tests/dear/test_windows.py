from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dear.errors import BadInput
from dear.windows import schedule

sizes = st.integers(2, 30).flatmap(lambda window: st.tuples(st.integers(1, 200), st.just(window), st.integers(1, window)))


@given(sizes)
def test_every_position_is_covered_back_to_front(size):
    n, window, stride = size
    spans = schedule(n, window, stride)
    assert {i for start, end in spans for i in range(start, end)} == set(range(n))
    assert all(0 <= start < end <= n and end - start <= window for start, end in spans)
    starts = [start for start, _ in spans]
    assert starts == sorted(set(starts), reverse=True)
    assert starts[-1] == 0
    assert spans[0][1] == n


@given(sizes)
def test_a_passage_can_travel_from_tail_to_head(size):
    n, window, stride = size
    spans = schedule(n, window, stride)
    if stride < window:
        assert all(after[1] > before[0] for before, after in pairwise(spans))


@pytest.mark.parametrize(
    ("n", "window", "stride", "spans"), [(0, 10, 5, []), (1, 2, 1, [(0, 1)]), (10, 20, 10, [(0, 10)]), (25, 20, 10, [(5, 25), (0, 20)])]
)
def test_lists_the_reference_leaves_untouched(n, window, stride, spans):
    assert schedule(n, window, stride) == spans


@pytest.mark.parametrize(("window", "stride", "says"), [(20, 30, "stride 30 exceeds window 20"), (1, 1, "window 1"), (10, 0, "stride 0")])
def test_impossible_windows_name_value_and_remedy(window, stride, says):
    with pytest.raises(BadInput, match=says):
        schedule(25, window, stride)
