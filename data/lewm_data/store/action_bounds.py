"""The bounds of a dataset's actions, within which actions are planned.

Shape letters: E episodes chosen, D action dimension.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int

from lewm_data.envs.world import World
from lewm_data.errors import DataError
from lewm_data.store.clips import recorded_actions, varies
from lewm_data.store.dataset import Dataset

LOW, HIGH = "action_low", "action_high"  # attributes of a file


def action_bounds(
    dataset: Dataset, world: World | None, episodes: Int[np.ndarray, "E"] | None = None
) -> tuple[Float32[np.ndarray, "D"], Float32[np.ndarray, "D"]]:
    """The least and the greatest value of each dimension of an action, in environment units.

    The bounds come from the file's attributes; else from the world; else they are the least and the greatest recorded
    value, because the robot was never seen to do more. A dimension that never varies in the data has its value as both
    bounds: predictions of the model for any other value mean nothing.

    Args:
        dataset: The dataset.
        world: The world of the dataset, if it is known.
        episodes: The episodes of the training; all if None.

    Raises:
        DataError: The attributes `action_low` and `action_high` are not two lists of D numbers, the first nowhere above
            the second; or there are fewer than two actions.
    """
    actions = recorded_actions(dataset, episodes)
    bounds = _stated(dataset)
    if bounds is None and world is not None and world.action_dim == dataset.action_dim:
        bounds = world.action_space.low, world.action_space.high
    if bounds is None:
        bounds = actions.min(axis=0), actions.max(axis=0)
    with np.errstate(over="ignore"):  # a bound beyond float32 becomes infinite
        low, high = (values.astype(np.float32) for values in bounds)
    # where float32 rounds outwards, the next number inwards is taken
    low = np.where(low < bounds[0], np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > bounds[1], np.nextafter(high, np.float32(-np.inf)), high)
    held = ~varies(actions)
    value = actions.mean(axis=0).astype(np.float32)
    return np.where(held, value, low), np.where(held, value, high)


def _stated(dataset: Dataset) -> tuple[Float64[np.ndarray, "D"], Float64[np.ndarray, "D"]] | None:
    """The bounds in the file's attributes; None where it has none."""
    stated = {name: dataset.attributes.get(name) for name in (LOW, HIGH)}
    if stated[LOW] is None and stated[HIGH] is None:
        return None
    remedy = f"Write both {LOW} and {HIGH}, -inf and inf where there is no bound, or neither."
    for name, value in stated.items():
        found = np.asarray(value)
        if found.dtype.kind not in "iuf" or found.shape != (dataset.action_dim,) or np.isnan(found).any():
            raise DataError(
                f"{dataset.path}: attribute '{name}' is {value!r:.80}, expected an array of {dataset.action_dim}, a "
                "number for each dimension of 'action'",
                remedy,
            )
    low, high = (np.array(stated[name], np.float64) for name in (LOW, HIGH))
    if (low > high).any():
        wrong = int((low > high).argmax())
        raise DataError(
            f"{dataset.path}: dimension {wrong} of 'action' is between {LOW} {low[wrong]} and {HIGH} {high[wrong]}, "
            "expected the lower bound first",
            remedy,
        )
    return low, high
