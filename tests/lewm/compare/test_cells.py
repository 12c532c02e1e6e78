"""Cells: which settings a row has, and which runs are the same."""

import pytest

from lewm.compare.cells import differences, row_cells, settings
from lewm.compare.spec import Spec
from lewm.config import validate
from lewm.errors import LewmError

VALUES = {
    "title": "Own",
    "seeds": [3],
    "reference": "lewm",
    "worlds": {"two-room": {}, "push-t": {}},
    "train": {"set": {"training.steps": 30}},
    "plan": {"set": {"planner.kind": "icem"}},
    "methods": {
        "lewm": {"title": "LeWM"},
        "pldm": {
            "train": {"set": {"objective.kind": "pldm"}},
            "worlds": {"push-t": {"train": {"set": {"objective.kind": "prediction"}}}},
        },
        "wide": {"of": "lewm", "train": {"set": {"model.latent": 128}}},
        "follows": {"of": "wide", "plan": {"set": {"agent": "idm"}}},
    },
}


@pytest.fixture
def cell():
    def made(row, place="two-room", **changes):
        spec = validate(Spec, VALUES | changes | {"groups": [{"title": "Rows", "rows": [row]}]}, "here")
        (found,) = row_cells(spec, spec.groups[0].rows[0], "Rows", place, "data")
        return found

    return made


def test_settings_are_of_all_then_of_the_method_then_of_its_world(cell):
    lewm, pldm = cell("lewm"), cell("pldm")
    assert lewm.run.config.training.steps == 30
    assert lewm.run.config.training.seed == 3
    assert lewm.planning.planner.kind == "icem"
    assert pldm.run.config.objective.kind == "pldm"
    assert cell("pldm", "push-t").run.config.objective.kind == "prediction"
    assert set(differences(pldm.run.config, lewm.run.config)) >= {"objective.kind", "objective.std"}


def test_a_change_has_the_settings_of_what_it_changes(cell):
    follows = cell("follows")
    assert follows.run.config.model.latent == 128
    assert follows.planning.agent == "idm"
    assert (follows.method, follows.title) == ("follows", "follows")


def test_a_row_that_only_names_a_method_is_that_method(cell):
    assert cell({"of": "lewm", "x": 0.01}).method == "lewm"
    assert cell({"of": "lewm", "x": 0.01}).title == "LeWM"
    changed = cell({"of": "lewm", "title": "Two steps", "plan": {"set": {"execute": 2}}})
    assert (changed.method, changed.title) == ("lewm-rows-two-steps", "Two steps")


def test_a_note_is_that_of_the_row_or_else_of_the_method_that_it_changes(cell):
    methods = VALUES["methods"] | {"pldm": VALUES["methods"]["pldm"] | {"note": "Not tuned."}}
    assert cell("pldm", methods=methods).note == "Not tuned."
    changed = {"of": "pldm", "title": "warm", "plan": {"set": {"warm_start": "on"}}}
    assert cell(changed, methods=methods).note == "Not tuned."
    assert cell(changed | {"note": "Its own."}, methods=methods).note == "Its own."
    assert cell("lewm", methods=methods).note == ""
    assert cell({"of": "pldm", "note": "Here."}, methods=methods).method == "pldm", "a note changes nothing"


def test_what_differs_is_told_without_what_follows_from_another_kind(cell):
    lewm = cell("lewm")
    assert settings(lewm, lewm) == {}
    assert settings(cell("pldm"), lewm) == {"train.objective.kind": "pldm"}
    assert settings(cell("follows"), lewm) == {"train.model.latent": 128, "plan.agent": "idm"}
    cem = cell({"of": "lewm", "title": "CEM", "plan": {"set": {"planner.kind": "cem", "planner.samples": 80}}})
    told = settings(cem, lewm)
    assert (told["plan.planner.kind"], told["plan.planner.samples"]) == ("cem", 80)
    assert None not in told.values(), "what CEM has not is no choice"
    wide = cell({"of": "lewm", "title": "wide", "train": {"set": {"objective.lambda": 0.5, "model.latent": 32}}})
    assert settings(wide, lewm) == {"train.objective.lambda": 0.5, "train.model.latent": 32}


def test_of_another_recipe_the_name_is_told(cell):
    told = settings(cell({"of": "lewm", "title": "medium", "train": {"recipe": "medium"}}), cell("lewm"))
    assert [(key, value) for key, value in told.items() if key.startswith("train.")] == [("train.recipe", "medium")]


def test_equal_trainings_are_one_run_whatever_their_methods_are_called(cell):
    spelled = {"title": "other", "train": {"set": {"model": {"latent": 128}}}}
    assert cell(spelled).run.name == cell("wide").run.name == cell("follows").run.name
    assert cell("wide").run.name.startswith("two-room/small-")
    assert "latent=128" in cell("wide").run.name


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"set": {"training.steps": 31}}},
        {"seeds": [4]},
        {"train": {"recipe": "medium", "set": {"training.steps": 30}}},
    ],
)
def test_other_trainings_are_other_runs(cell, changes):
    assert cell("lewm", **changes).run.name != cell("lewm").run.name


def test_plans_and_goals_make_no_other_run(cell):
    assert cell("lewm", plan={"set": {"execute": 2}}).run.name == cell("lewm").run.name


def test_a_shorter_history_has_a_shorter_context(cell):
    short = {"title": "short", "train": {"set": {"model.predictor.history": 1, **STAGES}}}
    assert cell(short, "push-t").planning.context == 1


STAGES = {f"stages.{name}.predictor.history": 1 for name in ("keypoints", "features")}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"train": {"set": {"objective.lamda": 0}}}, 'Did you mean "objective.lambda"?'),
        ({"plan": {"set": {"horizont": 3}}}, 'Did you mean "planning.horizon"?'),
        ({"plan": {"set": {"context": 2}}}, "planning.context 2 exceeds model.predictor.history 1"),
        ({"train": {"set": {"planning.horizon": 3}}}, "train.set has the key planning.horizon"),
        ({"train": {"set": {"training.seed": 3}}}, "train.set has the key training.seed"),
        ({"train": {"set": {"training": {"seed": 3}}}}, "train.set has the key training.seed"),
        ({"train": {"set": {"training": {"steps": 3, "seed": 3}}}}, "train.set has the key training.seed"),
        ({"train": {"recipe": "smal"}}, 'Did you mean "small"?'),
        ({"run": "no/such/{world}-{seed}"}, "no/such/two-room-3: no such run"),
        ({"run": "runs/{seed}", "train": {"set": {"training.steps": 3}}}, "names a run that is there, and settings"),
    ],
)
def test_a_wrong_setting_is_named(cell, row, said):
    with pytest.raises(LewmError) as caught:
        cell(row | {"title": "wrong"})
    assert said in str(caught.value)
