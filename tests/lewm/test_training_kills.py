"""A kill before a change of a file: the run goes on to the undisturbed weights, or the same command begins anew."""

import json
import subprocess
import sys

import pytest

from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

# It forks: to import PyTorch anew for each kill would take most of the time.
CAMPAIGN = """
import json, os, signal, sys
from pathlib import Path
import torch
from lewm.config import Config
from lewm.checkpoints import run
from lewm.training.loop import train

config = Config.from_json(sys.argv[1], "the test")
data, home = Path(sys.argv[2]), Path(sys.argv[3])
CHANGES = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
count = kill_at = 0
watched = None

def hook(event, arguments):
    global count
    if watched is None or not (event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))):
        return
    if isinstance(arguments[0], (str, bytes, os.PathLike)) and str(watched) in os.fsdecode(arguments[0]):
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)

def train_into(out, at=0, resume=False):
    "Exit status of a training in a process of its own, killed before its change number `at`; how many there were."
    global kill_at, watched
    end, start = os.pipe()
    child = os.fork()
    if not child:
        watched, kill_at = out, at
        try:
            train(config, data, out, torch.device("cpu"), resume)
            os.write(start, str(count).encode())
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    os.close(start)
    with open(end) as told:
        said = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(said or 0)

def content(out):
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.safetensors")}
    steps = [json.loads(line)["step"] for line in (out / run.METRICS).read_text().splitlines()]
    return files, steps, sorted(str(path.relative_to(out)) for path in out.rglob("*"))

status, changes = train_into(home / "whole")
assert status == 0
whole = content(home / "whole")
assert whole[1] == [2, 4]
for at in range(1, changes + 1, int(sys.argv[4])):  # make soak kills before each
    out = home / f"killed-{at}"
    assert train_into(out, at)[0] == -signal.SIGKILL, at
    second = at % 13 if at % 2 else 0
    if second:  # some are killed once more
        train_into(out, second, resume=(out / run.CONFIG).exists())
    status, _ = train_into(out, resume=(out / run.CONFIG).exists())
    assert status == 0, (at, second)
    assert content(out) == whole, (at, second, content(out)[1:])
print(changes)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
@pytest.mark.parametrize(("staged", "every"), [(False, 13), (True, 23)])
def test_killed_before_a_change_of_a_file_a_training_ends_in_the_undisturbed_weights(tiny, tmp_path, staged, every):
    data = tmp_path / "two-room.h5"
    collect(world("two-room"), data, 4, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    changes = {"steps": 4, "log_every": 2, "evaluate_every": 4, "checkpoint_every": 2}
    content = json.loads(tiny.to_json())
    content["training"] |= changes
    if staged:
        parts = ("encoder", "latent", "projector_hidden", "predictor")
        stage = {name: content["model"][name] for name in parts} | {"objective": content["objective"]}
        stage |= {"steps": 2, "learning_rate": 1e-3}
        content["stages"] = {"first": stage}
        content["model"] |= {"encoder": {"kind": "frozen", "weights": "stage:first"}, "projector_hidden": None}
        content["objective"] = {"kind": "prediction"}
    command = [sys.executable, "-c", CAMPAIGN, json.dumps(content), str(data), str(tmp_path), str(every)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2 * every
