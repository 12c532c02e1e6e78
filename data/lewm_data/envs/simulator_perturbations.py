"""Parts for perturbations of simulated worlds: an episode goes on from another state, or in another colour.

Letters: K frames that are shown from the onset on, S state width, Y and X the sides of a frame.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from lewm_data.envs.general_perturbations import Continuation, Episode
from lewm_data.envs.simulator import Simulator

# Euclidean distance, in levels from 0 to 255: below half a side of the RGB cube, so some colour is always left.
COLOR_DISTANCE = 120.0

Color = tuple[int, int, int]


def played_on(
    make: Callable[[int], Simulator], episode: Episode, onset: int, state: Float64[np.ndarray, " S"]
) -> UInt8[np.ndarray, "K Y X 3"]:
    """The frames that follow when `state` is at the onset, under the episode's own actions and the true physics.

    Args:
        make: Makes a simulator of the world from a frame size.
        episode: The episode to perturb.
        onset: The first frame that is returned.
        state: The state that this frame shows.
    """
    simulator = make(episode.frames.shape[1])
    simulator.reset(np.random.default_rng(0), episode.factors)
    simulator.set_state(state)
    frames = [simulator.render()]
    for action in episode.actions[onset:]:
        simulator.step(action)
        frames.append(simulator.render())
    simulator.close()
    return np.stack(frames)


def recolored(make: Callable[[int], Simulator], factor: str, others: Sequence[str]) -> Continuation:
    """A perturbation that changes only a colour, to a random one that is clearly different from it and from `others`.

    Args:
        make: Makes a simulator of the world from a frame size.
        factor: The factor of variation, a colour, that changes.
        others: Other factors that are colours.
    """

    def continuation(episode: Episode, onset: int, rng: np.random.Generator) -> UInt8[np.ndarray, "K Y X 3"]:
        changed = {**episode.factors, factor: _new_color(episode.factors, (factor, *others), rng)}
        simulator = make(episode.frames.shape[1])
        simulator.reset(np.random.default_rng(0), changed)
        frames = []
        for state in episode.states[onset:]:
            simulator.set_state(state)
            frames.append(simulator.render())
        simulator.close()
        return np.stack(frames)

    return continuation


def _new_color(factors: Mapping[str, Color], used: Sequence[str], rng: np.random.Generator) -> Color:
    taken = np.array([factors[name] for name in used])
    while True:
        color = rng.integers(0, 256, 3)
        if np.linalg.norm(taken - color, axis=1).min() >= COLOR_DISTANCE:
            red, green, blue = color.tolist()
            return (red, green, blue)
