"""Which of the processes that share a comparison this one is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lewm.errors import LewmError


@dataclass(frozen=True)
class Share:
    """One of the processes that work together.

    All take from the same list of jobs whatever nobody has taken yet. Each begins at another place of the list, so that
    they seldom reach for the same job.

    Attributes:
        index: Number of this process, from 0.
        of: How many there are.
    """

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise LewmError(f"process {self.index} of {self.of}", f"The index goes from 0 to {self.of - 1}.")


def share_of(index: int | None, of: int | None, environment: Mapping[str, str] = os.environ) -> Share:
    """This process: as the options say, else as torchrun or an array of SLURM says, else the only one.

    Args:
        index: The option --index.
        of: The option --of.
        environment: Variables of the environment.

    Raises:
        LewmError: The numbers do not fit together.
    """
    if index is not None or of is not None:
        if index is None or of is None:
            raise LewmError("--index and --of belong together, and one of them is missing", "Give both.")
        return Share(index, of)
    for number, first, count in (
        ("RANK", "", "WORLD_SIZE"),
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ):
        if number in environment and count in environment:
            try:
                begin, of = int(environment.get(first, "0")), int(environment[count])
                return Share((int(environment[number]) - begin) % of, of)
            except (ValueError, ZeroDivisionError) as error:
                raise LewmError(
                    f"{number}={environment[number]!r:.40} and {count}={environment[count]!r:.40} are not the number "
                    "of a process and how many there are",
                    "Give --index and --of.",
                ) from error
    return Share()
