"""The sections of stages: what a stage takes from its run, and the errors that name its keys."""

import re
from pathlib import Path

import pytest

from lewm import recipes
from lewm.config import Config, resolve
from lewm.errors import LewmError


@pytest.fixture
def staged(tiny):
    """A stage, and a last training on its latents, with a longer history than the stage's."""
    model = tiny.model.model_dump(mode="json")
    stage = {name: model[name] for name in ("encoder", "latent", "projector_hidden", "predictor")}
    stage |= {"objective": {"kind": "lewm", "lambda": 0.02}, "steps": 4, "learning_rate": 0.02}
    changes = {
        "stages": {"places": stage},
        "model.encoder": {"kind": "frozen", "weights": "stage:places"},
        "model.projector_hidden": None,
        "model.predictor.history": 3,
        "objective": {"kind": "prediction"},
        "planning.context": 3,
    }
    return resolve(tiny, None, changes | {"stages.places.predictor.history": 2})


def test_a_stage_is_a_training_of_its_own_and_takes_from_the_run_what_it_does_not_set(tiny, staged):
    stage = staged.stages["places"]
    plain = stage.config(staged)
    assert (plain.model.encoder, plain.objective.lambda_) == (tiny.model.encoder, 0.02)
    assert plain.model.predictor.history == plain.planning.context == 2
    assert plain.training == staged.training.model_copy(update={"steps": 4, "learning_rate": 0.02})
    assert plain.model.action_embedder == staged.model.action_embedder
    assert (plain.stages, plain.env, plain.evaluation) == ({}, staged.env, staged.evaluation)
    in_epochs = resolve(staged, None, {"training.epochs": 2})
    assert in_epochs.stages["places"].config(in_epochs).training == plain.training


def test_stages_survive_json_in_their_order(staged):
    again = Config.from_json(staged.to_json(), "config.json")
    assert again == staged
    two = resolve(staged, None, {"stages.again": staged.stages["places"].model_dump(mode="json", by_alias=True)})
    assert list(Config.from_json(two.to_json(), "config.json").stages) == ["places", "again"]


def test_a_key_of_a_stage_is_set_by_its_name(staged):
    assert resolve(staged, None, {"stages.places.steps": "5"}).stages["places"].steps == 5
    other = resolve(staged, None, {"stages.places.objective.kind": "pldm"}).stages["places"]
    assert other.objective.kind == "pldm"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("stages.places.step", 5, ['"stages.places.step"', 'Did you mean "stages.places.steps"']),
        ("stages.places.steps", 0, ["stages.places.steps: ", "greater than 0"]),
        ("stages.places.encoder.chanels", [4], ['Did you mean "stages.places.encoder.channels"']),
        ("stages.places.encoder.channels", [4] * 5, ["stages.places: ", "frame_size 16"]),
        ("stages.places.objective.kind", "prediction", ["stages.places: objective.kind prediction is for a frozen"]),
        (
            "stages.plaices.steps",
            5,
            ['unknown stage in the options: "stages.plaices"', 'Did you mean "stages.places"?'],
        ),
        ("stages.another.steps", 5, ["stages.another.encoder: Field required"]),
        ("stages.Two Words", {"steps": 5}, ["stages.Two Words: String should match"]),
        ("stages", "none", ["stages: expected a section", "--set stages.NAME.KEY=VALUE"]),
    ],
)
def test_faults_name_the_key_of_the_stage(staged, key, value, words):
    with pytest.raises(LewmError) as caught:
        resolve(staged, None, {key: value})
    assert len(str(caught.value).splitlines()) == 2
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "change", [{"model.projector_hidden": 16}, {"model.encoder": {"kind": "conv", "channels": [4], "width": 8}}]
)
def test_the_prediction_error_alone_is_refused_where_latents_are_trained(staged, change):
    assert staged.objective.formula() == "prediction"
    with pytest.raises(LewmError, match=r"objective\.kind prediction is for a frozen model\.encoder .* collapse"):
        resolve(staged, None, change)


def test_the_file_in_readme_is_a_training_in_stages(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), re.DOTALL)
    (tmp_path / "stages.toml").write_text(text)
    small = recipes.small("two-room", 2)
    config = resolve(small, tmp_path / "stages.toml", {"model.projector_hidden": "none"})
    assert not config.model.trains_latents
    stage = config.stages["places"].config(config)
    assert (stage.model, stage.objective, stage.training) == (small.model, small.objective, small.training)


@pytest.mark.parametrize("kind", ["lewm", "pldm"])
def test_a_loss_that_spreads_latents_is_refused_where_they_are_frozen(staged, kind):
    """Its terms would have no gradient; the stage that trains the latents is named."""
    with pytest.raises(LewmError) as caught:
        resolve(staged, None, {"objective.kind": kind})
    problem, remedy = str(caught.value).splitlines()
    assert f"objective.kind {kind} spreads the latents, but these are frozen" in problem
    assert problem.endswith(
        "set objective.kind to prediction; for the latents themselves set stages.places.objective.kind"
    )
    assert remedy.startswith("Set it with --set")
    assert resolve(staged, None, {"stages.places.objective.kind": kind}).objective.kind == "prediction"


def test_every_stage_is_named_where_push_t_is_asked_for_another_loss():
    with pytest.raises(
        LewmError, match=r"set stages\.keypoints\.objective\.kind and stages\.features\.objective\.kind"
    ):
        resolve(recipes.small("push-t", 2), None, {"objective.kind": "pldm"})


def test_without_stages_the_kind_alone_is_named(tiny):
    encoder = {"kind": "frozen", "encoder": tiny.model.encoder.model_dump(), "weights": "some.safetensors"}
    frozen = {"model.encoder": encoder, "model.projector_hidden": None, "model.latent": 16}
    with pytest.raises(LewmError, match=r"set objective\.kind to prediction\nSet it with"):
        resolve(tiny, None, frozen)
    assert not resolve(tiny, None, frozen | {"objective.kind": "prediction"}).model.trains_latents
