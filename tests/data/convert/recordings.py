"""Recordings as a robot's owner has them: videos, or folders of pictures, with tables of actions.

Each picture carries its number: a grey patch in the middle has the level of `level(step)`.
"""

import numpy as np

from lewm_data.convert.convert import convert
from lewm_data.convert.request import Request
from lewm_data.store.dataset import Dataset
from lewm_data.store.verify import verify
from lewm_data.video.video_writer import write_video

SIDES = (48, 64)
LOSSY = 6.0  # levels by which H.264 may change a grey patch


def level(step):
    return 40 + 7 * step % 180


def frames(rows, sides=SIDES):
    made = np.zeros((rows, *sides, 3), np.uint8)
    for step, frame in enumerate(made):
        frame[...] = (10, 60, 110)
        frame[sides[0] // 4 : -sides[0] // 4, sides[1] // 4 : -sides[1] // 4] = level(step)
    return made


def levels(made):
    """The levels in the middle of frames."""
    y, x = made.shape[1] // 2, made.shape[2] // 2
    return made[:, y - 2 : y + 2, x - 2 : x + 2].mean(axis=(1, 2, 3))


def actions(rows, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)


def write_table(path, values, header="dx,dy", times=None):
    with path.open("w") as file:
        if header:
            file.write(("" if times is None else "time,") + header + "\n")
        for row, numbers in enumerate(values):
            stamp = [] if times is None else [f"{times[row]:.4f}"]
            file.write(",".join(stamp + [f"{number:.6f}" for number in numbers]) + "\n")


def write_recording(folder, name, rows, fps=10.0, seed=0, **table):
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / f"{name}.mp4", frames(rows), fps)
    write_table(folder / f"{name}.csv", actions(rows, seed), **table)


def converted(source, out, **settings):
    """The report, the assumptions and the episodes of a conversion."""
    plans = []
    report = convert(Request(source, out, **settings), plans.append)
    with Dataset.open(out) as dataset:
        assert verify(dataset).differing == ()
        return (
            report,
            plans[0].assumptions,
            [dataset.episode(i) for i in range(dataset.num_episodes)],
            dataset.attributes,
        )


def assert_shows(episode, steps):
    expected = np.array([level(step) for step in steps], float)
    np.testing.assert_allclose(levels(episode["pixels"]), expected, atol=LOSSY)


def write_video_only(folder, rows, fps):
    folder.mkdir()
    write_video(folder / "a.mp4", frames(rows), fps)
