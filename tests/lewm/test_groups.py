"""The groups of environments that are planned together."""

from hypothesis import given
from hypothesis import strategies as st

from lewm.planning.groups import OVERHEAD, SIZES, even_groups, padded_groups


@given(environments=st.integers(1, 500), together=st.integers(1, 200))
def test_even_groups_are_few_and_alike(environments, together):
    sizes = even_groups(environments, together)
    assert sum(sizes) == environments
    assert max(sizes) <= together
    assert max(sizes) - min(sizes) <= 1
    assert (len(sizes) - 1) * together < environments


@given(environments=st.integers(1, 500), together=st.integers(1, 200))
def test_padded_groups_cover_all_with_the_least_work_of_one_size(environments, together):
    sizes = padded_groups(environments, together)
    size, largest = sizes[0], max(size for size in SIZES if size <= together)
    assert set(sizes) == {size} <= set(SIZES)
    assert size <= together
    assert 0 <= sum(sizes) - environments < size
    assert sum(sizes) < environments + min(environments, largest)
    work = sum(sizes) + OVERHEAD * len(sizes)
    assert all(work <= -(-environments // other) * (other + OVERHEAD) for other in SIZES if other <= together)


def test_groups_of_an_evaluation():
    assert [padded_groups(B, 1000) for B in (200, 97, 50, 3)] == [[50] * 4, [50] * 2, [50], [4]]
    assert padded_groups(20, 7) == [4] * 5
