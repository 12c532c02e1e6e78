"""Configuration: precedence, round trips, and errors that name what was meant."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm import recipes
from lewm.config import Config, ConvEncoder, ResidualPredictor, VitEncoder, resolve
from lewm.errors import LewmError
from lewm.model import build
from lewm.training.stages import settled_config

SMALL = recipes.small("two-room", 2)


def test_paper_recipe_has_the_papers_size():
    model = build(recipes.paper("two-room", 2).model)
    assert sum(p.numel() for p in model.parameters()) == 18_034_478


def test_small_recipe_fits_a_cpu():
    parameters = sum(p.numel() for p in build(SMALL.model).parameters())
    assert 200_000 < parameters < 3_000_000


def test_precedence_file_over_recipe_and_assignment_over_file(tmp_path):
    file = tmp_path / "change.toml"
    file.write_text("[training]\nbatch_size = 8\nseed = 1\n[objective]\nlambda = 0.5\n")
    config = resolve(SMALL, file, {"training.seed": "2", "objective.lambda": 0.25})
    assert (config.training.batch_size, config.training.seed, config.objective.lambda_) == (8, 2, 0.25)
    assert config.training.learning_rate == SMALL.training.learning_rate


def test_settings_that_fit_only_together_may_come_in_any_order():
    together = {"planning.planner.samples": 16, "planning.planner.elites": 4}
    for order in (together, dict(reversed(together.items()))):
        assert resolve(SMALL, None, order).planning.planner.samples == 16


def test_what_is_given_is_left_as_it_was():
    section = {"kind": "conv", "channels": [4], "width": 8}
    changed = resolve(recipes.small("two-room", 2), None, {"model.encoder": section, "model.encoder.width": 16})
    assert changed.model.encoder.width == 16
    assert section == {"kind": "conv", "channels": [4], "width": 8}


def test_faults_name_the_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nbatch = 3\n")
    with pytest.raises(LewmError, match=r"mine\.toml.*training\.batch"):
        resolve(SMALL, file)


def test_steps_and_epochs_replace_each_other():
    config = resolve(SMALL, None, {"training.epochs": 2})
    assert (config.training.steps, config.training.epochs) == (None, 2)
    assert resolve(config, None, {"training.steps": 5}).training.epochs is None


def test_another_kind_of_encoder_replaces_the_old_one():
    values = {"kind": "vit", "patch": 8, "width": 32, "depth": 1, "heads": 2, "mlp": 64}
    config = resolve(SMALL, None, {"model.encoder": values})
    assert config.model.encoder == VitEncoder(**values)
    assert isinstance(SMALL.model.encoder, ConvEncoder)


CONV, JOINED = {"kind": "conv", "channels": [8], "width": 16}, {"model.encoder.kind": "joined"}


def parts_of(config):
    return [part.model_dump(include={"kind", "width"}) for part in config.model.encoder.parts]


def test_joined_parts_can_be_given_in_a_file_and_by_assignment_and_each_is_set_by_its_place(tmp_path):
    file = tmp_path / "joined.toml"
    file.write_text(
        '[model.encoder]\nkind = "joined"\n'
        + '[[model.encoder.parts]]\nkind = "conv"\nchannels = [8]\nwidth = 16\n' * 2
    )
    from_file = resolve(SMALL, file)
    conv = '{kind = "conv", channels = [8], width = 16}'
    assigned = resolve(SMALL, None, JOINED | {"model.encoder.parts": f"[{conv}, {conv}]"})
    assert from_file == assigned
    assert parts_of(assigned) == [{"kind": "conv", "width": 16}] * 2
    wider = resolve(assigned, None, {"model.encoder.parts.1.width": "24"})
    assert parts_of(wider) == [{"kind": "conv", "width": 16}, {"kind": "conv", "width": 24}]
    vit = {"kind": "vit", "patch": 8, "width": 32, "depth": 1, "heads": 2, "mlp": 64}
    other = resolve(wider, None, {f"model.encoder.parts.0.{key}": value for key, value in vit.items()})
    assert parts_of(other) == [{"kind": "vit", "width": 32}, {"kind": "conv", "width": 24}]
    assert Config.from_json(other.to_json(), "config.json") == other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.encoder.parts.1.chanels": [4]},
            r'where model\.encoder\.parts\.1\.kind is conv: "model\.encoder\.parts\.1\.chanels"\n'
            r'Did you mean "model\.encoder\.parts\.1\.channels"',
        ),
        ({"model.encoder.parts.1.width": 0}, r"model\.encoder\.parts\.1\.width: .*\n.*parts\.1\.width=VALUE"),
        ({"model.encoder.parts.0.kind": "cnov"}, r'model\.encoder\.parts\.0\.kind in the options: "cnov"\n.*"conv"'),
        ({"model.encoder.parts.2.width": 8}, r"model\.encoder\.parts: .*valid tuple"),
        ({"model.encoder.parts": []}, r"model\.encoder\.parts: .*at least 1 item"),
    ],
)
def test_faults_of_joined_parts_name_the_part(changes, message):
    joined = resolve(SMALL, None, JOINED | {"model.encoder.parts": [CONV, CONV]})
    with pytest.raises(LewmError, match=message):
        resolve(joined, None, changes)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        ({"training.batchsize": 8}, ["training.batchsize", "training.batch_size"]),
        ({"trainig.seed": 8}, ["trainig", "training"]),
        ({"model.encoder.chanels": [8]}, ["model.encoder.chanels", "model.encoder.channels"]),
        ({"objective.lamda": 1}, ["objective.lamda", "objective.lambda"]),
        ({"training.batch_size": "many"}, ["training.batch_size", "'many'"]),
        ({"training.batch_size": 1}, ["training.batch_size", "greater than or equal to 2"]),
        ({"training.learning_rate": float("nan")}, ["training.learning_rate"]),
        ({"training.steps": 1, "training.epochs": "none"}, []),
        ({"model.frame_size": 65}, ["65"]),
        ({"planning.planner.elites": 400}, ["elites 400 exceeds samples 300"]),
        ({"training": 3}, ["training"]),
    ],
)
def test_faults_name_the_key_and_the_nearest_right_one(assignments, words):
    if not words:
        assert resolve(SMALL, None, assignments).training.steps == 1
        return
    with pytest.raises(LewmError) as caught:
        resolve(SMALL, None, assignments)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "assignment",
    [
        "objective.sigreg.knots=1e9",
        "objective.sigreg.directions=1e9",
        "model.frame_size=1e6",
        "model.frameskip=1e6",
        "model.latent=1e9",
        "model.projector_hidden=1e9",
        "model.encoder.channels=[1000000000]",
        "model.encoder.width=1e9",
        "model.predictor.depth=1e5",
        "model.predictor.heads=1e5",
        "model.predictor.history=1e9",
        "model.action_embedder.hidden=1e9",
        "training.batch_size=1e12",
        "training.steps=1e12",
        "planning.planner.samples=1e9",
        "planning.planner.iterations=1e9",
        "planning.horizon=1e6",
        "evaluation.budget=1e12",
    ],
)
def test_numbers_that_no_machine_can_serve(assignment):
    key, _, value = assignment.partition("=")
    with pytest.raises(LewmError, match=rf"{key}.* less than or equal to \d+, got \d+"):
        resolve(SMALL, None, {key: value})


def test_more_layers_than_a_frame_can_be_halved():
    with pytest.raises(LewmError, match=r"model\.encoder\.channels: Tuple should have at most 12 items"):
        resolve(SMALL, None, {"model.encoder.channels": [8] * 100_000})


@pytest.mark.parametrize("text", ["9" * 6000, "0x" + "f" * 6000, "[" * 100_000, "a." * 100_000 + "a = 1", "true"])
def test_values_that_are_none(text):
    with pytest.raises(LewmError) as caught:
        resolve(SMALL, None, {"training.steps": text})
    assert "training.steps: " in str(caught.value)
    assert len(str(caught.value)) < 400


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(LewmError, match=r'unknown key in the options: "training\.xyz"\nKnown: training\.'):
        resolve(SMALL, None, {"training.xyz": 1})


@pytest.mark.parametrize(("name", "content"), [("a.toml", "= 3"), ("a.json", "{"), ("a.json", "[1]")])
def test_unreadable_files(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(LewmError, match=name):
        resolve(SMALL, tmp_path / name)
    with pytest.raises(LewmError, match="No such file"):
        resolve(SMALL, tmp_path / "missing.toml")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(LewmError, match='"small"'):
        recipes.recipe("smal", "two-room", 2)


def test_recipes_take_the_actions_of_the_world_and_know_its_history():
    for name, histories in (("small", [1, 3]), ("medium", [1, 3]), ("paper", [3, 3]), ("dino-wm-small", [1, 3])):
        found = [recipes.recipe(name, env, 5).model for env in ("two-room", "my-robot")]
        assert [model.predictor.history for model in found] == histories
        assert [model.action_block for model in found] == [25, 25]


@pytest.mark.parametrize(
    ("env", "action_dim", "stages"), [("push-t", 2, ["keypoints", "features"]), ("cube", 5, ["keypoints", "flattened"])]
)
def test_the_small_recipe_trains_two_encoders_where_one_loses_what_is_small_and_joins_them(env, action_dim, stages):
    config = recipes.small(env, action_dim)
    assert list(config.stages) == stages
    assert not config.model.trains_latents
    assert config.model.latent == sum(stage.latent for stage in config.stages.values())
    model = build(settled_config(config).model)
    assert model.encoder.width == config.model.latent
    assert isinstance(config.model.predictor, ResidualPredictor)


def test_a_world_without_a_row_is_trained_as_the_others_are():
    row = recipes.SMALL[recipes.OTHER]
    unknown = recipes.small("my-robot", 2)
    assert (unknown.model.encoder, unknown.model.latent) == (row.trained.encoder, row.trained.latent)
    assert (unknown.training.steps, unknown.planning.context) == (row.trained.steps, row.context)
    assert unknown.objective.weights()["sigreg"] == row.trained.lambda_


@given(
    seed=st.integers(0, 2**31),
    rate=st.floats(1e-6, 1.0),
    weight=st.floats(0, 1e3),
    channels=st.lists(st.integers(1, 64), min_size=1, max_size=6),
    execute=st.one_of(st.none(), st.integers(1, 5)),
)
def test_round_trip_through_json(seed, rate, weight, channels, execute):
    config = resolve(
        SMALL,
        None,
        {
            "training.seed": seed,
            "training.learning_rate": rate,
            "objective.lambda": weight,
            "model.encoder.channels": channels,
            "planning.execute": execute,
        },
    )
    assert Config.from_json(config.to_json(), "config.json") == config
    assert json.loads(config.to_json())["objective"]["lambda"] == weight


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_take_names_of_no_world_and_config_files_only_plain_ones(name):
    config = recipes.recipe(name, "my-robot", 3)
    assert config.env == "my-robot"
    content = json.loads(config.to_json()) | {"env": "\x1b[31m"}
    with pytest.raises(LewmError, match=r"a\.json: env: "):
        Config.from_json(json.dumps(content), "a.json")
