"""Open loop in the world's units: how well the predictor foresees what will be, apart from how well the encoder sees.

N frames of a sample, W windows, S state width, C numbers of a state, K numbers that a probe predicts, D latent width,
L context length, P = L - 1 past blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from lewm.curves.curve import Errors, OpenLoop
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run
from lewm.probing.features import embed
from lewm.probing.probes import Scale, mlp_probe
from lewm.probing.sample import Sample, draw_sample
from lewm.world_states import states_of
from lewm_data.envs.registry import known_world
from lewm_data.envs.world import World
from lewm_data.store.schema import ACTION


@dataclass(frozen=True)
class Part:
    """A physical quantity in a state.

    Attributes:
        numbers: Which numbers of a state it is: a place, or one angle in radians.
        angle: Whether it is an angle.
    """

    numbers: slice
    angle: bool = False

    @property
    def unit(self) -> str:
        """The unit of its errors; "" for the world's own."""
        return "degrees" if self.angle else ""

    def encode(self, states: Float64[np.ndarray, "N S"]) -> Float64[np.ndarray, "N K"]:
        """What a probe predicts: a place itself, sine and cosine of an angle."""
        values = states[:, self.numbers]
        return np.concatenate([np.sin(values), np.cos(values)], axis=1) if self.angle else values

    def decode(self, predicted: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, "N C"]:
        """The numbers of the state that a probe's predictions mean."""
        return np.arctan2(predicted[:, :1], predicted[:, 1:]) if self.angle else predicted

    def error(self, states: Float64[np.ndarray, "N S"], truth: Float64[np.ndarray, "N S"]) -> Float64[np.ndarray, " N"]:
        """Distances of places, in the world's unit; differences of angles in degrees, 0 to 180."""
        away = states[:, self.numbers] - truth[:, self.numbers]
        if self.angle:
            return np.rad2deg(np.abs((away[:, 0] + np.pi) % (2 * np.pi) - np.pi))
        return np.asarray(np.linalg.norm(away, axis=1))


# What decides in each world whether a goal is reached.
SOLVED_BY: Mapping[str, Mapping[str, Part]] = {
    "two-room": {"agent": Part(slice(0, 2))},
    "push-t": {"agent": Part(slice(0, 2)), "block": Part(slice(2, 4)), "angle": Part(slice(4, 5), angle=True)},
    "reacher": {"shoulder": Part(slice(0, 1), angle=True), "wrist": Part(slice(1, 2), angle=True)},
    "cube": {"cube": Part(slice(14, 17))},
}


@dataclass(frozen=True)
class Windows:
    """Pieces of test episodes. All numbers count frames of the sample.

    Attributes:
        context: The frames from which the end is imagined, a block apart, the start last.
        end: The frame that is imagined.
        steps: The frames in which the actions are taken, from the first frame of the context to the end.
    """

    context: Int64[np.ndarray, "W L"]
    end: Int64[np.ndarray, " W"]
    steps: Int64[np.ndarray, "W steps"]

    @classmethod
    def of(cls, sample: Sample, context: int, blocks: int, skip: int) -> Windows:
        """Windows of so many blocks of `skip` steps after a context; they begin at every `skip`-th frame."""
        past = (context - 1) * skip
        whole = past + blocks * skip
        first = np.arange(sample.test.start, sample.test.stop - whole, skip)
        first = first[sample.episode[first] == sample.episode[first + whole]]
        apart = skip * np.arange(context)
        return cls(first[:, None] + apart, first + whole, first[:, None] + np.arange(whole))

    def among(self, chosen: np.ndarray) -> Windows:
        """Some of the windows."""
        return Windows(self.context[chosen], self.end[chosen], self.steps[chosen])


def measure_open_loop(run: Run, episodes: int, seed: int) -> OpenLoop | None:
    """Roll the model out on held-out episodes, with their actions, as far as the goals of tasks are.

    An MLP probe, fitted to latents of true frames, reads the imagined latents. As in tasks, no window counts as solved
    at its start. Windows begin as plans do, with `planning.context` frames.

    Args:
        episodes: The most held-out episodes to use, a part of them to fit the probe.
        seed: Seed of the choice of episodes and of the probe.

    Returns:
        None where it is not known here what decides whether a goal is reached, the dataset does not hold the states, or
        no window is left.

    Raises:
        LewmError: There are too few held-out episodes, or no weights.
    """
    place = known_world(run.config.env)
    if place is None or place.name not in SOLVED_BY:
        return None
    skip, context = run.config.model.frameskip, run.config.planning.context
    blocks = max(1, run.config.evaluation.goal_offset // skip)
    with run.data() as data:
        states = states_of(data.dataset, place)
        if states is None:
            return None
        sample = draw_sample(data.dataset, data.unseen, episodes, seed, data.in_training)
        latents = embed(run.model, data.dataset, sample.rows, lambda share: None)
        actions = data.dataset.column(ACTION)[sample.rows].astype(np.float32)
    states = states[sample.rows]
    windows = Windows.of(sample, context, blocks, skip)
    windows = windows.among(~place.solved(states[windows.context[:, -1]], states[windows.end]))
    if not len(windows.end):
        return None
    imagined = _imagine(run.model, latents, actions, windows)
    seen, foreseen = _read(place, states, latents, imagined, windows, sample, seed, run.device)
    truth, start = states[windows.end], states[windows.context[:, -1]]
    return OpenLoop(
        steps=blocks * skip,
        windows=len(truth),
        units={name: part.unit for name, part in SOLVED_BY[place.name].items()},
        imagined=_errors(place, foreseen, truth),
        seen=_errors(place, seen, truth),
        still=_errors(place, start, truth),
    )


@torch.inference_mode()
def _imagine(
    model: WorldModel, latents: Float32[np.ndarray, "N D"], actions: Float32[np.ndarray, "N _"], windows: Windows
) -> Float32[np.ndarray, "W D"]:
    """The latents that the model expects at the ends of the windows."""
    count, context = windows.context.shape
    taken = torch.from_numpy(actions[windows.steps]).reshape(count, -1, model.config.action_block)
    blocks = model.normalize_actions(taken.to(model.device))
    past, to_come = blocks[:, : context - 1], blocks[:, None, context - 1 :]
    given = torch.from_numpy(latents[windows.context]).to(model.device)
    return model.rollout(given, to_come, past if context > 1 else None)[:, 0, -1].float().cpu().numpy()


def _read(
    place: World,
    states: Float64[np.ndarray, "N S"],
    latents: Float32[np.ndarray, "N D"],
    imagined: Float32[np.ndarray, "W D"],
    windows: Windows,
    sample: Sample,
    seed: int,
    device: torch.device,
) -> tuple[Float64[np.ndarray, "W S"], Float64[np.ndarray, "W S"]]:
    """The states at the ends of the windows, as a probe reads them from true frames, and from imagined ones.

    The numbers that do not decide about the goal are the true ones.
    """
    # The imagined latents come after the test frames, and are predicted with them.
    longer = replace(sample, test=slice(sample.test.start, len(latents) + len(imagined)))
    x = Scale.of(latents[sample.train]).z(np.concatenate([latents, imagined]))
    unused = np.zeros((len(imagined), states.shape[1]))
    seen, foreseen = states[windows.end], states[windows.end]
    for part in SOLVED_BY[place.name].values():
        y = part.encode(np.concatenate([states, unused]))
        scale = Scale.of(y[sample.train])
        fit = mlp_probe(x, scale.z(y), longer, seed, device, lambda share: None)
        values = part.decode(scale.undo(fit.predicted))
        seen[:, part.numbers] = values[windows.end - sample.test.start]
        foreseen[:, part.numbers] = values[-len(imagined) :]
    return seen, foreseen


def _errors(place: World, states: Float64[np.ndarray, "W S"], truth: Float64[np.ndarray, "W S"]) -> Errors:
    parts = SOLVED_BY[place.name]
    return Errors(
        median={name: float(np.median(part.error(states, truth))) for name, part in parts.items()},
        solved=float(place.solved(states, truth).mean()),
    )
