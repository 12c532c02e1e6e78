"""How many environments are planned for at a time."""

from __future__ import annotations

# Environments of a group where every size has to be prepared. 50 are what the paper and the released code evaluate
# together: with 300 candidates each they have, by count, enough work for every multiprocessor of a large GPU.
SIZES = (1, 2, 4, 8, 16, 32, 50)

# The launches of a group take about as long as this many environments more would. A guess from counts of launches and
# operations, until it is measured.
OVERHEAD = 4


def even_groups(environments: int, together: int) -> list[int]:
    """Sizes of groups, as few as can be and as equal as can be, of at most `together`."""
    groups = -(-environments // together)
    least, larger = divmod(environments, groups)
    return [least + 1] * larger + [least] * (groups - larger)


def padded_groups(environments: int, together: int) -> list[int]:
    """Groups of one of `SIZES`, at most `together`, the last of which may be larger than what is left for it.

    All have one size, so that a solve needs one preparation at most: that of another size for the rest would take
    longer than what it saves. Of the sizes, the one with the least work is taken; of equal ones the largest.
    """
    sizes = [size for size in reversed(SIZES) if size <= together]
    size = min(sizes, key=lambda size: -(-environments // size) * (size + OVERHEAD))
    return [size] * -(-environments // size)
