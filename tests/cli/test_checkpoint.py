"""`lewm checkpoint` as a user meets it, and what the other commands do with what it makes."""

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lewm.checkpoints.released_names import LAYOUTS
from lewm.probing import probes
from lewm_cli import output
from lewm_cli.main import app

FORMATS = Path(__file__).parents[1] / "data" / "convert" / "fixtures"
PAGE = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
OURS = re.compile("held.out|(has|have) not seen|never saw", re.IGNORECASE)  # what is said of a run trained here
PLAN = ["plan", "--episodes", "3", "--samples", "16", "--elites", "4", "--iterations", "2", "--json"]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A dataset like the one that the checkpoint was trained on."""
    path = tmp_path_factory.mktemp("data") / "rooms.h5"
    how = ["--env", "two-room", "--episodes", "20", "--frame-size", "28", "--seed", "5"]
    code, shown = call("collect", *how, "--out", str(path))
    assert code == 0, shown
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path, golden):
    """A checkpoint that stable-worldmodel's training wrote."""
    shutil.copytree(golden / "stable_worldmodel" / "transformers5", tmp_path / "lewm rooms")
    return tmp_path / "lewm rooms"


def call(*arguments):
    """Run a command in this process; like `lewm`, but failures come back as (exit code, two lines)."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def answer(*arguments):
    """The JSON that a command prints."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_an_imported_run_is_the_newest_and_every_command_takes_it(home, folder, rooms, caplog, monkeypatch):
    monkeypatch.setattr(probes, "MLP", replace(probes.MLP, hidden=(8,), steps=20, validate_every=10))
    code, shown = call("checkpoint", "import", str(folder), "--data", str(rooms))
    assert code == 0, shown
    assert "an action block of 10 numbers is 5 actions of 2, as the dataset has them: frameskip 5" in shown
    assert "action statistics and bounds are of all actions in" in shown
    assert "which episodes its training saw is not known" in shown
    planned = answer(*PLAN)
    assert planned["protocol"] == "unsolved; it is not known whether training saw their episodes"
    assert planned["random"]["episodes"] == 3
    assert answer("probe", "--episodes", "12", "--json")["held_out"] is False
    watched = answer("surprise", f"{rooms}#3", "--json")
    assert watched["calibration"]["data"] == "the run's episodes that the model's training may have seen"
    for command in ("decode", "train-head", "train-policy"):
        caplog.clear()
        assert answer(command, "--steps", "5", "--json")["held_out"] is False
        assert "may have seen every episode" in caplog.text
        code, shown = call(command, "--steps", "5")
        assert code == 0, shown
        assert "episodes that the model's training may have seen" in " ".join(shown.split())
        assert not re.search(OURS, shown), shown
    (page,) = home.glob("runs/two-room-imported/report/index.html") if call("report")[0] == 0 else ()
    text = page.read_text()
    assert "Imported from" in text
    assert "the run was imported, and trained elsewhere" in text
    assert "Learning rate" not in text
    assert text.count("episodes that the model&#x27;s training may have seen") == 3
    assert not re.search(OURS, text)


def test_held_out_is_refused_and_tasks_of_a_file_are_not_called_so(home, folder, rooms, tmp_path):
    call("checkpoint", "import", str(folder), "--data", str(rooms))
    code, shown = call(*PLAN, "--protocol", "held-out")
    assert (code, "what its training held out is not known" in shown) == (1, True)
    assert "--protocol unsolved" in shown
    tasks = str(tmp_path / "tasks.json")
    assert call(*PLAN, "--save-tasks", tasks)[0] == 0
    path = tmp_path / "tasks.json"
    assert json.loads(path.read_text())["protocol"] == "unsolved"
    protocol = answer("plan", "--tasks", tasks, *PLAN[3:])["protocol"]
    assert protocol == "unsolved; it is not known whether training saw their episodes"
    assert answer(*PLAN, "--tasks", "from-env")["protocol"] == "from-env"


def test_resume_says_that_it_was_not_trained_here(home, folder, rooms):
    call("checkpoint", "import", str(folder), "--data", str(rooms))
    code, shown = call("train", "--resume")
    assert code == 1
    assert "was imported from" in shown
    assert "there is no training to go on with" in shown


@pytest.mark.parametrize(
    "command",
    [
        *("plan --run", "probe --run", "decode --run", "surprise a.mp4 --run", "report --run", "train-head --run"),
        *("train-policy --run", "train --resume --out", "checkpoint export --run"),
        *("checkpoint info --run",),
    ],
)
@pytest.mark.parametrize("what", ["", "weights_epoch_2.pt", "config.json"])
def test_every_command_that_is_given_a_released_checkpoint_says_how_to_import_it(home, folder, command, what):
    given = folder / what
    config = folder / "config.json"
    config.write_text(json.dumps({"model": json.loads(config.read_text())}))
    code, shown = call(*command.split(), str(given))
    assert code == 1, shown
    assert f"{given}: a released checkpoint, not a run" in shown
    assert f"lewm checkpoint import '{given}' --data DATASET.h5" in shown


def test_json_says_everything_that_was_decided(home, folder, rooms, tmp_path):
    out = tmp_path / "run"
    found = answer("checkpoint", "import", str(folder), "--data", str(rooms), "--out", str(out), "--json")
    assert (found["run"], found["env"], found["simulator"]) == (str(out), "two-room", True)
    assert (found["frameskip"], found["action_dim"], found["action_block"]) == (5, 2, 10)
    assert found["origin"]["weights"] == "weights_epoch_2.pt"
    code, shown = call("checkpoint", "import", str(folder), "--data", str(rooms), "--out", str(out))
    assert (code, "exists and is not an empty folder" in shown) == (1, True)


def test_data_of_stable_worldmodel_are_converted_first(home, folder):
    """Its own recording of Two-Room, and a checkpoint that it trained."""
    recorded = FORMATS / "stable-worldmodel" / "current-folder"
    found = answer("checkpoint", "import", str(folder), "--data", str(recorded), "--env", "two-room", "--json")
    assert (found["frameskip"], found["env"]) == (5, "two-room")
    assert found["dataset"].startswith(str(home / "datasets"))


def test_the_checkpoint_and_the_place_are_looked_at_before_data_are_converted(home, folder, tmp_path, monkeypatch):
    recorded = FORMATS / "stable-worldmodel" / "current-folder"
    monkeypatch.setattr("lewm_cli.checkpoint.converted", lambda _: pytest.fail("data are converted"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    for source, out, words in (
        (tmp_path / "nowhere", "run", "nowhere"),
        (folder, "full", "not an empty folder"),
        (folder, "full/file/run", "cannot be written to"),
    ):
        import_ = ["checkpoint", "import", str(source), "--data", str(recorded)]
        code, shown = call(*import_, "--out", str(tmp_path / out))
        assert (code, words in shown) == (1, True), shown
    home.write_text("")
    code, shown = call("checkpoint", "import", str(folder), "--data", str(recorded))
    assert (code, "cannot be written to" in shown) == (1, True), shown
    (folder / "config.json").write_text("{}")
    code, shown = call("checkpoint", "import", str(folder), "--data", str(recorded), "--out", str(tmp_path / "run"))
    assert (code, "config.json" in shown) == (1, True), shown


def test_info_of_a_folder_a_file_and_a_run(home, folder, rooms):
    released = answer("checkpoint", "info", str(folder), "--json")
    assert released == answer("checkpoint", "info", str(folder / "weights_epoch_2.pt"), "--json") | {
        "path": str(folder)
    }
    assert (released["kind"], released["layout"], released["frameskip"]) == (
        "released checkpoint",
        "transformers5",
        None,
    )
    call("checkpoint", "import", str(folder), "--data", str(rooms))
    run = answer("checkpoint", "info", "--json")
    assert (run["kind"], run["frameskip"], run["model"]["latent"]) == ("imported run", 5, 8)
    assert run["origin"]["layout"] == "transformers5"
    assert run["missing"] == ["which episodes its training saw"]
    code, shown = call("checkpoint", "info")
    assert code == 0
    assert "5 actions of 2" in shown


def test_a_run_is_named_with_the_same_option_everywhere(home, folder, rooms, tmp_path):
    out = str(tmp_path / "elsewhere")
    call("checkpoint", "import", str(folder), "--data", str(rooms), "--out", out)
    assert answer("checkpoint", "info", "--run", out, "--json") == answer("checkpoint", "info", out, "--json")
    assert answer("checkpoint", "export", "--run", out, "--json")["run"] == out


@pytest.mark.parametrize("columns", [20, 80])
def test_info_shows_whole_lines_in_any_width(home, folder, rooms, tmp_path, monkeypatch, columns):
    deep = tmp_path / "_".join(["a folder whose name is long"] * 5)
    shutil.move(folder, deep)
    monkeypatch.setattr(output, "stdout", type(output.stdout)(width=columns))
    code, shown = call("checkpoint", "info", str(deep))
    assert code == 0, shown
    assert f"\n  lewm checkpoint import '{deep}' --data DATASET.h5\n" in shown
    call("checkpoint", "import", str(deep), "--data", str(rooms))
    code, shown = call("checkpoint", "info")
    assert f"  {deep}, weights_epoch_2.pt\n" in shown
    assert "To use it" not in shown


def test_where_a_run_or_a_folder_goes_is_looked_at_first_and_made(home, folder, rooms, tmp_path, monkeypatch):
    import_ = ["checkpoint", "import", str(folder), "--data", str(rooms)]
    assert call(*import_, "--out", str(tmp_path / "new" / "deep" / "run"))[0] == 0
    export = ["checkpoint", "export", "--run", str(tmp_path / "new" / "deep" / "run")]
    assert call(*export, "--out", str(tmp_path / "other" / "deep" / "folder"))[0] == 0
    assert (tmp_path / "other" / "deep" / "folder" / "weights.pt").is_file()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("lewm.checkpoints.released.locate", lambda *_: pytest.fail("the work has begun"))
    for out, words in (("file/run", "cannot be written to: Not a directory"), ("file", "not an empty folder")):
        for command in (import_, export):
            code, shown = call(*command, "--out", str(tmp_path / out))
            assert (code, words in shown, "--out" in shown) == (1, True, True), shown


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_exported_is_what_was_imported(home, folder, rooms, tmp_path, layout):
    made = answer("checkpoint", "import", str(folder), "--data", str(rooms), "--json")["run"]
    out = tmp_path / "out"
    call("checkpoint", "import", str(folder), "--data", str(rooms), "--out", str(tmp_path / "newer"))
    named = [made] if layout == "transformers4" else ["--run", made]
    found = answer("checkpoint", "export", *named, "--layout", layout, "--out", str(out), "--json")
    assert (found["run"], found["layout"], found["tensors"], found["out"]) == (made, layout, 68, str(out))
    before, after = (
        torch.load(path, weights_only=True) for path in (folder / "weights_epoch_2.pt", out / "weights.pt")
    )
    same = before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert same == (layout == "transformers5")
    assert answer("checkpoint", "info", str(out), "--json")["faults"] == []


def test_what_cannot_be_done_is_said(home, folder, rooms, tmp_path):
    assert call("checkpoint", "export", "--layout", "transformers6")[0] == 2
    code, shown = call("checkpoint", "import", str(folder))
    assert (code, "Give --data a dataset of its world" in shown) == (1, True)
    assert call("checkpoint", "export", "one", "--run", "other")[0] == 2
    for command in ("import", "info", "export", "export --run", "info --run"):
        code, shown = call("checkpoint", *command.split(), str(tmp_path / "nowhere"), "--json")
        assert code == 1, shown
        assert str(tmp_path / "nowhere") in shown
    for odd, words in (("nowhere", "nothing is there"), ("", "neither a run nor a released checkpoint")):
        code, shown = call("checkpoint", "info", str(tmp_path / odd))
        assert (code, words in shown) == (1, True)
        assert "--" not in shown.splitlines()[1], "no option is named that the command may lack"
    code, shown = call("checkpoint", "info", str(folder), "--run", str(tmp_path))
    assert (code, "give one of the two" in shown) == (2, True)


def test_the_commands_of_the_page_work_in_their_order(home, folder, rooms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename("lewm-rooms")
    shutil.copy(rooms, "rooms.h5")
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    Path("frozen.json").write_text(example)
    commands = [shlex.split(line) for line in re.findall(r"^ +lewm (.*)$", PAGE, re.MULTILINE)]
    assert [words[0] for words in commands].count("checkpoint") == 4
    shorter = {"plan": ["--samples", "8", "--elites", "2", "--iterations", "1"], "train": ["--steps", "2"]}
    for words in commands:
        if "hf:USER/REPOSITORY@main" not in words:
            code, shown = call(*words, *shorter.get(words[0], []))
            assert code == 0, (words, shown)
    assert (tmp_path / "for-stable-worldmodel" / "weights.pt").is_file()
