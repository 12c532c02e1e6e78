"""Sums over the processes of a group."""

from __future__ import annotations

from torch import Tensor, distributed, ops


def name_of(group: distributed.ProcessGroup | None) -> str | None:
    """The group's name, which stands for it in operators; None for one process.

    Raises:
        ValueError: If this process is not a member of the group.
    """
    if group is None:
        return None
    if not isinstance(group, distributed.ProcessGroup):
        raise ValueError(
            f"sigreg: expected a process group that this process is a member of, got {group!r}. "
            "Use torch.distributed.group.WORLD after init_process_group, or no group for one process."
        )
    name: str = group.group_name
    return name


def sum_over_ranks(x: Tensor, group: str) -> Tensor:
    """The sum of `x` over the processes of the group: one all-reduce, with the same result on all of them.

    These operators take the group by its name and can be traced, which `torch.distributed.all_reduce` cannot be
    inside a gradient's formula.
    """
    # An upstream gradient may be one number expanded.
    total = ops._c10d_functional.all_reduce(x.contiguous(), "sum", group)
    return ops._c10d_functional.wait_tensor(total)
