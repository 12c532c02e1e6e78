"""Copies of a training's checkpoints."""

import pytest
import torch

from lewm import recipes
from lewm.checkpoints.run import CONFIG, MODEL, DatasetIdentity, save_tensors, write_config
from lewm.config import resolve


@pytest.mark.parametrize(
    ("steps", "count", "expected"), [(250, 6, [7, 14, 28, 56, 112, 250]), (8, 4, [1, 2, 4, 8]), (3, 6, [1, 2, 3])]
)
def test_points_double_and_end_with_the_training(module, steps, count, expected):
    assert module("_checkpoints").spaced(steps, count) == expected


def test_each_checkpoint_that_is_wanted_is_copied_once_and_stages_at_their_ends(module, tmp_path):
    run, into = tmp_path / "run", tmp_path / "copies"
    identity = DatasetIdentity("data.h5", "0", (64, 64), 3, None)

    def begin(directory, steps):
        directory.mkdir(parents=True, exist_ok=True)
        write_config(directory, resolve(recipes.small("two-room", 2), None, {"training.steps": steps}), identity)

    def save(directory, step):
        save_tensors(directory / MODEL, {"weight": torch.full((1,), float(step))}, {"step": str(step)})
        copies.look()

    copies = module("_checkpoints").Copies(run, [2, 8], into)
    copies.look()
    begin(run / "stages" / "encoder", 6)
    for step in (3, 6):
        save(run / "stages" / "encoder", step)
    begin(run, 8)
    for step in (2, 4, 8):
        save(run, step)
    copies.look()
    assert [(one.stage, one.step) for one in copies.checkpoints] == [("encoder", 6), (None, 2), (None, 8)]
    assert [one.seconds for one in copies.checkpoints] == sorted(one.seconds for one in copies.checkpoints)
    for one in copies.checkpoints:
        assert {path.name for path in one.run.iterdir()} == {CONFIG, MODEL}
        assert module("_checkpoints")._step(one.run / MODEL) == one.step


def test_copies_are_found_again_only_for_the_same_training(module, tmp_path):
    checkpoints = module("_checkpoints")
    copies = checkpoints.Copies(tmp_path / "run", [1], tmp_path / "copies")
    copies.into.mkdir()
    copies.checkpoints.append(checkpoints.Checkpoint("places", 3, 1.5, copies.into / "places-3"))
    assert checkpoints.noted(copies.into, {"steps": 1}) is None
    copies.note({"steps": 1})
    assert checkpoints.noted(copies.into, {"steps": 1}) == copies.checkpoints
    assert checkpoints.noted(copies.into, {"steps": 2}) is None
