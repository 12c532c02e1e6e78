"""How well an agent did: the report of `lewm plan`.

N tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lewm.evaluation.episodes import Played
from lewm.evaluation.tasks import Tasks
from lewm.measures.intervals import wilson_interval
from lewm.planning.policy import NAMES

WITHOUT_PLANS = {"random": "random actions", "expert": "the world's demonstrator"}  # agents, as tables call them


def agent_name(planning: Mapping[str, Any]) -> str:
    """What tables call the agent that these settings of planning make, for example "LeWM + CEM" or "PLDM + CEM".

    Args:
        planning: `EvalReport.planner`.
    """
    agent = planning["agent"]
    if agent in WITHOUT_PLANS:
        return WITHOUT_PLANS[agent]
    if agent != "planner":
        return f"{planning['method']} + {NAMES[agent]}"
    first = f" from {NAMES['idm']}" if planning["warm_start"] == "idm" else ""
    return f"{planning['method']} + {planning['planner']['kind'].upper()}{first}"


@dataclass(frozen=True)
class LatentDistance:
    """How far the model sees a frame from the goal: Euclidean distance of their latents, averaged over the tasks."""

    start: float
    end: float


@dataclass(frozen=True)
class Success:
    """How often an agent solved its tasks, with Wilson's 95 % interval.

    These are None where it cannot be told what is solved; the distance to the goal is then given in their place.
    """

    success_rate: float | None
    successes: int | None
    episodes: int
    interval_95: tuple[float, float] | None
    latent_distance: LatentDistance | None

    @classmethod
    def of(cls, played: Played) -> Success:
        """The success counted over the tasks."""
        if played.solved is None:
            start, end = played.distance.mean(axis=0).tolist()
            return cls(None, None, len(played.distance), None, LatentDistance(start, end))
        successes, episodes = int(played.solved.sum()), len(played.solved)
        return cls(successes / episodes, successes, episodes, wilson_interval(successes, episodes), None)


@dataclass(frozen=True)
class Outcome:
    """What became of one task.

    Attributes:
        solved: Whether its goal was reached; None where that cannot be told.
        steps: Environment steps taken until it was over.
        latent_distance: Distance to the goal, where it cannot be told whether that was reached.
    """

    solved: bool | None
    steps: int
    latent_distance: LatentDistance | None

    @classmethod
    def each(cls, played: Played) -> list[Outcome]:
        """One outcome for each task."""
        steps = played.steps.tolist()
        if played.solved is None:
            return [
                cls(None, taken, LatentDistance(*apart))
                for taken, apart in zip(steps, played.distance.tolist(), strict=True)
            ]
        return [cls(solved, taken, None) for solved, taken in zip(played.solved.tolist(), steps, strict=True)]


@dataclass(frozen=True)
class TaskOutcome:
    """One task, and what became of it.

    Attributes:
        number: Its place among the tasks, from 0; films are named after it.
        episode, step: Where in the dataset it was taken from, see `Task`.
        seed: Seed of the environment's episode that leads to the start; None where the start is a state.
        planner: Outcome of the agent.
        random: Outcome of uniformly random actions; None where these are the agent.
    """

    number: int
    episode: int
    step: int
    seed: int | None
    planner: Outcome
    random: Outcome | None

    @classmethod
    def each(cls, tasks: Tasks, planner: Played, random: Played | None) -> tuple[TaskOutcome, ...]:
        """One for each task, in their order."""
        of_random = [None] * len(tasks) if random is None else Outcome.each(random)
        outcomes = zip(tasks.each, Outcome.each(planner), of_random, strict=True)
        return tuple(
            cls(number, task.episode, task.step, getattr(task.start, "seed", None), planned, drawn)
            for number, (task, planned, drawn) in enumerate(outcomes)
        )


@dataclass(frozen=True)
class EvalReport:
    """The result of `lewm plan`, with everything needed to judge and repeat it.

    Two reports with the same `tasks_sha256` have the same tasks in the same order, so their `tasks` can be compared
    one by one: `zip(a["tasks"], b["tasks"], strict=True)` pairs the outcomes of two runs in each task.

    Attributes:
        success_rate, successes, episodes, interval_95, latent_distance: The agent's success, see `Success`.
        random: The success of uniformly random actions on the same tasks; None where these are the agent.
        success: How success is judged, or why it is not known: the end of a sentence that begins with "Success is".
        protocol: How the tasks were chosen, for this run: see `Tasks.protocol_for`.
        goal_offset, budget, discarded_solved, discarded_ended: Facts about the tasks, see `Tasks`.
        tasks_sha256: Digest of the tasks: equal digests mean equal tasks.
        seconds_per_plan: Mean over all plans; a policy's plan is a decision, and that of an agent that does not plan an
            action.
        seconds_preparing: Compiling kernels and capturing CUDA graphs, which is not part of a plan; 0 on other devices.
        tasks: What became of each task.
        planner: The settings of planning. `method` is the one by which the model was trained, `precision` the one that
            was used, and `precision_reason` says why. An agent that does not plan has its name here, the seed and
            the batch.
        head_sha256, policy_sha256: Digests of the files of the head and of the policy; None where none was used.
    """

    success_rate: float | None
    successes: int | None
    episodes: int
    interval_95: tuple[float, float] | None
    latent_distance: LatentDistance | None
    random: Success | None
    success: str
    protocol: str
    goal_offset: int | None
    budget: int
    discarded_solved: int
    discarded_ended: int
    tasks_sha256: str
    tasks: tuple[TaskOutcome, ...]
    seconds_per_plan: float
    seconds_preparing: float
    planner: dict[str, Any]
    checkpoint_sha256: str
    head_sha256: str | None
    policy_sha256: str | None
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
