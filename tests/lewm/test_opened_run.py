"""A run as every command opens it: what is read when, and what training has seen of the data beside it."""

import numpy as np
import pytest
import torch

import lewm
from lewm.checkpoints import run as runs
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.opened_run import CPU, open_run
from lewm.surprise.familiarity import thumbnails
from lewm.surprise.reference import stored
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.clips import action_statistics, split_episodes


def made(path, episodes=20, seed=0, frame_size=16):
    collect(
        world("two-room"),
        path,
        episodes,
        policy="expert",
        noise=2.0,
        frame_size=frame_size,
        seed=seed,
        num_envs=episodes,
    )
    return path


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("opened")
    return train(tiny, made(folder / "data.h5"), folder / "run", CPU).run


def copied(trained, folder):
    folder.mkdir()
    for name in (runs.CONFIG, runs.MODEL):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder


def test_weights_are_read_when_they_are_asked_for_and_the_hash_is_theirs(trained, tiny, tmp_path):
    directory = copied(trained, tmp_path / "run")
    run = lewm.open_run(directory)
    before = sha256(directory / runs.MODEL)
    assert not run.model.training
    tensors = runs.read_tensors(directory / runs.MODEL)
    runs.save_tensors(directory / runs.MODEL, tensors | {"action_mean": tensors["action_mean"] + 1})
    assert run.checkpoint_sha256 == before != sha256(directory / runs.MODEL)
    assert runs.weights_sha256(run.model) == runs.weights_sha256(lewm.load(trained))
    (directory / runs.MODEL).unlink()
    without = open_run(directory)
    assert without.config == tiny
    with pytest.raises(LewmError, match="training has not reached its first checkpoint"):
        _ = without.model


def test_a_training_that_writes_between_reading_and_hashing_is_noticed(trained, tmp_path, monkeypatch):
    directory = copied(trained, tmp_path / "run")
    load_run, writes = runs.load_run, iter((1, 2))

    def written_over(path):
        model = load_run(path)
        if more := next(writes, 0):
            tensors = runs.read_tensors(path / runs.MODEL)
            runs.save_tensors(path / runs.MODEL, tensors | {"action_mean": tensors["action_mean"] + more})
        return model

    monkeypatch.setattr(runs, "load_run", written_over)
    run = open_run(directory)
    assert run.checkpoint_sha256 == sha256(directory / runs.MODEL)
    assert runs.holds_weights(directory, run.model)
    assert next(writes, None) is None


def test_of_its_own_data_training_has_not_seen_what_it_held_out(trained, tiny):
    seen, held_out = split_episodes(20, tiny.training.held_out, tiny.training.seed)
    run = open_run(trained)
    with run.data() as data:
        assert data.in_training
        assert data.fingerprint == run.trained_on.fingerprint
        assert np.array_equal(data.seen, seen)
        assert np.array_equal(data.unseen, held_out)
        data.check_in_training("Nothing.")


def test_a_training_on_some_episodes_has_seen_no_others(tiny, tmp_path):
    """Everything that the training leaves behind depends on those alone, and what is held out stays the same."""
    data = made(tmp_path / "data.h5", 20)
    _, held_out = split_episodes(20, tiny.training.held_out, tiny.training.seed)
    train(resolve(tiny, None, {"training.episodes": 3}), data, tmp_path / "run", CPU)
    run = open_run(tmp_path / "run")
    with run.data() as opened:
        assert len(opened.seen) == 3
        assert np.array_equal(opened.unseen, held_out)
        mean, _ = action_statistics(opened.dataset, opened.seen)
        assert np.allclose(run.model.action_mean, mean)
        known = stored(run)
        assert known.lengths.sum() == opened.dataset.lengths[held_out].sum()  # the clean frames are all held out
        frames = torch.from_numpy(opened.dataset.frames(opened.dataset.rows(opened.seen)))
        small = {tuple(row) for row in thumbnails(frames).tolist()}
        assert {tuple(row) for row in known.thumbnails.tolist()} <= small


def test_a_training_on_more_episodes_than_there_are_leaves_nothing_behind(tiny, tmp_path):
    data = made(tmp_path / "data.h5", 20)
    with pytest.raises(DataError, match=r"19 episodes to train on were asked for: of 20, 2 are held out and 18 are"):
        train(resolve(tiny, None, {"training.episodes": 19}), data, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_of_other_data_training_has_seen_nothing(trained, tmp_path):
    run = open_run(trained)
    with run.data(made(tmp_path / "other.h5", 6, seed=1)) as data:
        assert not data.in_training
        assert data.seen.tolist() == []
        assert data.unseen.tolist() == [0, 1, 2, 3, 4, 5]
        with pytest.raises(LewmError, match=r"other\.h5: not the data that .*run was trained on(?s:.*)\nUse others\."):
            data.check_in_training("Use others.")


def test_data_that_the_model_cannot_be_shown_are_refused_by_the_name_of_their_option(trained, tmp_path):
    larger = made(tmp_path / "larger.h5", 2, frame_size=32)
    with (
        pytest.raises(LewmError, match=r"32 x 32 pixels, the run was trained on 16 x 16 pixels\nGive --calibrate"),
        open_run(trained).data(larger, "--calibrate"),
    ):
        pass
