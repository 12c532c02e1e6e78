"""Frames a second of Two-Room with its physics, on one core: one environment and many, at 64 and 224 pixels.

    python benchmarks/bench_two_room.py --json benchmarks/results/two_room-cpu.json

The actions are those of the noisy expert, recorded beforehand, so that the agents are at walls and doors as often
as when data are collected. Episodes restart when they end; this takes time too and is counted.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
from _report import write_report

from lewm_data.envs.two_room import TwoRoomEnv, TwoRoomVectorEnv
from lewm_data.envs.two_room.definition import TWO_ROOM

REQUIRED = {64: 15_000, 224: 3_000}  # frames a second, vectorised, on one core


def record(num_envs: int, steps: int) -> np.ndarray:
    """Actions (T, N, 2) of the expert."""
    env = TwoRoomVectorEnv(num_envs, frame_size=16, max_episode_steps=steps)
    expert = TWO_ROOM.policy("expert", env)
    observation, _ = env.reset(seed=0)
    expert.reset(np.arange(num_envs), [np.random.default_rng([1, i]) for i in range(num_envs)])
    actions = []
    for _ in range(steps):
        actions.append(expert.act(observation))
        observation, *_ = env.step(actions[-1])
    return np.stack(actions)


def run_vector(num_envs: int, frame_size: int, seconds: float, actions: np.ndarray) -> float:
    """Frames a second of the vector environment."""
    env = TwoRoomVectorEnv(num_envs, frame_size)
    env.reset(seed=0)
    frames, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        _, _, terminated, truncated, _ = env.step(actions[(frames // num_envs) % len(actions)])
        frames += num_envs
        if (over := terminated | truncated).any():
            env.reset(options={"reset_mask": over})
            frames += int(over.sum())
    return frames / (time.perf_counter() - begin)


def run_single(frame_size: int, seconds: float, actions: np.ndarray) -> float:
    """Frames a second of the single environment."""
    env = TwoRoomEnv(frame_size)
    env.reset(seed=0)
    frames, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        _, _, terminated, _, _ = env.step(actions[frames % len(actions), 0])
        frames += 1
        if terminated or frames % 100 == 0:
            env.reset()
            frames += 1
    return frames / (time.perf_counter() - begin)


def main() -> None:
    """Measures, prints a table, and fails if a required rate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds of each repeat")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    cases = [
        (size, kind, n) for size in REQUIRED for kind, n in (("single", 1), *(("vector", n) for n in (1, 16, 64, 256)))
    ]
    actions = {n: record(n, 100) for _, _, n in cases}
    rates: dict[tuple[int, str, int], list[float]] = {case: [] for case in cases}
    for _ in range(arguments.repeats):  # interleaved, so that a busy moment does not fall on one case
        for size, kind, n in cases:
            single = kind == "single"
            rate = (
                run_single(size, arguments.seconds, actions[n])
                if single
                else run_vector(n, size, arguments.seconds, actions[n])
            )
            rates[size, kind, n].append(rate)

    results = []
    for (size, kind, n), found in rates.items():
        low, high = np.percentile(found, [20, 80])
        median = statistics.median(found)
        results.append(
            {
                "frame_size": size,
                "environment": kind,
                "num_envs": n,
                "frames_per_second": round(median),
                "p20": round(float(low)),
                "p80": round(float(high)),
                "repeats": len(found),
            }
        )
        print(f"{size:4d} px  {kind:6s} {n:4d}  {median:9,.0f} frames/s  ({low:,.0f} to {high:,.0f})")
    if arguments.json:
        write_report(arguments.json, "two_room", results)
    for size, least in REQUIRED.items():
        best = max(r["frames_per_second"] for r in results if r["frame_size"] == size)
        if best < least:
            raise SystemExit(f"{size} px: {best:,} frames/s, required {least:,}")


if __name__ == "__main__":
    main()
