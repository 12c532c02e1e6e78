"""The long campaigns, `make soak` and `make fuzz`: a little of each, and that they see what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import pytest
import safetensors.numpy

from lewm.sealed import sealed_json
from lewm_data.errors import DataError

CAMPAIGNS = Path(__file__).parent


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the campaigns as these do, from their own folder."""
    monkeypatch.syspath_prepend(str(CAMPAIGNS))

    def load(name: str) -> ModuleType:
        return __import__(name)

    yield load
    for name in [name for name, one in sys.modules.items() if getattr(one, "__file__", None)]:
        if Path(sys.modules[name].__file__).parent == CAMPAIGNS and name.startswith("_"):
            del sys.modules[name]


def run(script, *arguments):
    done = subprocess.run([sys.executable, CAMPAIGNS / script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_few_kills():
    scenes = ["--scene", "collect", "--scene", "train"]
    shown = run("soak.py", *scenes, "--at-operations", "2", "--at-times", "0")
    assert all(f" {name} at operation" in shown for name in ("SIGKILL", "SIGTERM", "SIGINT"))
    assert "4 kills, 0 faults" in shown


def test_a_hundred_mutations():
    shown = run("fuzz.py", "--group", "data", "--count", "12", "--seed", "2")
    last = shown.splitlines()[-1].split()
    assert last[0] == "all"
    assert int(last[1]) > 100
    assert int(last[2]) > 0, "some inputs are still good"
    assert int(last[3]) > 10, "and some are refused"


@pytest.fixture
def folders(tmp_path):
    """Two equal homes."""
    import h5py

    from lewm_data.store.writer import Writer

    for name in ("one", "two"):
        run = tmp_path / name / "runs" / "r"
        run.mkdir(parents=True)
        safetensors.numpy.save_file({"a": np.arange(3.0)}, run / "model.safetensors", {"step": "10"})
        (run / "metrics.jsonl").write_text('{"step": 5}\n{"step": 10}\n')
        stamp = {"one": "20260101-000000", "two": "20260202-111111-2"}[name]
        (run / f"plan-{stamp}.json").write_text(sealed_json({"success_rate": 0.5, "seconds_per_plan": len(stamp)}))
        (run / "config.json").write_text(sealed_json({"commit": "abc"}))
        (run / f"plan-{stamp}").mkdir()
        (run / f"plan-{stamp}" / "a.gif").write_bytes(b"GIF")
        with Writer.create(tmp_path / name / "a.h5") as writer:
            action = np.array([[0.5], [np.nan]], np.float32)
            writer.write_episode({"pixels": np.zeros((2, 8, 8, 3), np.uint8), "action": action})
        assert h5py.is_hdf5(tmp_path / name / "a.h5")
    return tmp_path / "one", tmp_path / "two"


def test_equal_folders(module, folders):
    assert list(module("_equal").differences(*folders)) == []


def last_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / ".model-x.safetensors").touch(), "left over: runs/r/.model-x.safetensors"),
        (lambda run: (run / "model.safetensors.partial").touch(), "left over: runs/r/model.safetensors.partial"),
        (lambda run: (run / "plan-20260101-000000.json").unlink(), "the pictures of no report"),
        (lambda run: (run / "plan-20260101-000000.json").write_text(""), "is not whole"),
        (
            lambda run: (run / "plan-20260101-000000.json").write_text(sealed_json({"success_rate": 0.4})),
            "other success_rate",
        ),
        (
            lambda run: (run / "plan-20260101-000000.json").write_text('{"success_rate": 0.5, "sha256": "0"}'),
            "its checksum is of another content",
        ),
        (lambda run: (run / "config.json").write_text(sealed_json({"commit": "b"})), "config.json: other commit"),
        (
            lambda run: safetensors.numpy.save_file({"a": np.arange(3.0)}, run / "model.safetensors", {"step": "9"}),
            "model.safetensors: other step",
        ),
        (lambda run: (run / "plan-20260101-000000" / "a.gif").write_bytes(b""), "a.gif: is empty"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": 5}\n{"step": 5}\n{"step": 10}\n'), "do not increase"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": 10}\n'), "no lines of the steps [5]"),
        (lambda run: last_bit(run / "model.safetensors"), "model.safetensors: a differs"),
        (lambda run: (run / "model.safetensors").unlink(), "missing: runs/r/model.safetensors"),
    ],
)
def test_every_difference_is_seen(module, folders, spoil, said):
    spoil(folders[0] / "runs" / "r")
    assert any(said in one for one in module("_equal").differences(*folders))


def test_another_dataset_is_seen(module, folders):
    import h5py

    with h5py.File(folders[0] / "a.h5", "r+") as file:
        file["pixels"][1, 7, 7, 2] = 1
    assert any("column pixels differs" in one for one in module("_equal").differences(*folders))


@pytest.fixture
def outcomes(module, tmp_path):
    """The outcomes of functions, each given as one input."""
    batch = module("_batch")

    def read(*functions):
        reader = batch.Reader("r", 0, lambda rng, folder: None, lambda _: next(calls)())
        found = []
        for index, function in enumerate(functions):
            calls = iter([function])
            found += [one.kind for one in batch.outcomes(reader, 0, range(index, index + 1), tmp_path)]
        return found

    return read


def raising(error):
    def read():
        raise error

    return read


def test_what_an_input_may_come_to(outcomes):
    fine = (lambda: None, raising(DataError("a.h5: is damaged", "Copy it again.")), raising(ValueError("one\ntwo")))
    assert outcomes(*fine) == ["accepted", "refused", "refused"]


def test_what_it_may_not(outcomes):
    wrong = (
        raising(ValueError("of a library")),
        raising(KeyError("a")),
        raising(SystemExit(3)),
        lambda: np.ones(1 << 33, np.uint8),  # bytes, more than it may take
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: os._exit(0),
    )
    assert outcomes(*wrong) == ["fault"] * len(wrong)


def test_the_next_process_goes_on_after_a_crash(module, tmp_path):
    batch = module("_batch")

    def read(number):
        if number % 3 == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    reader = batch.Reader("r", 0, lambda rng, folder: rng.randrange(10), read)
    drawn = [Random(f"0 r {index}").randrange(10) for index in range(10)]
    kinds = [one.kind for one in batch.outcomes(reader, 0, range(10), tmp_path)]
    assert kinds == ["fault" if number % 3 == 0 else "accepted" for number in drawn]
    assert len(set(kinds)) == 2


def test_mutations_are_functions_of_their_generator(module):
    mutate = module("_mutate")
    tree = {"a": {"b": [1, 2, {"c": "text"}]}, "d": 0.5, "e": None}
    for function, given in (
        (mutate.mutate_bytes, bytes(range(256))),
        (mutate.mutate_text, "a = 1\nb = 2\n"),
        (lambda tree, rng: mutate.to_json(mutate.mutate_tree(tree, rng)), tree),
        (lambda tree, rng: mutate.to_toml(mutate.mutate_tree(tree, rng)), tree),
    ):
        first, again = ([function(given, Random(seed)) for seed in range(50)] for _ in range(2))
        assert first == again
        assert len(set(first)) > 30
    assert tree == {"a": {"b": [1, 2, {"c": "text"}]}, "d": 0.5, "e": None}
