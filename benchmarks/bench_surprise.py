"""How fast `lewm surprise` watches a video, and that its memory does not grow with the length.

Trains the small recipe first. Each case is a process of its own, as a user would start it; what counts is reading,
scoring and writing, without the start.

python benchmarks/bench_surprise.py --json benchmarks/results/surprise-cpu.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _report import write_report

from lewm_data.collection.record_episodes import record
from lewm_data.envs.registry import world
from lewm_data.video.video_writer import VideoWriter

LEWM = [sys.executable, "-c", "from lewm_cli.main import main; main()"]
EPISODE = 100  # steps
SIDE = 4  # times 64 px
FPS = 10.0


def main() -> None:
    """Watch videos of several lengths, with and without their actions and an annotated video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 2000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--train", nargs="*", default=[], help="further options of lewm train")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        lewm(home, "collect")
        lewm(home, "train", *arguments.train)
        for frames in arguments.frames:
            video, actions = home / f"{frames}.mp4", home / f"{frames}.npy"
            make(video, actions, frames)
            lewm(home, "surprise", str(video))  # calibrates, once
            lewm(home, "surprise", str(video), "--actions", str(actions))
            cases = {
                "actions known": ["--actions", str(actions)],
                "actions unknown": [],
                "actions unknown, annotated video": ["--out-video", str(home / "annotated.mp4")],
            }
            rates: dict[str, list[float]] = {case: [] for case in cases}
            memory = dict.fromkeys(cases, 0)
            for _ in range(arguments.repeat):
                for case, options in cases.items():
                    seconds, peak = lewm(home, "surprise", str(video), *options)
                    rates[case].append(frames / seconds)
                    memory[case] = max(memory[case], peak)
            for case in cases:
                rate = statistics.median(rates[case])
                results.append(
                    {
                        "case": case,
                        "frames": frames,
                        "pixels": 64 * SIDE,
                        "frames_per_second": rate,
                        "slowest": min(rates[case]),
                        "fastest": max(rates[case]),
                        "times_real_time": rate / FPS,
                        "peak_bytes": memory[case],
                    }
                )
                print(f"{case}, {frames} frames: {rate:.0f} frames/s, {memory[case] / 2**20:.0f} MiB")
    write_report(arguments.json, f"surprise, video of {FPS:g} frames a second", results)


def make(video: Path, actions: Path, frames: int) -> None:
    """A video of clean episodes, one after the other, and the actions between its frames."""
    episodes = record(world("two-room"), range(-(-frames // (EPISODE + 1))), 64, EPISODE)
    shown = np.concatenate([episode.frames for episode in episodes])[:frames]
    taken = np.concatenate([np.pad(episode.actions, ((0, 1), (0, 0))) for episode in episodes])[: frames - 1]
    np.save(actions, taken)
    with VideoWriter(video, FPS) as writer:
        for frame in shown:
            writer.write(frame.repeat(SIDE, axis=0).repeat(SIDE, axis=1))


def lewm(home: Path, *command: str) -> tuple[float, int]:
    """Run a command; the seconds it says it took, and its peak memory in bytes."""
    environment = {**os.environ, "LEWM_HOME": str(home)}
    started = subprocess.Popen([*LEWM, *command, "--json"], stdout=subprocess.PIPE, env=environment, text=True)
    assert started.stdout is not None
    with started.stdout as stream:
        shown = stream.read()
    _, status, used = os.wait4(started.pid, 0)  # the use of this child alone
    assert status == 0
    return json.loads(shown)["seconds"], used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
