"""How many blocks a plan has, and how many of them are executed before the next."""

from __future__ import annotations

from dataclasses import dataclass

from lewm.config import Planning


@dataclass(frozen=True)
class Schedule:
    """From one arrival to the next: what each plan has.

    Where fewer blocks are executed than planned, the goal would stay a whole horizon ahead at every plan, and never be
    reached. So the horizon shrinks towards the planned arrival (`planning.horizon_end`); then it is whole again.

    Attributes:
        stages: Blocks that are planned, and blocks that are executed, of each plan; then again from the first.
    """

    stages: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, planning: Planning) -> Schedule:
        """As the settings have it."""
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
