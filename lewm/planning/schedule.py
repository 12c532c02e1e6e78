"""How many blocks a plan has, and how many of them are executed before the next."""

from __future__ import annotations

from dataclasses import dataclass

from lewm.config import Planning


@dataclass(frozen=True)
class Schedule:
    """The plans from one arrival to the next: how many blocks each has, and how many of them are executed.

    Where fewer blocks are executed than planned, the goal would stay a whole horizon ahead at every plan, and never be
    reached. So the horizon shrinks towards the planned arrival (`planning.horizon_end`); then it is whole again.

    Attributes:
        stages: For each plan the blocks that are planned and the blocks that are executed; after the last, the first
            follows again.
    """

    stages: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, planning: Planning) -> Schedule:
        """The schedule that the settings ask for."""
        horizon, execute = planning.horizon, planning.execute or planning.horizon
        if planning.horizon_end == "fixed":
            return cls(((horizon, execute),))
        return cls(tuple((left, min(left, execute)) for left in range(horizon, 0, -execute)))

    def stage(self, replan: int) -> tuple[int, int]:
        """Blocks that plan number `replan` of an episode has, and those that are executed."""
        return self.stages[replan % len(self.stages)]

    def plans(self, blocks: int) -> int:
        """How many plans an episode of that many blocks has."""
        plans = 0
        while blocks > 0:
            blocks, plans = blocks - self.stage(plans)[1], plans + 1
        return plans
