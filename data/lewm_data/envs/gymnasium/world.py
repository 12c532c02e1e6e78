"""Any Gymnasium environment as a world: "CartPole-v1", "my_package:MyEnv-v0".

Letters: N rows, S state width.
"""

import difflib
import functools
import math
from collections.abc import Iterable
from dataclasses import replace

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Float64

from lewm_data.blame import raised_by_user
from lewm_data.envs.general_perturbations import action_swapped, frozen, shown, time_reversed
from lewm_data.envs.gymnasium.evidence import judge_states
from lewm_data.envs.gymnasium.interface import Interface, inspect
from lewm_data.envs.gymnasium.origin import judged_from
from lewm_data.envs.gymnasium.providers import providers
from lewm_data.envs.gymnasium.simulator import GymnasiumSimulator
from lewm_data.envs.gymnasium.spaces import action_groups, flat_actions
from lewm_data.envs.gymnasium.vector_env import GymnasiumVectorEnv
from lewm_data.envs.judgement import Judgement, OnShare, unheard
from lewm_data.envs.mujoco.headless import prepare_renderer
from lewm_data.envs.world import World
from lewm_data.errors import DataError, unknown
from lewm_data.modules import import_module
from lewm_data.policies.one_hot import KEPT, OneHotPolicy
from lewm_data.policies.spec import PolicyFactory
from lewm_data.video.placing import FITS, STRETCH

MAX_EPISODE_STEPS = 200  # for an environment without a limit of its own
TOLERANCE = 0.25  # a state whose numbers all differ from the goal's by fewer standard deviations is there

# The standard deviations are measured in episodes of random actions.
MEASURED_EPISODES, MEASURED_STEPS = 10, 200
CONSTANT = 1e-6  # a standard deviation below this, relative to the mean's size, is rounding of one value


def gymnasium_world(name: str) -> World:
    """The world of a Gymnasium id; the id is "package:Id-v0" if a package has to be imported first.

    Pictures that are not square are stretched to frames; `World.fitted` gives the world where they are cut or get bars.

    A state is at a goal when each of its numbers is within `TOLERANCE` standard deviations of the goal's, and each of
    its choices is the goal's. The distance is Euclidean, in standard deviations. The standard deviations are those of
    ten episodes of random actions, measured at first use. Where no numbers are observed, the distance is the number of
    steps between two moments.

    Where an environment tells whether its own task is done, its `is_solved` follows that, wherever the goal is, and may
    differ from the world's `solved`. Elsewhere states tell it, but only if they determine the picture, which is tried
    out at first use: see `evidence`.

    Raises:
        DataError: The package or id is unknown (the nearest known ones are named), or the environment cannot be drawn,
            or its actions are of an unsupported kind.
    """
    package, _, gymnasium_id = name.rpartition(":")
    if package:
        _import(package, name)
    if gymnasium_id not in gymnasium.registry:
        raise unknown("environment", gymnasium_id, nearest_ids(gymnasium_id))
    interface = inspect(gymnasium_id)
    made: dict[str, World] = {}

    def of_fit(fit: str) -> World:
        if fit not in made:
            made[fit] = replace(
                _world(name, interface, fit), fits={one: functools.partial(of_fit, one) for one in FITS}
            )
        return made[fit]

    return of_fit(STRETCH)


def _world(name: str, interface: Interface, fit: str) -> World:
    """The world whose pictures become frames as `fit` says."""
    gymnasium_id = interface.gymnasium_id
    measured = functools.cache(lambda: _standard_deviations(interface))
    widths = {name: math.prod(shape) for name, shape in interface.observation.items()}
    exact = np.repeat([name in interface.choices for name in widths], list(widths.values()))  # (S,)

    def solved(states: Float[np.ndarray, "N S"], goals: Float[np.ndarray, "N S"]) -> Bool[np.ndarray, " N"]:
        if not interface.observation:
            return np.zeros(len(states), np.bool_)
        return (np.abs(states - goals) <= np.where(exact, 0.0, TOLERANCE * measured())).all(axis=1)

    def path_distance(states: Float[np.ndarray, "N S"], goals: Float[np.ndarray, "N S"]) -> Float64[np.ndarray, " N"]:
        scale = measured() if interface.observation else 1.0
        return np.linalg.norm((states - goals) / scale, axis=1)

    judgement: Judgement | None = None
    if interface.success is not None:
        judgement = Judgement(True, f'judged by the environment, which says "{interface.success}" wherever the goal is')
    elif not interface.observation:
        judgement = Judgement(False, "not known, because the environment observes no numbers")
    kept = judgement is None and interface.installed

    def judge(on_share: OnShare = unheard) -> Judgement:
        nonlocal judgement
        if judgement is None:
            judgement = judge_states(lambda side: GymnasiumSimulator(interface, side, fit, solved), solved, on_share)
        return judgement

    def make(num_envs: int, frame_size: int, pixels: bool) -> GymnasiumVectorEnv:
        return GymnasiumVectorEnv(
            lambda: GymnasiumSimulator(interface, frame_size, fit, solved), num_envs, frame_size, limit, pixels
        )

    limit = gymnasium.spec(gymnasium_id).max_episode_steps or MAX_EPISODE_STEPS
    groups = action_groups(interface.actions)
    policies: dict[str, PolicyFactory] = {}
    if groups is not None:
        policies["random"] = lambda env, noise: OneHotPolicy(env, groups, 0.0)
        policies["smooth"] = lambda env, noise: OneHotPolicy(env, groups, KEPT)
    return World(
        name=name,
        gymnasium_id=gymnasium_id,
        about="a Gymnasium environment",
        extra=None,
        make=make,
        policies=policies,
        default_policy="random",
        default_noise=0.0,
        action_space=flat_actions(interface.actions),
        state_dim=sum(widths.values()) or 1,
        state_columns=("state",),
        path_distance=path_distance,
        solved=solved,
        targets={name.removeprefix("observation."): name for name in interface.observation},
        perturbations={
            "world frozen": shown(frozen),
            "time reversed": shown(time_reversed),
            "action swapped": action_swapped,
        },
        factors={},
        workers=True,
        action_groups=groups,
        restorable=False,
        judge=judge,
        judged_from=lambda: judged_from(gymnasium_id, fit) if kept else None,
        picture=interface.picture,
        fit=fit,
    )


def _import(package: str, name: str) -> None:
    prepare_renderer()
    try:
        import_module(
            package,
            f"environment {name}",
            f"Write it as package:Id-v0, and install {package}, or run where Python finds it.",
        )
    except DataError:
        raise
    except Exception as error:
        if raised_by_user(error):  # in code of the user's own, whose line is named
            raise
        raise DataError(
            f"environment {name}: {package} cannot be imported: {type(error).__name__}: {error}",
            "Repair the installation of this package and of what it needs.",
        ) from error


def _standard_deviations(interface: Interface) -> Float64[np.ndarray, " S"]:
    """The standard deviation of each number of the state over random actions; 1 for a number that does not vary."""
    simulator = GymnasiumSimulator(interface, 16, STRETCH, lambda states, goals: np.zeros(len(states), np.bool_))
    rng = np.random.default_rng(0)
    space = flat_actions(interface.actions)
    states = []
    for _ in range(MEASURED_EPISODES):
        simulator.reset(rng, {})
        for _ in range(MEASURED_STEPS):
            states.append(simulator.state)
            simulator.step(rng.uniform(space.low, space.high))
            if simulator.ended:
                break
        states.append(simulator.state)
    simulator.close()
    deviations = np.std(states, axis=0)
    return np.where(deviations > CONSTANT * np.abs(np.mean(states, axis=0)), deviations, 1.0)


def unregistered(name: str, worlds: Iterable[str]) -> DataError:
    """The error for a name that is neither that of a world nor registered with Gymnasium.

    Where packages are installed that register such ids, it names them.
    """
    if found := providers(name):
        said = " or ".join(f'"{package}:{name}"' for package in found)
        return DataError(
            f'unknown environment "{name}": no package is imported that registers it',
            f"Write {said}, which imports the package and runs its code.",
        )
    return unknown("environment", name, [*worlds, *nearest_ids(name)])


def nearest_ids(name: str) -> list[str]:
    """The few Gymnasium ids that are most similar to `name`."""
    return difflib.get_close_matches(name, gymnasium.registry, n=5, cutoff=0.5)
