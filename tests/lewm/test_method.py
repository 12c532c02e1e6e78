"""Reports name the method by which a model was trained, whatever that was."""

import pytest

from lewm import recipes
from lewm.config import method_of, resolve
from lewm.evaluation.report import agent_name

STAGES = {f"stages.{name}.objective.kind": "pldm" for name in ("keypoints", "features")}


@pytest.mark.parametrize(
    ("recipe", "env", "changes", "name"),
    [
        ("small", "two-room", {}, "LeWM"),
        ("small", "push-t", {}, "LeWM"),  # the objective of its last training spreads nothing
        ("small", "two-room", {"objective.kind": "pldm"}, "PLDM"),
        ("small", "push-t", STAGES, "PLDM"),
        ("small", "push-t", {"stages.keypoints.objective.kind": "pldm"}, "PLDM and LeWM"),
        ("small", "two-room", {"objective.sigreg.kind": "subspaces"}, "Sub-JEPA"),
        ("dino-wm-small", "two-room", {}, "DINO-WM"),
        ("dino-wm", "push-t", {}, "DINO-WM"),
    ],
)
def test_a_method_is_named_by_what_is_trained(recipe, env, changes, name):
    config = resolve(recipes.recipe(recipe, env, 2), None, changes)
    assert method_of(config) == name
    planned = {"method": method_of(config), **config.planning.model_dump(mode="json")}
    assert agent_name(planned) == f"{name} + {config.planning.planner.kind.upper()}"
    assert agent_name(planned | {"agent": "gcbc"}) == f"{name} + GCBC"


def test_without_a_model_there_is_no_method():
    assert [agent_name({"agent": one}) for one in ("random", "expert")] == [
        "random actions",
        "the world's demonstrator",
    ]
