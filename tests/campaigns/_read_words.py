"""Typed input: settings, policies, targets, worlds, numbers and names of files, each through the command itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from _batch import Reader, command
from _mutate import mutate_text
from _seeds import Seeds

NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "3",
        "0.5",
        "-0.0",
        "1e-320",
        "1e308",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "1_000",
        "٣",
        "0x10",
        "",
    ),
    *(" 1", "1 ", "1.0", "true", "9" * 400, "9" * 6000, "18446744073709551615", "18446744073709551616", "--", "１"),
)
# Options of whose number nothing takes longer than it is worth, and what memory they may ask for
LARGE = ("1000000000", "1e9", "2147483648", "9223372036854775807", "9223372036854775808", *NUMBERS)
KEYS = (
    *("model.frame_size", "model.frameskip", "model.action_dim", "model.latent", "model.projector_hidden", "recipe"),
    *(
        "model.encoder.kind",
        "model.encoder.channels",
        "model.encoder.width",
        "model.encoder.keypoints",
        "model.encoder",
    ),
    *("model.predictor.history", "model.predictor.width", "model.predictor.depth", "model.predictor.heads", "env"),
    *("model.predictor.dropout", "model.predictor.head_dim", "model.action_embedder.hidden", "objective.lambda"),
    *(
        "objective.sigreg.directions",
        "objective.sigreg.knots",
        "objective.sigreg.knot_max",
        "training.batch_size",
        "training.warmup",
    ),
    *("training.learning_rate", "training.weight_decay", "training.gradient_clip", "training.held_out", "model"),
    *("training.precision", "training.compile", "training.seed", "training.log_every", "training.evaluate_every"),
    *(
        "training.checkpoint_every",
        "planning.planner.samples",
        "planning.planner.elites",
        "planning.horizon",
        "planning.execute",
    ),
    *("evaluation.budget", "evaluation.goal_offset", "planning.precision", "training", "a.b.c", "", "."),
)
SETTINGS = (
    *LARGE,
    *("none", "[]", "[1]", "[4, 8]", "[1000000000]", "[0]", "{}", '{kind = "vit"}', '"text"', "'", '"""', "1979-05-27"),
    *("[" * 3000, "[" * 3000 + "]" * 3000, "{a={" * 500, "bf16", "off", "vit", "conv", "\x1b[31m", "a\nb = 1", "= 3"),
)
POLICIES = (
    "expert",
    "random",
    "smooth",
    "expert:0.7,random:0.3",
    "json:loads",
    "math:pi",
    "no_module:make",
    "json:none",
)
TARGETS = ("state", "state[0]", "state[0:2]", "state[0]:angle", "state[0:4]:quaternion", "action", "reward", "pixels")
WORLDS = ("two-room", "CartPole-v1", "no_module:MyEnv-v0", "json:Env-v0", "ALE/Pong-v5", "lewm/TwoRoom-v0", "push-t")
NAMES = (
    *(
        "[red]a[/b]",
        ":x:",
        "a b",
        "é",
        "\x1b[31ma",
        "a\nb",
        "a" * 255,
        "a" * 300,
        "%d",
        "-a",
        "~",
        "*",
        "a#b",
        "{x}",
        "\udcff",
    ),
    *("..", "con", "'", '"', "a\\b", "\u202eabc", "$HOME"),
)
ELSEWHERE = ("/dev/null", "/dev/zero", "/proc/self/mem", "/etc/passwd")  # only to read from
TO_WRITE = 4  # the kind of command that writes to the name
LONGEST_NAME = 255  # bytes, of common file systems


def readers(seeds: Seeds) -> list[Reader]:
    """All of them."""
    return [
        Reader("words, --set", 500, _settings(seeds), command),
        Reader("words, --policy", 300, _policies, command),
        Reader("words, --target", 500, _targets, read_target(seeds)),
        Reader("words, --env", 200, _worlds, command),
        Reader("words, numbers", 500, _numbers(seeds), command),
        Reader("words, names", 300, _names(seeds), command),
    ]


def read_target(seeds: Seeds) -> Callable[[str], None]:
    """Reads an expression as `lewm probe` does, without fitting a probe."""

    def read(expression: str) -> None:
        import numpy as np

        from lewm.probing.sample import draw_sample
        from lewm.probing.targets import read_quantities
        from lewm_data.store.dataset import Dataset

        with Dataset.open(seeds.data) as dataset:
            sample = draw_sample(dataset, np.arange(dataset.num_episodes), 30, 0)
            read_quantities(dataset, sample, {"x": expression})

    return read


def _settings(seeds: Seeds) -> Callable[[Random, Path], list[str]]:
    def make(rng: Random, folder: Path) -> list[str]:
        given = []
        for _ in range(rng.choice((1, 1, 2))):
            key, value = rng.choice(KEYS), rng.choice(SETTINGS)
            key = mutate_text(key, rng) if rng.random() < 0.1 else key
            given += ["--set", _typed(f"{key}={value}" if rng.random() < 0.97 else value)]
        paths = ["--config", str(seeds.settings), "--data", str(seeds.data), "--out", str(folder / "r")]
        return ["train", "--device", "cpu", *paths, *given, "--set", "training.steps=2"]

    return make


def _policies(rng: Random, folder: Path) -> list[str]:
    spec = rng.choice(POLICIES)
    for _ in range(rng.choice((0, 1, 1, 2))):
        spec = rng.choice((mutate_text(spec, rng), f"{spec},{rng.choice(POLICIES)}", f"{spec}:{rng.choice(NUMBERS)}"))
    out = ["--out", str(folder / "a.h5"), "--episodes", "1", "--frame-size", "16", "--workers", "0"]
    return ["collect", *out, "--policy", _typed(spec)]


def _targets(rng: Random, folder: Path) -> str:
    spec = rng.choice(TARGETS)
    if rng.random() < 0.5:
        spec = f"{rng.choice(('state', 'action', 'x', ''))}[{rng.choice(NUMBERS)}:{rng.choice(NUMBERS)}]"
    return mutate_text(spec, rng) if rng.random() < 0.6 else spec


def _worlds(rng: Random, folder: Path) -> list[str]:
    name = rng.choice(WORLDS)
    name = mutate_text(name, rng) if rng.random() < 0.8 else name
    out = ["--out", str(folder / "a.h5"), "--episodes", "1", "--frame-size", "16", "--workers", "0"]
    return ["collect", *out, "--env", _typed(name)]


def _numbers(seeds: Seeds) -> Callable[[Random, Path], list[str]]:
    """An option of a command with an odd number. Counts of episodes and of steps may be asked for by the billion, and
    would be delivered: for these only NUMBERS."""
    run, data = ["--run", str(seeds.run)], str(seeds.data)
    video = str(seeds.videos["mp4"])
    small = "--episodes 1 --samples 8 --elites 2 --iterations 1 --goal-offset 5 --budget 5"
    plan = ["plan", *run, *small.split()]
    surprise = ["surprise", video, *run]
    collect = ["collect", "--episodes", "1", "--frame-size", "16", "--workers", "0"]
    options: tuple[tuple[list[str], tuple[str, ...], tuple[str, ...]], ...] = (
        (plan, ("--samples", "--elites", "--seed", "--batch", "--horizon", "--execute"), LARGE),
        (plan, ("--episodes", "--iterations"), NUMBERS),
        (plan, ("--goal-offset", "--budget"), LARGE),
        (surprise, ("--fps", "--alpha", "--frameskip", "--seed"), LARGE),
        (collect, ("--frame-size", "--noise", "--repeat", "--seed"), LARGE),
        (collect, ("--num-envs",), NUMBERS),
        (["decode", *run], ("--episode", "--seed"), LARGE),
        (["train", "--data", data, "--steps", "1"], ("--lambda", "--batch-size", "--seed"), LARGE),
        (["surprise", data], ("--run",), LARGE),
    )

    def make(rng: Random, folder: Path) -> list[str]:
        base, names, numbers = rng.choice(options)
        more = ["--out", str(folder / "out")] if base[0] == "train" else []
        more = ["--out", str(folder / "a.h5")] if base[0] == "collect" else more
        if base[0] == "train":
            more += ["--config", str(seeds.settings)]
        return [*base, *more, rng.choice(names), _typed(rng.choice(numbers))]

    return make


def _names(seeds: Seeds) -> Callable[[Random, Path], list[str]]:
    """A file or folder of an odd name, which is there or is not, or is no file at all."""

    def make(rng: Random, folder: Path) -> list[str]:
        which = rng.randrange(5)
        source = (seeds.videos["gif"], seeds.data, seeds.run, seeds.tasks, seeds.run)[which]
        name = rng.choice(NAMES if which == TO_WRITE else (*NAMES, *ELSEWHERE))
        path = folder / (name + (source.suffix if rng.random() < 0.7 else ""))
        if path.parent == folder and len(os.fsencode(path.name)) <= LONGEST_NAME and path.name != "..":
            if rng.random() < 0.8:
                shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
            elif rng.random() < 0.5:
                os.mkfifo(path)
        given = _typed(str(path))
        run = ["--run", str(seeds.run)]
        return (
            ["surprise", *run, "--", given],
            ["surprise", *run, str(seeds.videos["mp4"]), "--calibrate", given],
            ["report", "--out", str(folder / "page"), "--run", given],
            ["plan", *run, "--samples", "8", "--elites", "2", "--iterations", "1", "--tasks", given],
            ["report", *run, "--out", given],
        )[which]

    return make


def _typed(text: str) -> str:
    """Text that can be an argument: no character of a program's argument is zero."""
    return text.replace("\x00", "\\0")
