"""Every command of README runs in the order in which it stands: what it names exists by then."""

import os
import re
import shlex
import shutil
import subprocess
import venv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lewm.probing import probes
from lewm_cli.main import app
from lewm_data.envs.overview import is_installed
from lewm_data.envs.registry import WORLDS, world
from lewm_data.store.dataset import Dataset
from lewm_data.video.video_writer import write_video

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
# Commands, without the words behind them, and programs, in their order.
STEPS = re.compile(r"^    lewm (?P<command>.*?)(?:  #.*)?$|```python\n(?P<program>[\s\S]*?)```", re.MULTILINE)

# Each command as README prints it, with these after it: of an option that is given twice, the last counts.
SMALLER = {
    "collect": ["--episodes", "20", "--frame-size", "16"],
    "train": [
        *("--steps", "3", "--batch-size", "8", "--set", "training.held_out=0.5", "--set", "model.frame_size=16"),
        *("--set", "model.encoder.channels=[4, 8]", "--set", "model.latent=8", "--set", "model.projector_hidden=16"),
        *(
            "--set",
            "model.predictor.width=8",
            "--set",
            "model.predictor.depth=1",
            "--set",
            "objective.sigreg.directions=16",
        ),
    ],
    "plan": ["--samples", "8", "--elites", "2", "--iterations", "1"],
    "probe": ["--episodes", "20"],
    "decode": ["--steps", "3"],
    "train-head": ["--steps", "3"],
    "train-policy": ["--steps", "3"],
    "envs show": ["--episodes", "1", "--frame-size", "16"],
    "surprise": ["--alpha", "0.1"],  # for which few clean frames are enough
    "surprise --suite": ["--episodes", "2"],
    "compare": ["--dry-run"],
}

POLICY = """
from lewm_data.policies import SmoothPolicy

def make(env, noise):
    return SmoothPolicy(env)
"""


def smaller(words):
    """What is added to a command, so that the test is quick; None where what the command needs is not installed."""
    named = {world(word).extra for word in words if word in WORLDS} - {None}
    if not all(is_installed(extra) for extra in named):
        return None
    if "--resume" in words:  # goes on with what the run has
        return []
    more = [word for start, added in SMALLER.items() if words[: len(start.split())] == start.split() for word in added]
    if "--agent" in words:  # without a search, which could be made smaller
        more = []
    if words[0] == "collect" and "--env" in words:  # worlds that take their time
        more += ["--episodes", "1" if named else "6"]
    if words[0] == "plan" and words[1:] != ["--tasks", "tasks.json"]:  # the file has its own number of episodes
        more += ["--episodes", "2"]
    return more


def what_a_reader_has(folder):
    """The files that README calls the reader's own."""
    collecting = ["collect", "--episodes", "1", "--frame-size", "16", "--out", str(folder / "mine.h5")]
    assert CliRunner().invoke(app, collecting).exit_code == 0
    with Dataset.open(folder / "mine.h5") as dataset:
        episode = dataset.episode(0)
    write_video(folder / "video.mp4", episode["pixels"], 10.0)
    np.savetxt(folder / "actions.csv", episode["action"][:-1], delimiter=",")
    Image.fromarray(episode["pixels"][-1]).save(folder / "goal.png")
    shutil.copytree(ROOT / "tests" / "golden" / "stable_worldmodel" / "transformers4", folder / "lewm-rooms")
    for name in (*(f"my-videos/push-{number}" for number in range(12)), "new"):
        (folder / name).parent.mkdir(exist_ok=True)
        wide = episode["pixels"].repeat(2, axis=2)
        write_video((folder / name).with_suffix(".mp4"), wide, 10.0)
        rows = [[step / 10, *row, step] for step, row in enumerate(np.nan_to_num(episode["action"]))]
        np.savetxt((folder / name).with_suffix(".csv"), rows, delimiter=",", header="time,dx,dy,state", comments="")
    (folder / "my_package").mkdir()
    (folder / "my_package" / "my_module.py").write_text(POLICY)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(8,), steps=20, validate_every=10))
    what_a_reader_has(tmp_path)
    return tmp_path


def test_the_commands_run_in_the_order_in_which_they_stand(reader):
    for step in STEPS.finditer(README):
        program = step["program"]
        if program is None:
            words = shlex.split(step["command"])
            more = smaller(words)
            if more is not None:
                result = CliRunner().invoke(app, [*words, *more])
                assert result.exit_code == 0, (step["command"], result.output, result.exception)
        elif "gymnasium.register" in program:  # which README has the reader save
            (reader / "my_worlds.py").write_text(program)
        elif "h5py.File(" in program:  # one that writes a dataset for the commands behind it
            exec(compile(program, "README.md", "exec"), {})
    for made in ("annotated.mp4", "clean.h5", "tasks.json", "runs/mine/config.json", "mine/index.html"):
        assert (reader / made).exists(), made


def test_the_next_command_after_make_quickstart_is_as_the_page_prints_it(tmp_path):
    """What the target prints at its end, typed into a shell, gives the program and the home that quickstart had."""
    virtual = tmp_path / "an environment"
    venv.create(virtual, with_pip=False, symlinks=True)
    planned = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "quickstart", f"VENV={virtual}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    end = [line for line in planned if line.startswith("echo ")]
    assert planned[-len(end) :] == end, "they are the last that is seen"
    shown = subprocess.run(["bash", "-c", "\n".join(end)], capture_output=True, text=True, check=True).stdout
    typed = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
    script = "\n".join([*typed, 'echo "$VIRTUAL_ENV"', 'echo "$LEWM_HOME"'])
    environment = {name: value for name, value in os.environ.items() if name != "LEWM_HOME"}
    found = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, env=environment).stdout
    assert found.splitlines() == [str(virtual), str(ROOT / ".lewm" / "quickstart")]
    page = re.findall(r"^    ((?:source|export) .*)$", README, re.MULTILINE)
    assert [line.replace("$PWD", str(ROOT)).replace(".venv", str(virtual)) for line in page] == typed
    assert README.index(page[-1]) < README.index("    lewm collect"), "before the first command"
