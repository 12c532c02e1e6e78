"""Runs made of released checkpoints: equal outputs, where everything is from, and what is refused."""

import json
import shutil

import h5py
import numpy as np
import pytest
import torch

import lewm
from lewm.checkpoints import run as runs
from lewm.checkpoints.released_config import read_released_config
from lewm.datasets import identity_of
from lewm.errors import LewmError
from lewm.files import newest_run
from lewm.importing import ImportRequest, import_checkpoint
from lewm.opened_run import open_run
from lewm.training.loop import train
from lewm_data.store.clips import action_statistics
from lewm_data.store.dataset import Dataset

LAYOUTS = ("transformers4", "transformers5")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def released(tmp_path, golden):
    """A copy of a checkpoint that stable-worldmodel's training wrote."""

    def copy(layout="transformers4"):
        shutil.copytree(golden / "stable_worldmodel" / layout, tmp_path / layout)
        return tmp_path / layout

    return copy


@pytest.fixture
def rooms(tmp_path):
    """Writes a dataset whose actions have so many numbers, of a world of that name."""

    def write(action_dim=2, env="two-room", side=28):
        rng = np.random.default_rng(0)
        episodes, steps = 6, 40
        path = tmp_path / f"{env}-{action_dim}-{side}.h5"
        action = rng.normal(3, 2, (episodes, steps, action_dim)).astype(np.float32)
        action[:, -1] = np.nan
        with h5py.File(path, "w") as file:
            if env is not None:
                file.attrs["env"] = env
            file["pixels"] = rng.integers(0, 256, (episodes * steps, side, side, 3), np.uint8)
            file["action"] = action.reshape(-1, action_dim)
            file["state"] = rng.uniform(0, 1, (episodes * steps, 2))
            file["ep_len"] = np.full(episodes, steps)
            file["ep_offset"] = np.arange(episodes) * steps
        return path

    return write


def change_config(folder, change):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def largest_difference(ours, theirs):
    return np.abs(ours.numpy() - theirs).max()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_embeddings_and_rollouts_are_those_of_the_package_that_trained_it(golden, released, rooms, layout):
    report = import_checkpoint(ImportRequest(str(released(layout)), rooms()))
    model = lewm.load(report.run)
    reference = np.load(golden / "stable_worldmodel" / layout / "reference.npz")
    frames, candidates, history = (torch.from_numpy(reference[name]) for name in ("frames", "candidates", "history"))
    with torch.inference_mode():
        latents = model.encode(frames[None])
        one, three = model.rollout(latents[:, :1], candidates), model.rollout(latents, candidates, history)
    assert largest_difference(latents, reference["embedding"]) < 1e-5
    assert largest_difference(one, reference["rollout_1_frame"]) < 1e-5
    assert largest_difference(three, reference["rollout_3_frames"]) < 1e-5
    assert report.origin.layout == layout
    assert reference["rollout_1_frame"].std(axis=1).min() > 1e-4  # actions matter, so that this is a comparison


def test_where_everything_is_from(released, rooms, home):
    data = rooms()
    report = import_checkpoint(ImportRequest(str(released()), data))
    run = open_run(report.run)
    assert newest_run() == run.path == home / "runs" / "two-room-imported"
    assert {file.name for file in run.path.iterdir()} == {"config.json", "model.safetensors"}
    assert (run.origin.weights, run.origin.layout) == ("weights_epoch_2.pt", "transformers4")
    assert run.origin == report.origin
    assert run.trained_on.path == str(data)
    with Dataset.open(data) as dataset:
        assert run.trained_on == identity_of(dataset, "two-room")
        mean, std = action_statistics(dataset)
    assert np.allclose(report.action_mean, mean)
    assert np.allclose(run.model.action_std, std)
    assert report.action_low == (-1, -1)  # the world's
    assert (report.frameskip, report.action_dim, report.usual_frameskip) == (5, 2, True)
    assert import_checkpoint(ImportRequest(str(report.origin.source), data)).run == f"{report.run}-2"


@pytest.mark.parametrize(("block", "action_dim", "frameskip"), [(12, 2, 6), (12, 3, 4), (10, 10, 1), (10, 1, 10)])
def test_the_datas_actions_decide_the_frameskip(released, rooms, block, action_dim, frameskip):
    folder = released()
    widen(folder, block)
    report = import_checkpoint(ImportRequest(str(folder), rooms(action_dim, "my-robot")))
    model = lewm.load(report.run)
    assert (report.action_block, report.frameskip, report.action_dim) == (block, frameskip, action_dim)
    assert (model.config.frameskip, len(model.action_mean)) == (frameskip, action_dim)
    assert not report.usual_frameskip


def widen(folder, block):
    """Gives a checkpoint action blocks of another width."""
    path = folder / "weights_epoch_2.pt"
    tensors = torch.load(path, weights_only=True)
    tensors["action_encoder.patch_embed.weight"] = torch.randn(10, block, 1)
    torch.save(tensors, path)
    change_config(folder, lambda content: content["action_encoder"].update(input_dim=block))


def test_without_data_a_block_counts_as_one_action(released):
    folder = released()
    assert lewm.load(folder).config.frameskip == 1
    assert lewm.load(folder, action_dim=2).config.frameskip == 5
    with pytest.raises(LewmError, match="blocks of 10 numbers cannot be made of actions of 3, as in action_dim"):
        lewm.load(folder, action_dim=3)


def test_actions_that_do_not_make_up_a_block(released, rooms):
    with pytest.raises(LewmError, match="blocks of 10 numbers cannot be made of actions of 3"):
        import_checkpoint(ImportRequest(str(released()), rooms(3, "my-robot")))


def test_a_configuration_that_states_its_frameskip(released, rooms):
    folder = released()
    change_config(folder, lambda content: {"model": content, "data": {"dataset": {"frameskip": 2}}})
    assert read_released_config(folder / "config.json").frameskip == 2
    assert lewm.load(folder).config.action_dim == 5
    with pytest.raises(LewmError, match=r"at frameskip 2; of actions of 2 numbers, .* there would be 5"):
        import_checkpoint(ImportRequest(str(folder), rooms()))
    assert import_checkpoint(ImportRequest(str(folder), rooms(5, "my-robot"))).frameskip == 2


def test_the_world_is_the_files_or_the_one_that_is_typed(released, rooms):
    folder = str(released())
    report = import_checkpoint(ImportRequest(folder, rooms(env="push-t"), "two-room"))
    assert (report.env, report.simulator) == ("two-room", True)
    report = import_checkpoint(ImportRequest(folder, rooms(env=None)))
    assert (report.env, report.simulator) == ("recording", False)
    with pytest.raises(LewmError, match="actions have 2 dimensions, those of cube have 5"):
        import_checkpoint(ImportRequest(folder, rooms(), "cube"))


def test_without_data_it_says_what_works(released, home):
    with pytest.raises(LewmError, match=r"lewm\.load\(PATH\) with encode, predict and rollout"):
        import_checkpoint(ImportRequest(str(released()), None))
    assert not home.exists()


def test_nothing_is_overwritten(released, rooms, tmp_path):
    folder, data, out = str(released()), rooms(), tmp_path / "run"
    out.mkdir()
    import_checkpoint(ImportRequest(folder, data, out=out))
    before = (out / "config.json").read_bytes()
    with pytest.raises(LewmError, match="exists and is not an empty folder"):
        import_checkpoint(ImportRequest(folder, data, out=out))
    assert (out / "config.json").read_bytes() == before
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(LewmError, match="exists and is not an empty folder"):
        import_checkpoint(ImportRequest(folder, data, out=file))
    assert file.read_text() == "mine"


def test_a_checkpoint_that_does_not_fit_leaves_nothing(released, rooms, home):
    folder = released()
    tensors = torch.load(folder / "weights_epoch_2.pt", weights_only=True)
    del tensors["predictor.pos_embedding"]
    tensors["decoder.weight"] = torch.zeros(1)
    tensors["projector.net.1.num_batches_tracked"] = torch.zeros(())
    torch.save(tensors, folder / "weights_epoch_2.pt")
    with pytest.raises(LewmError) as caught:
        import_checkpoint(ImportRequest(str(folder), rooms()))
    assert "missing predictor.pos_embedding; surplus decoder.weight; misshapen projector.net.1" in str(caught.value)
    assert not (home / "runs").exists()


def test_the_buffers_of_a_training_are_left_aside(released, rooms):
    folder = released()
    tensors = torch.load(folder / "weights_epoch_2.pt", weights_only=True)
    plain = lewm.load(folder).state_dict()
    wrapped = {f"model._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    wrapped |= {"sigreg.t": torch.zeros(17), "model.extra": torch.zeros(1)}
    torch.save({"state_dict": wrapped, "epoch": 3}, folder / "weights_epoch_2.pt")
    file = str(folder / "weights_epoch_2.pt")
    report = import_checkpoint(ImportRequest(file, rooms()))
    assert str(report.origin) == report.origin.source == file
    assert report.aside == ("model.extra", "sigreg.t")
    state = lewm.load(report.run).state_dict()
    assert all(torch.equal(plain[name], state[name]) for name in plain if not name.startswith("action_"))


def test_a_training_of_it_cannot_be_resumed(released, rooms, tiny):
    data = rooms()
    report = import_checkpoint(ImportRequest(str(released()), data))
    with pytest.raises(LewmError, match="not trained here: there is no training to go on with"):
        train(open_run(report.run).config, data, open_run(report.run).path, CPU, resume=True)


def test_damage_is_repaired_by_importing_again(released, rooms):
    report = import_checkpoint(ImportRequest(str(released()), rooms()))
    path = open_run(report.run).path / runs.MODEL
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:-9]), path.unlink):
        damage()
        with pytest.raises(LewmError, match=r"Import it again: .lewm checkpoint import .*transformers4 --data"):
            lewm.load(report.run)


def test_the_repair_keeps_the_world_and_the_commit(released, rooms):
    report = import_checkpoint(ImportRequest(str(released()), rooms(env=None), "two-room"))
    assert report.origin == open_run(report.run).origin
    (open_run(report.run).path / runs.MODEL).unlink()
    with pytest.raises(LewmError, match=r"transformers4 --data DATASET\.h5 --env two-room"):
        lewm.load(report.run)


@pytest.mark.parametrize("name", ["", "model.safetensors", "config.json"])
def test_a_run_is_not_imported(released, rooms, name):
    data = rooms()
    run = import_checkpoint(ImportRequest(str(released()), data)).run
    with pytest.raises(LewmError) as caught:
        import_checkpoint(ImportRequest(f"{run}/{name}", data))
    assert caught.value.problem.endswith(": is a run already")
    assert caught.value.remedy == f'Use it: "lewm plan --run {run}".'


def test_what_its_training_held_out_is_not_known(released, rooms, caplog):
    report = import_checkpoint(ImportRequest(str(released()), rooms()))
    with open_run(report.run).data() as data:
        assert data.in_training
        assert not data.known_unseen
    assert "may have seen every episode" in caplog.text
