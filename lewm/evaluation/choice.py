"""The tasks of a request: drawn from a dataset, given by the environment, or read from a file."""

from __future__ import annotations

from lewm.errors import LewmError
from lewm.evaluation.clear.manifest import read_if_manifest
from lewm.evaluation.clear.pairs import tasks_of
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.from_env import draw_from_env, read_goal
from lewm.evaluation.manifest import read_tasks
from lewm.evaluation.requests import FromEnv, FromFile, PlanRequest
from lewm.evaluation.tasks import HELD_OUT, NOT_KNOWN, PAPER, UNSOLVED, Tasks
from lewm.opened_run import Run, RunData
from lewm_data.envs.world import World
from lewm_data.video.placing import CROP


def tasks_for(request: PlanRequest, run: Run, place: World) -> Tasks:
    """The tasks that a request asks for.

    Raises:
        LewmError: They cannot be drawn or read, or do not belong to the run.
        DataError: The dataset is damaged.
    """
    wanted = request.tasks
    if isinstance(wanted, FromFile):
        manifest = read_if_manifest(wanted.path)
        if manifest is None:
            return read_tasks(wanted.path, place)
        with run.data(wanted.data) as data:
            return tasks_of(manifest, data.dataset, place)
    goal_offset, budget = wanted.evaluation.goal_offset, wanted.evaluation.budget
    if isinstance(wanted, FromEnv):
        trained = run.trained_on
        picture = read_goal(wanted.goal, trained.frame_size[0], run.fit or place.fit or CROP) if wanted.goal else None
        return draw_from_env(place, wanted.episodes, goal_offset, budget, request.seed, picture)
    with run.data(wanted.data) as data:
        protocol = wanted.protocol or (HELD_OUT if run.origin is None else UNSOLVED)
        if protocol == HELD_OUT:
            _check_holds_out(data)
        return draw_tasks(
            data.dataset, place, protocol, data.unseen, wanted.episodes, goal_offset, budget, request.seed
        )


def _check_holds_out(data: RunData) -> None:
    """Raises where it is not known which episodes of the dataset the run's training did not see."""
    if data.run.origin is not None:
        raise LewmError(
            f"{data.run.path}: was imported from {data.run.origin}, so what its training held out is not known",
            f"Use --protocol {UNSOLVED}, which is as strict but for that, or --protocol {PAPER}.",
        )
    data.check_in_training("Give --data the dataset as it was in training, or use --protocol paper.")


def named_protocol(request: PlanRequest, run: Run, tasks: Tasks) -> str:
    """The name that the report gives the protocol, which depends on the data that the run was trained on."""
    if run.origin is not None and tasks.dataset is not None:
        name = tasks.name_in(request.tasks.path) if isinstance(request.tasks, FromFile) else tasks.protocol
        return f"{name}; {NOT_KNOWN}"
    if not isinstance(request.tasks, FromFile):
        return tasks.protocol
    seen, _ = run.split(run.trained_on.episodes)
    return tasks.protocol_for(run.trained_on.fingerprint, seen, request.tasks.path)
