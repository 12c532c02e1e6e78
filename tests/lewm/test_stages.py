"""Trainings in stages: killed anywhere they go on, and the finished run needs no stage any more."""

import shutil

import pytest
import torch

import lewm
from lewm.checkpoints import run
from lewm.config import resolve
from lewm.training.loop import train
from lewm.training.metrics import read_metrics
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


@pytest.fixture(scope="session")
def staged(tiny):
    """Two stages, of which the second takes the first one's encoder, and a last training on the second's latents."""
    return with_stages(tiny)


def with_stages(tiny):
    model = tiny.model.model_dump(mode="json")
    first = {name: model[name] for name in ("encoder", "latent", "projector_hidden", "predictor")}
    first |= {"objective": {"kind": "lewm", "sigreg": {"kind": "sketch", "directions": 64}}, "steps": 4}
    second = first | {"encoder": {"kind": "frozen", "weights": "stage:first", "output": "embedding"}, "latent": 6}
    return resolve(
        tiny,
        None,
        {
            "stages": {"first": first, "second": second},
            "model.encoder": {"kind": "frozen", "weights": "stage:second"},
            "model.projector_hidden": None,
            "model.latent": 6,
            "objective": {"kind": "prediction"},
        },
    )


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.suffix in (".safetensors", ".json")
    }


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="session")
def whole(staged, dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    begun = []
    report = train(staged, dataset, directory, CPU, on_begin=begun.append)
    assert [(one.stage, one.number, one.trainings) for one in begun] == [
        ("first", 1, 3),
        ("second", 2, 3),
        (None, 3, 3),
    ]
    assert list(report.stages) == ["first", "second"]
    assert 0 < sum(report.stages.values()) < report.seconds
    return directory


def test_each_stage_is_a_run_and_its_encoder_is_the_next_ones(staged, whole):
    first, second = (lewm.load(whole / run.STAGES / name) for name in ("first", "second"))
    last = lewm.load(whole)
    frames = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(second.encoder.encoder(torch.ones(3, 3, 16, 16)), first.encoder(torch.ones(3, 3, 16, 16)))
        assert torch.equal(last.embed(frames), second.embed(frames))
    assert [line["step"] for line in read_metrics(whole / run.STAGES / "first" / run.METRICS)] == [1, 2, 3, 4]
    assert len(read_metrics(whole / run.METRICS)) == 6
    assert run.read_config(whole)[0].stages["first"] == staged.stages["first"]


@pytest.mark.parametrize(
    "stops", [[("first", 1), ("first", 3)], [("second", 1), ("second", 3)], [(None, 1), (None, 5)]]
)
def test_killed_in_any_stage_a_run_goes_on_to_the_same_files(staged, dataset, whole, tmp_path, stops):
    directory, begun = tmp_path / "run", []

    def killing(name, step):
        def kill(progress):
            if (begun[-1].stage, progress.step) == (name, step):
                raise Killed

        return kill

    for name, step in stops:
        resume = directory.exists()
        config = run.read_config(directory)[0] if resume else staged
        callbacks = {"on_begin": begun.append, "on_progress": killing(name, step)}
        with pytest.raises(Killed):
            train(config, dataset, directory, CPU, resume, **callbacks)
    train(run.read_config(directory)[0], dataset, directory, CPU, resume=True)
    assert content(directory) == content(whole)


def test_a_finished_run_needs_its_stages_no_more(whole, dataset, tmp_path):
    alone = tmp_path / "run"
    shutil.copytree(whole, alone)
    shutil.rmtree(alone / run.STAGES)
    before, after = lewm.load(whole), lewm.load(alone)
    assert run.weights_sha256(before) == run.weights_sha256(after)
    report = train(run.read_config(alone)[0], dataset, alone, CPU, resume=True)
    assert (report.steps, report.stages) == (6, {})
    assert not (alone / run.STAGES).exists()
