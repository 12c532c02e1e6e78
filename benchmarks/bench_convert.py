"""How fast `lewm data convert` is, beside the decoder alone, and how its memory grows with the source.

    python benchmarks/bench_convert.py --json benchmarks/results/convert-cpu.json

Videos of 640 x 480 are drawn, with grain as a camera has it, and a table of actions each. They are converted to frames
of 224, every picture or 10 a second. The decoder alone goes through the same pictures and keeps nothing. Both take
turns. Memory is measured in processes of their own, for a few videos and for four times as many. A result whose actions
or frames are not those of the videos is refused.
"""

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _report import spread, write_report

from lewm_data.convert.convert import convert
from lewm_data.convert.media import all_pictures
from lewm_data.convert.request import Request
from lewm_data.store.dataset import Dataset
from lewm_data.video.fit import fitted
from lewm_data.video.video_file import probe
from lewm_data.video.video_writer import VideoWriter

HEIGHT, WIDTH = 480, 640
CASES = [(10.0, None), (30.0, None), (30.0, 10.0)]  # pictures a second of the videos, steps a second asked for
GROWTH = 4


def record(folder: Path, videos: int, seconds: float, fps: float) -> None:
    """Draws videos of a block that moves on a table, and tables of its actions."""
    folder.mkdir()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    table = 190 + 20 * np.sin(x / 37) + 15 * np.cos(y / 23)
    for number in range(videos):
        rng = np.random.default_rng(number)
        rows = round(seconds * fps)
        moves = rng.normal(size=(rows, 2)).cumsum(axis=0) * 6
        with VideoWriter(folder / f"{number}.mp4", fps) as video:
            for move in moves:
                frame = np.repeat(table[..., None], 3, axis=2)
                at = np.clip(move + np.array([HEIGHT, WIDTH]) / 2, 60, [HEIGHT - 60, WIDTH - 60])
                frame[(abs(y - at[0]) < 40) & (abs(x - at[1]) < 40)] = (190, 40, 40)
                grain = rng.integers(-6, 7, (HEIGHT, WIDTH, 1))
                video.write(np.clip(frame + grain, 0, 255).astype(np.uint8))
        np.savetxt(folder / f"{number}.csv", moves, delimiter=",", header="dx,dy", comments="")


def decode(folder: Path) -> int:
    """Decodes all videos, and returns how many pictures they have."""
    return sum(1 for path in sorted(folder.glob("*.mp4")) for _ in probe(path).pictures(0.0))


def peak_memory(folder: Path, fps: float | None) -> int:
    """The most bytes that a process holds that converts a folder."""
    program = "import sys, bench_convert; bench_convert.convert_and_tell(*sys.argv[1:])"
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        arguments = [str(folder), f"{out}/out.h5", str(fps or "")]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        )
    return int(done.stdout)


def convert_and_tell(source: str, out: str, fps: str) -> None:
    """Converts, and prints the most bytes that this process has held."""
    convert(Request(Path(source), Path(out), fps=float(fps) if fps else None))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def check(folder: Path, out: Path, recorded: float, asked: float | None) -> None:
    """Fails unless each episode has the frames of its video, and the actions that were taken from them."""
    every = 1 if asked is None else round(recorded / asked)
    with Dataset.open(out) as dataset:
        for number in range(dataset.num_episodes):
            rows, chosen = dataset.rows(np.array([number])), np.array([number])
            actions = np.loadtxt(folder / f"{number}.csv", delimiter=",", skiprows=1, dtype=np.float32)
            np.testing.assert_array_equal(dataset.column("action", chosen)[:-1], actions[::every][: len(rows) - 1])
            pictures = all_pictures(probe(folder / f"{number}.mp4"), len(actions))
            for row, picture in zip(rows, itertools.islice(pictures, 0, None, every), strict=True):
                frame = fitted(picture, dataset.frame_size, "crop")  # one at a time: a new process inherits the peak
                np.testing.assert_array_equal(dataset.frames(np.array([row]))[0], frame)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(folder: Path, case: tuple[float, float | None], arguments: argparse.Namespace) -> dict[str, Any]:
    """One case: seconds of a conversion and of decoding alone, in turns, and memory."""
    recorded, asked = case
    few, many = folder / "few", folder / "many"
    record(few, arguments.videos, arguments.seconds, recorded)
    record(many, GROWTH * arguments.videos, arguments.seconds, recorded)
    out = folder / "out.h5"
    converting, decoding = [], []
    for _ in range(arguments.turns):
        request = Request(few, out, fps=asked, overwrite=True)
        converting.append(timed(lambda request=request: convert(request)))
        decoding.append(timed(lambda: decode(few)))
    check(few, out, recorded, asked)
    footage = arguments.videos * arguments.seconds
    return {
        "videos": arguments.videos,
        "footage_seconds": footage,
        "recorded_fps": recorded,
        "asked_fps": asked,
        "seconds": spread(np.array(converting), arguments.turns),
        "decoding_seconds": spread(np.array(decoding), arguments.turns),
        "times_real_time": spread(footage / np.array(converting), arguments.turns),
        "peak_bytes": peak_memory(few, asked),
        "peak_bytes_of_more": peak_memory(many, asked),
        "growth": GROWTH,
    }


def main() -> None:
    """Measures every case, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a video")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    results = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), case, arguments))
        row = results[-1]
        print(
            f"{case}: {row['times_real_time']['median']:.1f} times real time, {row['seconds']['median']:.2f} s, "
            f"decoding {row['decoding_seconds']['median']:.2f} s, {row['peak_bytes'] / 2**20:.0f} MiB, "
            f"{row['peak_bytes_of_more'] / 2**20:.0f} MiB for {GROWTH} times as much"
        )
    write_report(arguments.json, "convert", results)


if __name__ == "__main__":
    main()
