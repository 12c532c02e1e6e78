"""Ctrl-C and SIGTERM: two lines that are true, the exit codes 130 and 143, nothing left over, and never lost."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import h5py
import pytest

from lewm_cli import interruption, output
from lewm_cli.failures import explain
from lewm_cli.main import main
from lewm_data.disk import interrupt_held_back

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
PROGRAM = [sys.executable, "-c", "from lewm_cli.main import main; main()"]

# A policy that says when it acts, and then takes its time.
SLOW = """
import pathlib, time
from lewm_data.policies import RandomPolicy

class Slow(RandomPolicy):
    def act(self, observation):
        pathlib.Path("acting").touch()
        time.sleep(60)

def make(env, noise):
    return Slow(env)
"""


def start(*arguments, folder):
    """A command in a group of processes of its own, as a terminal starts it."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LEWM_HOME": str(folder)},
    )


def wait_for(child, condition):
    while not condition():
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


def running(group):
    """The processes of a group that have not ended; none where the system does not tell."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, of_group = status.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(status.parent.name)
    return found


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
def test_collect_says_how_many_episodes_are_kept(tmp_path, number, workers):
    path = tmp_path / "rooms.h5"
    child = start("collect", "--episodes", "100000", "--frame-size", "16", "--workers", workers, "--out", "rooms.h5",
                  folder=tmp_path)  # fmt: skip
    wait_for(child, path.exists)
    os.kill(child.pid, number)  # the program alone: its workers are for it to end
    shown, errors = child.communicate()
    assert child.returncode == CODES[number]
    assert shown == ""
    with h5py.File(path) as file:
        kept = len(file["ep_len"])
    problem, remedy = errors.splitlines()[-2:]
    assert problem == f"error: interrupted: {kept} of 100000 episodes are in rooms.h5"
    assert remedy.startswith("To go on: lewm collect ")
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [path]
    while running(child.pid):  # multiprocessing's own process notices a moment later that we are gone
        time.sleep(0.02)


@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
def test_collect_before_the_first_episode_leaves_nothing(tmp_path, number):
    (tmp_path / "slow.py").write_text(SLOW)
    child = start("collect", "--policy", "slow:make", "--workers", "1", "--out", "rooms.h5", folder=tmp_path)
    wait_for(child, (tmp_path / "acting").exists)
    os.kill(child.pid, number)
    _, errors = child.communicate()
    assert child.returncode == CODES[number]
    assert errors.splitlines()[-2:] == [
        "error: interrupted before an episode was finished: nothing new is kept",
        "Give the same command again.",
    ]
    assert {path.name for path in tmp_path.iterdir()} <= {"slow.py", "acting", "__pycache__"}


COMMANDS = {
    "plan": ("lewm.evaluation.command.evaluate_run", "no report of these plans"),
    "probe": ("lewm.probing.command.probe_run", "no report of this probe"),
    "surprise": ("lewm.surprise.command.watch_video", "no report of this"),
    "decode": ("lewm.decoding.command.decode_run", "a decoder whose training had ended is kept"),
    "train-head": ("lewm.heads.command.train_head_of", "the head that it had, or one whose training had ended"),
    "train-policy": ("lewm.heads.command.train_policy_of", "the policy that it had, or one whose training had ended"),
    "report": ("lewm.page.command.write_page", "the page was not written"),
    "compare": ("lewm.compare.command.compare", "all that was finished is kept"),
    "doctor": ("lewm.doctor.diagnose", "the self-tests did not end"),
    "envs": ("lewm_data.envs.overview.overview", "interrupted"),
}


ARGUMENTS = {"surprise": ["video.mp4"], "compare": ["planners"]}


@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_says_what_is_true_there(monkeypatch, capsys, tmp_path, command, number):
    place, words = COMMANDS[command]
    monkeypatch.setattr(place, lambda *_, **__: signal.raise_signal(number))
    monkeypatch.setattr("lewm.files.newest_run", lambda: tmp_path)
    if command == "plan":
        import torch

        from lewm import recipes
        from lewm.checkpoints.run import DatasetIdentity
        from lewm.opened_run import Run

        data = DatasetIdentity("rooms.h5", "ef" * 32, (64, 64), 20, "two-room")
        run = Run(tmp_path, recipes.small("two-room", 2), data, torch.device("cpu"))
        monkeypatch.setattr("lewm.opened_run.open_run", lambda path: run)
    monkeypatch.setattr(sys, "argv", ["lewm", command, *ARGUMENTS.get(command, [])])
    before = signal.getsignal(signal.SIGTERM)
    hook = sys.unraisablehook
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = hook
    assert ended.value.code == CODES[number]
    problem, remedy = capsys.readouterr().err.splitlines()[-2:]
    assert words in problem
    assert remedy.startswith("Give the same command again")


def test_words_of_a_command_of_its_own_come_first():
    own = interruption.Terminated("step 40 is kept\nGo on with --resume.")
    assert explain(own, "train") == ("step 40 is kept", "Go on with --resume.")
    assert interruption.exit_code(own) == 143
    assert output.explain(KeyboardInterrupt(), "train")[0] == "interrupted"


LOST = """
import signal, sys, time, weakref
from lewm_cli import interruption

class Thing: pass

interruption.listen()
number = int(sys.argv[1])
thing = Thing()
reference = weakref.ref(thing, lambda _: signal.raise_signal(number))  # h5py has such callbacks, and numbers of them
try:
    del thing
    print("lost")
    time.sleep(60)
except KeyboardInterrupt as error:
    sys.exit(interruption.exit_code(error))
"""


@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
def test_a_signal_in_a_callback_whose_exceptions_python_drops_is_not_lost(number):
    ended = subprocess.run([sys.executable, "-c", LOST, str(int(number))], capture_output=True, text=True)
    assert ended.stdout == "lost\n"
    assert ended.stderr == ""
    assert ended.returncode == CODES[number]


@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
def test_while_hdf5_writes_both_signals_wait(number):
    class Stop(BaseException):
        pass

    class Thing:
        pass

    def stop(*_):
        raise Stop

    def write():
        with interrupt_held_back():
            thing = Thing()
            reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
            del thing
            done.append(reference())

    done = []
    before = signal.signal(number, stop)
    try:
        with pytest.raises(Stop):
            write()
        assert done == [None]
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_where_sigterm_is_not_answered_it_ends_the_program_as_ever():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with interrupt_held_back():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
