"""Failures are told apart, and what is said to be done about one can be done in the command that failed."""

import ast
import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import typer.main
from typer.testing import CliRunner

from lewm import errors
from lewm_cli import failures, output
from lewm_cli.main import app
from lewm_data import errors as data_errors
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from lewm_cli.main import main; main()"]
GROUP = typer.main.get_command(app)
OPTIONS = {name: {word for one in command.params for word in one.opts} for name, command in GROUP.commands.items()}
for group, inner in ((name, getattr(command, "commands", {})) for name, command in GROUP.commands.items()):
    OPTIONS[group] |= {word for command in inner.values() for one in command.params for word in one.opts}

TINY = [
    *("--steps", "2", "--batch-size", "8", "--set", "training.held_out=0.5"),
    *("--set", "model.frame_size=16", "--set", "model.latent=8", "--set", "model.encoder.channels=[4]"),
    *(
        "--set",
        "model.predictor.width=8",
        "--set",
        "model.predictor.depth=1",
        "--set",
        "objective.sigreg.directions=16",
    ),
]


def program(*arguments, home, **environment):
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LEWM_HOME": str(home), **environment},
    )


def call(*arguments):
    """Like `program`, in this process: the exit code and what was shown, or the two lines of a failure."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception, arguments[0]))
    return result.exit_code, result.output


@pytest.mark.parametrize("command", list(OPTIONS))
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x.h5"), ["/data/x.h5: No space left", "Make room"]),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), ["x: Disk quota exceeded", "quota"]),
        (OSError(errno.EFBIG, "File too large", "x"), ["x: File too large", "ulimit -f"]),
        (RuntimeError("Error while serializing: I/O error: No space left (os error 28)"), ["No space left", "room"]),
        (
            OSError("Can't write data (file write failed: filename = 'a.h5', errno = 28, error message = '...')"),
            ["a.h5: No space left on device", "Make room"],
        ),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), ["/mnt/x: Read-only", "cannot be written to"]),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), ["/root/x: Permission denied", "ls -ld"]),
        (OSError(errno.EMFILE, "Too many open files", "x"), ["Too many open files", "ulimit -n"]),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"\xff"), ["No such file", "nothing is there"]),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), ["a/b: Not a directory", "is a file"]),
        (MemoryError(), ["memory is too small", "other programs"]),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
            ["memory is too small", "other programs"],
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ["memory is too small", "other programs"]),
        (ModuleNotFoundError("No module named 'av'", name="av"), ["av is needed", 'pip install -e ".[video]"']),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), ["torch is needed", 'pip install -e ".[all]"']),
        (ImportError("libGL.so.1: cannot open", name="mujoco.x"), ["mujoco cannot be imported: libGL.so.1", "anew"]),
        (KeyError("oops"), ["KeyError: 'oops'", "not expected", "LEWM_DEBUG=1"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_cause_has_its_words_and_a_remedy_of_the_command(error, words, command):
    problem, remedy = output.explain(error, command)
    assert "\n" not in problem + remedy
    assert all(word in f"{problem}\n{remedy}" for word in words), (problem, remedy)
    assert set(re.findall(r"--[a-z][a-z-]+", remedy)) <= OPTIONS[command]
    assert ("not expected" in remedy) == isinstance(error, KeyError)


def test_the_cause_is_found_below_other_errors():
    full = RuntimeError("could not save")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device", "x")
    assert output.explain(full)[0] == "x: No space left on device"


def test_a_device_without_memory_is_told_from_a_machine_without(monkeypatch):
    import torch

    problem, remedy = output.explain(torch.OutOfMemoryError("CUDA out of memory. Tried 3 GiB.\nMore"), "train")
    assert problem == "the device's memory is too small: CUDA out of memory. Tried 3 GiB."
    assert remedy == "Use a smaller --batch-size, or use --device cpu, or close other programs."
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**50)
    assert output.explain(refused.value, "collect") == (
        "the machine's memory is too small for this",
        "Use fewer --workers, fewer --num-envs or a smaller --frame-size, or close other programs.",
    )


def test_the_ways_to_install_an_extra_are_one_and_there_is_such_an_extra():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(failures.EXTRAS.values()) <= set(extras)
    assert errors.INSTALL == data_errors.INSTALL
    assert (ROOT / errors.INSTALL.partition(" -c ")[2]).is_file()  # the pins that "make" installs with
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *sources()]:
        for name in re.findall(r'pip install (?:-e )?"([^"{]*\[[^"]*)"', path.read_text()):
            one = rf"({'|'.join(extras)}|{{}})"
            assert re.fullmatch(rf"\.\[{one}(,{one})*\]", name), (path, name)


USERS = """
import gymnasium, numpy
from lewm_data.policies import RandomPolicy

class Fails(RandomPolicy):
    def act(self, observation):
        return numpy.zeros(3).reshape(2)

def fails(env, noise):
    return Fails(env)

def full(env, noise):
    raise MemoryError

class Ice(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return numpy.zeros(2, numpy.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            raise KeyError("no puck\\nhere")
        return numpy.zeros(2, numpy.float32), 0.0, False, False, {}

    def render(self):
        return numpy.zeros((16, 16, 3), numpy.uint8)

gymnasium.register("Ice-v0", Ice, max_episode_steps=5)
"""


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    ("arguments", "line", "what"),
    [
        (["--policy", "mine:fails"], "return numpy.zeros(3).reshape(2)", "raised ValueError: cannot reshape array"),
        (["--env", "mine:Ice-v0"], 'raise KeyError("no puck', "raised KeyError: "),
        (["--policy", "broken:make"], "x = (", "raised SyntaxError: '(' was never closed"),
    ],
)
def test_what_fails_in_the_users_code_names_its_file_and_line(tmp_path, workers, arguments, line, what):
    (tmp_path / "mine.py").write_text(USERS)
    (tmp_path / "broken.py").write_text("import os\nx = (\n")
    collecting = ["collect", "--episodes", "1", "--frame-size", "16", "--workers", workers, *arguments]
    failed = program(*collecting, home=tmp_path)
    problem, remedy = failed.stderr.splitlines()[-2:]
    file = tmp_path / f"{arguments[1].partition(':')[0]}.py"
    number = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if line in text)
    assert failed.returncode == 1
    assert f"{file}, line {number}, {what}" in problem
    assert "LEWM_DEBUG=1" in remedy
    assert "Traceback" not in failed.stderr
    assert "Traceback" in program(*collecting, home=tmp_path, LEWM_DEBUG="1").stderr


def test_memory_exceeded_in_the_users_code_is_still_memory(tmp_path):
    (tmp_path / "mine.py").write_text(USERS)
    for workers in ("0", "1"):
        failed = program("collect", "--policy", "mine:full", "--workers", workers, "--episodes", "1", home=tmp_path)
        assert "memory is too small" in failed.stderr
        assert "--workers" in failed.stderr


def sources():
    return [path for name in ("lewm", "lewm_cli", "data/lewm_data") for path in (ROOT / name).rglob("*.py")]


def texts(path):
    """The texts of a module, without its documentation; a number or a name in an f-string is a space."""
    tree = ast.parse(path.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and {id(node)}.isdisjoint(documentation | inside)
        ):
            yield node.value


# Options of other programs: git, docker, pip.
OTHERS = {"--curve", "--porcelain", "--shm-size", "--upgrade", "--force-reinstall"}


def test_every_option_and_command_that_a_text_names_exists():
    every = set().union(*OPTIONS.values()) | {"--help", "--version", "--import"}
    named = set()
    for path in sources():
        for text in texts(path):
            if "var(--" in text:  # variables of a style sheet
                continue
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - OTHERS
            assert options <= every, (path, options - every)
            named |= options
            for command in re.findall(r'"lewm ([^"]*)"', text):
                name, *rest = command.split()
                assert name in OPTIONS, (path, command)
                assert {word for word in rest if word.startswith("--")} <= OPTIONS[name] | {"--help"}, (path, command)
    assert {"--run", "--data", "--append", "--resume", "--calibrate", "--goal-offset"} <= named


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rooms.h5 and a run, to be copied by nobody: the failures below leave it as it is."""
    folder = tmp_path_factory.mktemp("failures")
    collect(world("two-room"), folder / "rooms.h5", 8, policy="expert", noise=2.0, frame_size=16, seed=0)
    code, shown = call("train", "--data", str(folder / "rooms.h5"), "--out", str(folder / "run"), *TINY)
    assert code == 0, shown
    with h5py.File(folder / "noenv.h5", "w") as file, h5py.File(folder / "rooms.h5") as rooms:
        for name in rooms:
            rooms.copy(name, file)
    (folder / "text.txt").write_text("no video\n")
    (folder / "bad.toml").write_text("a = [")
    (folder / "bad.json").write_text("{}")
    return folder


CHEAP = {
    "collect": ["--episodes", "2", "--frame-size", "16"],
    "train": TINY,
    "plan": ["--episodes", "1", "--samples", "8", "--elites", "2", "--iterations", "1"],
}

# What a beginner meets most. Options that are named are the command's own; a command that is named, or a choice that is
# offered, is what the last column says, and it works in the place of what failed.
COMMON = [
    (["train", "--data", "missing.h5"], ["collect", "--out", "missing.h5", "--episodes", "2", "--frame-size", "16"]),
    (["train"], ["collect", "--episodes", "2", "--frame-size", "16"]),
    (["plan"], None),
    (["plan", "--run", "missing"], None),
    (["train", "--data", "rooms.h5", "--recipe", "smal"], None),
    (["train", "--data", "rooms.h5", "--set", "training.stepz=3"], None),
    (["train", "--data", "rooms.h5", "--set", "training.steps=0"], None),
    (["train", "--data", "rooms.h5", "--set", "planning.planner.elites=900"], None),
    (["train", "--data", "rooms.h5", "--set", "planning=3"], None),
    (["train", "--data", "rooms.h5", "--config", "bad.toml"], None),
    (["train", "--data", "rooms.h5", "--config", "missing.toml"], None),
    (["train", "--data", "rooms.h5", "--batch-size", "100000"], None),
    (["train", "--data", "rooms.h5", "--device", "quantum"], None),
    (["train", "--data", "rooms.h5", "--out", "run"], None),
    (["plan", "--run", "run", "--execute", "9", "--horizon", "2"], None),
    (["plan", "--run", "run", "--elites", "9", "--samples", "5"], None),
    (["plan", "--run", "run", "--tasks", "bad.json"], None),
    (["plan", "--run", "run", "--episodes", "100000"], None),
    (["plan", "--run", "run", "--imagine", "--video", "gif"], None),
    (["plan", "--run", "run", "--protocol", "held_out"], None),
    (["surprise", "text.txt", "--run", "run"], None),
    (["surprise", "missing.mp4", "--run", "run"], None),
    (["surprise", "rooms.h5#999", "--run", "run"], None),
    (["surprise", "--suite", "push-t", "--run", "run"], None),
    (["probe", "--run", "run", "--target", "x=stat[0]"], None),
    (["probe", "--run", "run", "--data", "noenv.h5"], None),
    (["decode", "--run", "run", "--episode", "999"], None),
    (["collect", "--env", "two-rooms"], ["envs"]),
    (["collect", "--policy", "exprt"], None),
    (["collect", "--vary", "agent.colour"], None),
    (
        ["collect", "--out", "rooms.h5"],
        ["collect", "--out", "rooms.h5", "--append", "--episodes", "8", "--frame-size", "16"],
    ),
    (["collect", "--out", "text.txt/a.h5"], None),
    (["report", "--run", "run", "--out", "text.txt"], None),
]


@pytest.mark.parametrize(("arguments", "instead"), COMMON, ids=[" ".join(one[0]) for one in COMMON])
def test_the_remedies_of_the_commonest_failures_exist(place, monkeypatch, tmp_path, arguments, instead):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    code, shown = call(*arguments)
    assert code == 1, shown
    problem, remedy = shown.splitlines()[-2:]
    assert "not expected" not in remedy, problem
    quoted = [shlex.split(words) for words in re.findall(r'"lewm ([^"]*)"', remedy)]
    for name, *rest in quoted:
        assert {word for word in rest if word.startswith("--")} <= OPTIONS[name] | {"--help"}
    own = re.sub(r'"lewm [^"]*"', "", remedy)
    assert set(re.findall(r"--[a-z][a-z-]+", own)) <= OPTIONS[arguments[0]], remedy
    for key in re.findall(r"--set ([\w.]+)=", own):
        tree = json.loads((place / "run" / "config.json").read_text())["config"]
        tree = tree["planning"] if arguments[0] == "plan" else tree
        for part in key.split("."):
            assert part in tree or part == "KEY", remedy
            tree = tree.get(part, {})
        assert not tree or not isinstance(tree, dict), remedy
    assert sorted(place.rglob("*")) == before, "a failure leaves nothing behind"
    meant = re.search(r'Did you mean "([^"]+)"', remedy)
    if meant:
        wrong = re.search(r'"([^"]+)"', problem)[1]
        code, shown = call(*[word.replace(wrong, meant[1]) for word in arguments], *CHEAP[arguments[0]])
        assert code == 0, shown
    if instead:
        monkeypatch.chdir(place if "--append" in instead else tmp_path)
        code, shown = call(*instead)
        assert code == 0, shown
