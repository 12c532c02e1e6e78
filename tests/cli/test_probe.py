"""`lewm probe` as a user meets it."""

import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from lewm.probing import probes
from lewm_cli import output
from lewm_cli.main import app

TINY = [
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=16"),
    *("--set", "model.predictor.projector_hidden=16"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.predictor.width=8"),
    *("--set", "model.predictor.depth=1"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.held_out=0.5"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A dataset and a run, as `lewm collect` and `lewm train` leave them."""
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEWM_HOME", str(path))
        for command in (
            ["collect", "--episodes", "24", "--frame-size", "16"],
            ["train", "--steps", "4", "--batch-size", "8", *TINY],
        ):
            code, shown = call(*command)
            assert code == 0, shown
    return path


@pytest.fixture(autouse=True)
def settings(home, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(home))
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(16,), steps=20, validate_every=10))


def call(*arguments):
    """Run a command in this process; like `lewm`, but failures come back as (exit code, two lines)."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def test_probe_takes_the_newest_run_and_shows_what_it_found_in_80_columns(home, monkeypatch):
    monkeypatch.setattr(output, "stdout", type(output.stdout)(width=80))
    code, shown = call("probe")
    assert code == 0, shown
    run = home / "runs" / "two-room-small"
    report = next(run.glob("probe-*.json"))
    assert f"newest run: {run}" in shown
    assert f"report: {report}" in shown
    assert (report.with_suffix("") / "scatter.png").is_file()
    table = shown[shown.index("episodes held out of training: 8 train, 2 validation, 2 test") :]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "…" not in table
    written = json.loads(report.read_text())
    for one in written["probed"]:
        mse, r = (one["mlp"][score]["value"] for score in ("mse", "r"))
        row = next(
            line.split() for line in table.splitlines() if re.match(rf"{one['features'].split(' enc')[0]} +MLP", line)
        )
        assert shortened(mse, 4) in row
        assert shortened(r, 3) in row
    for comparison in written["comparisons"]:
        probe = {"linear": "linear", "mlp": "MLP"}[comparison["probe"]]
        said = next(line for line in table.splitlines() if line.startswith(f"agent, {probe}: training "))
        verb = {"better": "beats", "worse": "does worse than", "no difference shown": "is not shown to differ from"}
        assert re.search(f"{verb[comparison['verdict']]} [^,]*the {comparison['baseline']}", said)


@pytest.mark.parametrize("columns", [60, 80])
def test_nothing_of_a_table_is_cut_however_long_a_name_and_a_number_are(home, monkeypatch, columns):
    name = "the_angle_between_the_upper_arm_and_the_forearm_of_the_second_robot_in_the_world"
    monkeypatch.setattr(output, "stdout", type(output.stdout)(width=columns))
    code, shown = call("probe", "--target", f"{name}=state[0]", "--target", "both=state[0:2]")
    assert code == 0, shown
    assert "…" not in shown
    assert f"\n{name}\n" in shown
    path = max((home / "runs" / "two-room-small").glob("probe-*.json"), key=lambda path: path.stat().st_mtime_ns)
    last = json.loads(path.read_text())["probed"][-1]
    assert (last["property"], last["features"]) == ("both", "pixel PCA")
    low, high = (shortened(end, 4) for end in last["mlp"]["mse"]["interval_95"])
    cells = re.findall(r"^(?:pixel|PCA|pixel PCA) .*$", shown, re.MULTILINE)
    assert any(f"{low}–{high}" in row for row in cells) == (columns == 80)


def shortened(value, decimals):
    text = f"{value:.{decimals}f}"
    return re.sub("^(-?)0", r"\1", text) if abs(float(text)) < 1 else text[:-1]


def test_targets_of_ones_own_and_json(home):
    result = CliRunner().invoke(
        app, ["probe", "--target", "x=state[0]", "--target", "turn = state[1]:angle", "--episodes", "11", "--json"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [one["numbers"] for one in report["probed"][::3]] == [["x"], ["sin turn", "cos turn"]]
    assert sum(report["episodes"].values()) == 11


@pytest.mark.parametrize("target", ["", "=state", "x=", ["x=state", "x=goal"]])
def test_targets_that_are_none_are_wrong_usage(target):
    targets = [target] if isinstance(target, str) else target
    assert call("probe", *(part for one in targets for part in ("--target", one)))[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "missing"], ["missing: no such run"]),
        (["--data", "missing.h5"], ["missing.h5"]),
        (["--target", "x=stat"], ['"stat"', 'Did you mean "state"']),
        (["--target", "x=state[1:3]"], ["numbers 0 to 1", "slice"]),
        (["--target", "x=action"], ["not finite"]),
        (["--episodes", "4"], ["4 of the 12 episodes", "--episodes 5"]),
        (["--device", "quantum"], ['device "quantum"']),
    ],
)
def test_failures_are_two_lines_that_help(arguments, words):
    code, shown = call("probe", *arguments)
    assert code == 1
    assert len(shown.splitlines()) == 2
    assert all(word in shown for word in words), shown
