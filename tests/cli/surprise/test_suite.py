"""`lewm surprise --suite` as a user meets it."""

from lewm_data.envs.registry import world
from tests.cli.surprise.commands import call, decoded, newest


def test_the_suite_reports_every_perturbation_with_known_and_unknown_actions(home, run):
    code, shown = call("surprise", "--suite", "two-room", "--episodes", "6")
    assert code == 0, shown
    path, report = newest(run, "surprise-suite-*.json")
    names = list(world("two-room").perturbations)
    assert [(one["perturbation"], one["actions"]) for one in report["outcomes"]] == [
        (name, actions) for actions in ("known", "unknown") for name in names
    ]
    outcome = {(one["perturbation"], one["actions"]): one for one in report["outcomes"]}
    assert outcome["floor recoloured", "known"]["auroc"] == 1
    assert outcome["floor recoloured", "known"]["detected"] > 0.5
    assert outcome["floor recoloured", "known"]["delay"] == 0
    swapped = outcome["action swapped", "unknown"]
    assert (swapped["auroc"], swapped["p_value"]) == (0.5, None), "frames alone cannot tell"
    assert outcome["action swapped", "known"]["surprise"] > outcome["action swapped", "known"]["untouched"]
    folder = path.with_suffix("")
    videos = {file.stem for file in folder.glob("*.mp4")}
    assert videos == {"untouched", *(name.replace(" ", "-") for name in names)}
    assert (folder / "suite.png").stat().st_size > 50_000
    assert len(decoded(folder / "agent-teleported.mp4")) == 61
