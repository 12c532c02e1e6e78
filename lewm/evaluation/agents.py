"""An agent that plans, on tasks: a search or a policy, with a world model. `actors` has those that do not plan.

B environments, A action width, V and U the sides of a decoded frame, N latents, D their width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from lewm.evaluation.episodes import Act, Distance, Film, Played, frames_of, run_episodes
from lewm.evaluation.tasks import Tasks
from lewm.planning.controller import Controller
from lewm.planning.replanner import Decision, Replanner
from lewm.runtime import clock
from lewm_data.envs.world import World, WorldEnv

Decode = Callable[[Float[Tensor, "N D"]], UInt8[np.ndarray, "N V U 3"]]
OnProgress = Callable[[float, int], None]  # share of the work done, tasks solved so far


@dataclass(frozen=True)
class Seconds:
    """The time that planning took, in seconds.

    Attributes:
        per_plan: One plan for one environment, the mean over all plans; of an agent that does not plan, one action.
        preparing: Compiling kernels and capturing CUDA graphs, which is not part of a plan; 0 on other devices.
    """

    per_plan: float
    preparing: float


def run_planner(
    controller: Controller,
    world: World,
    tasks: Tasks,
    frame_size: int,
    batch: int,
    on_film: Callable[[Film], None] | None = None,
    on_progress: OnProgress = lambda share, solved: None,
    decode: Decode | None = None,
    to_the_end: bool = False,
) -> tuple[Played, Seconds]:
    """Plan, execute and replan until each task is solved, its episode has ended, or its budget is spent.

    An episode's actions do not depend on `batch` or on the other tasks.

    Args:
        frame_size: Pixels a side that the environment draws: as many as in training, so that the model resizes alike.
        batch: Episodes that run together.
        on_film: Called with what happened in each episode, in the order of the tasks.
        on_progress: Called whenever the planner says how far it is.
        decode: Turns latents into pictures; where it is given, films also show what the plans expect.
        to_the_end: Plan on where a task is solved, see `run_episodes`.

    Returns:
        What became of the tasks, and how long planning took.
    """
    device, frameskip = controller.model.device, controller.model.config.frameskip
    seconds, plans, prepared = 0.0, 0, controller.seconds_preparing
    meter = Meter(on_progress, -(-len(tasks) // batch))
    plans_of_batch = controller.schedule.plans(-(-tasks.budget // frameskip))
    imagination = _Imagination(controller, decode, on_film) if decode and on_film else None

    def agent(first: int, env: WorldEnv) -> Act:
        goals = controller.embed(tasks.goals(env))
        replanner = Replanner(controller, goals, first + np.arange(env.num_envs))

        def act(active: np.ndarray, step: int) -> np.ndarray:
            nonlocal seconds, plans
            frames = frames_of(env)[active] if replanner.looks_next else None
            begun, made = clock(device), replanner.replan
            latents = None if frames is None else controller.embed(frames)
            actions = replanner.act(latents, active, lambda share: meter.within_batch((made + share) / plans_of_batch))
            seconds += clock(device) - begun
            if replanner.decision is not None:
                plans += len(active)
                if imagination:
                    imagination.planned(first + active, replanner.decision)
            return actions

        return act

    films = imagination.film if imagination else on_film
    played = run_episodes(
        world, tasks, frame_size, batch, agent, latent_distance(controller), films, meter.batch_finished, to_the_end
    )
    preparing = controller.seconds_preparing - prepared
    return played, Seconds((seconds - preparing) / max(1, plans), preparing)


def latent_distance(controller: Controller) -> Distance:
    """Euclidean distance between the latents of frames and of goals."""

    def distance(
        frames: UInt8[np.ndarray, "B Y X 3"], goals: UInt8[np.ndarray, "B Y X 3"]
    ) -> Float64[np.ndarray, " B"]:
        apart = (controller.embed(frames) - controller.embed(goals)).norm(dim=-1)
        return apart.cpu().double().numpy()  # not every device has doubles

    return distance


class Meter:
    """Turns what is done of a batch of episodes into a share of all; what early success saves counts as done."""

    def __init__(self, report: OnProgress, batches: int) -> None:
        self.report, self.batches = report, batches
        self.finished = self.solved = 0

    def within_batch(self, share: float) -> None:
        """Tells which share of the present batch is done."""
        self.report((self.finished + share) / self.batches, self.solved)

    def batch_finished(self, solved: int) -> None:
        """Tells that the present batch is done, and how many of its tasks are solved."""
        self.finished, self.solved = self.finished + 1, self.solved + solved
        self.report(self.finished / self.batches, self.solved)


class _Imagination:
    """Adds to each film what its plans expected."""

    def __init__(self, controller: Controller, decode: Decode, on_film: Callable[[Film], None]) -> None:
        self.controller, self.decode, self.on_film = controller, decode, on_film
        self.expected: defaultdict[int, list[np.ndarray]] = defaultdict(list)  # a picture (V, U, 3) a block, by task

    def planned(self, tasks: Int64[np.ndarray, " B"], decision: Decision) -> None:
        latents = self.controller.imagine(decision.context, decision.execute)  # (B, E, D)
        pictures = self.decode(latents.flatten(0, 1))
        for task, blocks in zip(tasks.tolist(), np.split(pictures, len(tasks)), strict=True):
            self.expected[task].extend(blocks)

    def film(self, film: Film) -> None:
        present = self.decode(self.controller.embed(film.frames[:1]))
        skip = self.controller.model.config.frameskip
        steps = [picture for picture in self.expected.pop(film.task, []) for _ in range(skip)]
        self.on_film(replace(film, imagined=np.stack([*present, *steps][: len(film.frames)])))
