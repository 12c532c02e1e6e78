"""How many environments are planned for at a time."""

from __future__ import annotations

# Environments of a group where every size has to be prepared. The paper and the released code evaluate 50 together:
# with 300 candidates each, a count shows enough work for every multiprocessor of a large GPU.
SIZES = (1, 2, 4, 8, 16, 32, 50)

# The launches of a group take about as long as so many more environments would. This is a guess from counts of launches
# and operations, until it is measured.
OVERHEAD = 4


def even_groups(environments: int, together: int) -> list[int]:
    """Sizes of at most `together` for as few groups as possible, which are as equal as possible."""
    groups = -(-environments // together)
    least, larger = divmod(environments, groups)
    return [least + 1] * larger + [least] * (groups - larger)


def padded_groups(environments: int, together: int) -> list[int]:
    """Groups of one of `SIZES`, at most `together`; the last may be larger than the number of environments left.

    All have the same size, so that a solve needs at most one preparation: preparing another size for the rest would
    take longer than it saves. The size with the least work is taken; among equal ones the largest.
    """
    sizes = [size for size in reversed(SIZES) if size <= together]
    size = min(sizes, key=lambda size: -(-environments // size) * (size + OVERHEAD))
    return [size] * -(-environments // size)
