"""Communication between the processes of a group: sums, and the rows of all processes."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, cat, distributed, ops, tensor


def name_of(group: distributed.ProcessGroup | None, operator: str) -> str | None:
    """The group's name, by which operators take it; None without a group.

    Args:
        group: The process group, of which this process has to be a member.
        operator: The operator that the error names.

    Raises:
        ValueError: If this process is not a member of the group.
    """
    if group is None:
        return None
    if not isinstance(group, distributed.ProcessGroup):
        raise ValueError(
            f"{operator}: expected a process group that this process is a member of, got {group!r}. "
            "Use torch.distributed.group.WORLD after init_process_group, or no group for one process."
        )
    name: str = group.group_name
    return name


def sum_over_ranks(x: Tensor, group: str) -> Tensor:
    """The sum of `x` over the processes of the group: one all-reduce, with the same result on all of them.

    This operator takes the group by its name and can be traced, unlike `torch.distributed.all_reduce`, inside a
    gradient's formula.
    """
    # An upstream gradient may be a single number, expanded.
    total = ops._c10d_functional.all_reduce(x.contiguous(), "sum", group)
    return ops._c10d_functional.wait_tensor(total)


def gather_over_ranks(x: Float[Tensor, "n ..."], group: str, ranks: int) -> list[Tensor]:
    """The rows of each process of the group, in the order of ranks.

    One all-gather tells how many rows each process has, and a second one gathers them, filled up to the same number.
    """
    counts = _gathered(tensor([len(x)], device=x.device), group, ranks).tolist()
    filled = cat([x, x.new_zeros(max(counts) - len(x), *x.shape[1:])])
    parts = _gathered(filled, group, ranks).chunk(ranks)
    return [part[:count] for part, count in zip(parts, counts, strict=True)]


def _gathered(x: Tensor, group: str, ranks: int) -> Tensor:
    together = ops._c10d_functional.all_gather_into_tensor(x.contiguous(), ranks, group)
    return ops._c10d_functional.wait_tensor(together)
