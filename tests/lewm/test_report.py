"""The page of a run: what it shows, what it escapes, and what it never touches."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from lewm.checkpoints.run import DatasetIdentity, write_config
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.report.findings import FIGURES
from lewm.report.page import MARK
from lewm.report.sections import FILMS
from lewm.report.write import write_report

VOID = {"meta", "link", "img", "br"}
HOSTILE = '<script>alert("1")&amp;\'%41 #{run}?'


class Page(HTMLParser):
    """Elements by tag, the text, and whether every element is closed."""

    def __init__(self, path):
        super().__init__()
        self.path, self.elements, self.text, self._open = Path(path), {}, [], []
        self.raw = self.path.read_text()
        self.feed(self.raw)
        self.close()
        assert not self._open
        self.said = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.elements.setdefault(tag, []).append(dict(attributes))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)

    def shown(self):
        """The files that pictures and videos point to; each is there."""
        urls = [one["src"].partition("#")[0] for one in self.elements.get("img", []) + self.elements.get("video", [])]
        files = [self.path.parent / os.fsdecode(unquote_to_bytes(url)) for url in urls]
        assert all(file.is_file() for file in files)
        return files


def success(successes, episodes):
    return {
        "success_rate": successes / episodes,
        "successes": successes,
        "episodes": episodes,
        "interval_95": [0.25, 0.75],
    }


def plan_report(successes):
    return {
        **success(successes, 8),
        "latent_distance": None,
        "random": {**success(1, 8), "latent_distance": None},
        "protocol": "held-out",
        "goal_offset": 25,
        "budget": 50,
        "discarded_solved": 3,
        "tasks_sha256": "ab" * 32,
        "seconds_per_plan": 0.123,
        "planner": {"samples": 300, "elites": 30, "iterations": 9, "horizon": 5},
        "checkpoint_sha256": "cd" * 32,
    }


def probe_report(checkpoint="cd" * 32):
    def score(value):
        return {"value": value, "interval_95": [value - 0.01, value + 0.01]}

    def probed(features, r):
        scores = {"mse": score(1 - r), "r": score(r)}
        return {"property": "agent", "features": features, "linear": scores, "mlp": scores}

    return {
        "probed": [probed("trained encoder", 0.987), probed("pixel PCA", 0.654)],
        "episodes": {"train": 60, "validation": 20, "test": 21},
        "checkpoint_sha256": checkpoint,
    }


def surprise_report(source="/data/falls.mp4", out_video=None):
    event = {"begin_time": 1.5, "peak_time": 1.75, "end_time": 2.25, "p_value": 0.0002}
    return {
        "source": source,
        "actions": "unknown: the least surprise",
        "frames": 305,
        "scored": 300,
        "flagged": 7,
        "alpha": 0.01,
        "events": [event],
        "out_video": out_video,
    }


def suite_report():
    def outcome(actions, **values):
        one = {"perturbation": "agent teleported", "actions": actions, "surprise": 2.5, "untouched": 0.02}
        return {**one, "p_value": 4e-26, "effect_size": 2.34, "auroc": 0.999, "detected": 0.98, "delay": 0.0, **values}

    unknown = outcome("unknown", p_value=None, effect_size=None, auroc=0.5, delay=None)
    alarms = {"flagged": 5, "frames": 400, "rate": 0.0125, "interval_95": [0.001, 0.03]}
    return {
        "alpha": 0.01,
        "outcomes": [outcome("known"), unknown],
        "false_alarms": [{"actions": actions, **alarms} for actions in ("known", "unknown")],
    }


def fill(run, name, media, report=None):
    """A report of this name and its pictures, whose content is their own name."""
    (run / f"{name}.json").write_text(json.dumps(report or {}))
    (run / name).mkdir()
    for one in media:
        (run / name / one).write_bytes(os.fsencode(one))


@pytest.fixture
def run(tmp_path, tiny):
    """A run that has just begun."""
    directory = tmp_path / "runs" / "mine"
    write_config(directory, tiny, DatasetIdentity("/data/rooms.h5", "ef" * 32, (16, 16), 20))
    return directory


@pytest.fixture
def finished(run):
    """A run with something of every part."""
    health = {
        "std_min": 0.21,
        "std_mean": 0.93,
        "effective_rank": 5.31,
        "distance_correlation": 0.77,
        "curve": [[1, 2]],
    }
    lines = [{"step": step, "prediction": 0.5 / step, "sigreg": 8.0, "clips_per_second": 1234.5} for step in (1, 2, 3)]
    lines[1]["health"] = health
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "training.png").write_text("curves")
    fill(run, "plan-20260101-000000", ["episode-0000.mp4"], plan_report(2))
    fill(run, "plan-20260102-000000", [f"episode-{i:04d}.mp4" for i in range(9)], plan_report(6))
    fill(run, "probe-20260101-000000", ["scatter.png", "map.png", "notes.txt"], probe_report())
    fill(run, "decode-20260101-000000", ["rollout.mp4", "reconstructions.png"])
    annotated = run.parent / "annotated.mp4"
    annotated.write_text("annotated.mp4")
    fill(run, "surprise-20260101-000000", ["trace.png"], surprise_report(out_video=str(annotated)))
    fill(run, "surprise-suite-20260101-000000", ["agent-teleported.mp4"], suite_report())
    return run


def test_it_shows_the_newest_of_every_part(finished):
    result = write_report(finished)
    assert result.page == str(finished / "report" / "index.html")
    assert result.sections == ("model", "training", "planning", "probing", "decoding", "surprise", "suite")
    page = Page(result.page)
    for words in (
        "mine",
        "rooms.h5 (efefefefefef)",
        "0.1667",  # the last line's prediction error
        "5.3",
        "clips a second",
        "6 of 8 75.0% 25.0% to 75.0%",
        "1 of 8 12.5%",
        "held-out (abababababab)",
        "0.12 s a plan",
        "6 of 9 films",
        "agent, trained encoder 0.013 0.987 0.013 0.987",
        "agent, pixel PCA 0.346 0.654",
        "fitted on 60 episodes and tested on 21 others",
        "falls.mp4",
        "7; a clean video would have about 3.0",
        "1 1.50 1.75 2.25 0.0002",
        "agent teleported 2.500 0.020 4e-26 2.34 0.999 98% 0",
        "agent teleported 2.500 0.020 - - 0.500 98% -",
        "1.25% of 400 untouched frames (95 %: 0.10% to 3.00%), at alpha 0.01",
    ):
        assert words in page.said, words
    assert "2 of 8" not in page.said
    assert "Not there yet" not in page.said
    shown = [file.name for file in page.shown()]
    films = [f"episode-{i:04d}.mp4" for i in range(FILMS)]
    assert shown == [
        *("training.png", "scatter.png", "map.png", "reconstructions.png", "trace.png"),
        *films,
        *("rollout.mp4", "annotated.mp4", "agent-teleported.mp4"),
    ]
    assert {file.read_text() for file in page.shown()} == {"curves", *shown} - {"training.png"}


def test_it_needs_nothing_but_its_folder(finished, tmp_path):
    folder = Path(write_report(finished).page).parent
    moved = folder.rename(tmp_path / "sent to a colleague")
    page = Page(moved / "index.html")
    assert len(page.shown()) == 14
    assert not {"script", "iframe", "form"} & set(page.elements)
    for elements in page.elements.values():
        for one in elements:
            for name in ("src", "href"):
                assert not one.get(name, "").startswith(("http", "/", "file:")), one
    assert "http" not in page.raw
    assert "@import" not in page.raw
    assert "url(" not in page.raw
    assert str(tmp_path) not in page.raw


def test_it_says_to_everyone_what_is_shown(finished):
    page = Page(write_report(finished).page)
    assert page.elements["html"] == [{"lang": "en"}]
    assert all(one["alt"] for one in page.elements["img"])
    assert all(one["aria-label"] for one in page.elements["video"])
    for one in page.elements["video"]:
        assert {"controls", "muted", "loop", "playsinline"} <= set(one)
    anchors = {one["id"] for one in page.elements["section"]}
    links = {one["href"][1:] for one in page.elements["a"] if one["href"].startswith("#")}
    assert links == anchors


def test_what_is_missing_is_named_with_the_command_that_makes_it(run):
    result = write_report(run)
    assert result.sections == ("model",)
    page = Page(result.page)
    for command in (
        f"lewm train --resume --out {run}",
        f"lewm plan --video mp4 --run {run}",
        f"lewm probe --run {run}",
        f"lewm decode --run {run}",
        f"lewm surprise VIDEO --run {run}",
        f"lewm surprise --suite two-room --run {run}",
    ):
        assert command in page.said, command
    assert page.shown() == []


def test_a_training_that_has_not_logged_yet_is_no_training(run):
    (run / "metrics.jsonl").touch()
    assert write_report(run).sections == ("model",)


def test_where_success_is_not_known_the_distances_are_shown(run):
    def unknown(start, end):
        known = dict.fromkeys(("success_rate", "successes", "interval_95"))
        return {**known, "episodes": 8, "latent_distance": {"start": start, "end": end}}

    report = {**plan_report(1), **unknown(16.1, 7.16), "random": unknown(16.1, 14.3), "goal_offset": None}
    fill(run, "plan-20260101-000000", [], report)
    page = Page(write_report(run).page)
    for words in (
        "LeWM + CEM 16.1 7.16",
        "random actions 16.1 14.3",
        "in a picture",
        "16.1 → 7.16",
        "mean over 8 tasks",
    ):
        assert words in page.said, words
    assert "95 %" not in page.said


def test_names_are_text(tmp_path, tiny):
    run = tmp_path / HOSTILE
    write_config(run, tiny, DatasetIdentity(f"/data/{HOSTILE}.h5", HOSTILE, (16, 16), 20))
    report = {**plan_report(1), "protocol": HOSTILE, "tasks_sha256": HOSTILE}
    fill(run, "plan-20260101-000000", [f"{HOSTILE}.mp4"], report)
    media = [f"{HOSTILE}.png", os.fsdecode(b"\xff.png")]
    fill(run, "surprise-20260101-000000", media, surprise_report(f"/data/{HOSTILE}", "/gone.mp4"))
    page = Page(write_report(run).page)
    assert "script" not in page.elements
    assert page.elements["title"] == [{}]
    assert page.said.count(HOSTILE) > 6
    contents = [file.read_bytes() for file in page.shown()]
    assert contents == [f"{HOSTILE}.png".encode(), b"\xff.png", f"{HOSTILE}.mp4".encode()]


def test_pictures_that_no_page_could_hold_are_counted(run):
    fill(run, "decode-20260101-000000", [f"event-{i:03d}.png" for i in range(FIGURES + 5)])
    page = Page(write_report(run).page)
    assert len(page.shown()) == FIGURES
    assert f"{FIGURES} of {FIGURES + 5} pictures and videos" in page.said


def test_results_of_other_weights_are_marked(run):
    (run / "model.safetensors").write_text("weights")
    fill(run, "probe-20260101-000000", [], probe_report(sha256(run / "model.safetensors")))
    assert "other weights" not in Page(write_report(run).page).said
    (run / "model.safetensors").write_text("trained further")
    assert "Made with other weights than the run has now." in Page(write_report(run).page).said


def test_an_earlier_report_is_replaced_as_a_whole(finished, tmp_path):
    out = tmp_path / "deep" / "down" / "page"
    write_report(finished, out)
    old = {file.name for file in (out / "files" / "planning").iterdir()}
    (finished / "plan-20260102-000000.json").unlink()
    write_report(finished, out)
    assert {file.name for file in (out / "files" / "planning").iterdir()} == {"episode-0000.mp4"} != old
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == (tmp_path / "deep").stat().st_mode & 0o777


def test_the_earlier_report_comes_back_when_the_new_one_cannot_take_its_place(run, tmp_path, monkeypatch):
    page = Path(write_report(run, tmp_path / "page").page)
    before, rename = page.read_bytes(), Path.rename

    def refused(self, target):
        if self.name == "new":
            raise PermissionError(13, "Permission denied", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        write_report(run, tmp_path / "page")
    assert page.read_bytes() == before


def test_an_empty_folder_will_do(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert Path(write_report(run, tmp_path / "empty").page).is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "years of work"), ("index.html", "<h1>mine</h1>"), ("files", "a file"), (".git", "")],
)
def test_what_is_not_a_report_is_left_alone(run, tmp_path, name, content):
    out = tmp_path / "precious"
    out.mkdir()
    (out / name).write_text(content)
    with pytest.raises(LewmError, match=f"precious: holds {name}, which is not part of a report"):
        write_report(run, out)
    assert (out / name).read_text() == content
    assert {one.name for one in out.iterdir()} == {name}


def test_what_someone_put_into_a_report_is_left_alone(run, tmp_path):
    out = tmp_path / "page"
    write_report(run, out)
    (out / "remarks.md").write_text("mine")
    with pytest.raises(LewmError, match=r"holds remarks.md"):
        write_report(run, out)
    assert (out / "remarks.md").read_text() == "mine"


def test_a_file_is_not_a_folder(run, tmp_path):
    (tmp_path / "page").write_text(MARK)
    with pytest.raises(LewmError, match="holds page, which is not part of a report"):
        write_report(run, tmp_path / "page")
    assert (tmp_path / "page").read_text() == MARK


@pytest.mark.parametrize("content", ["", "{", "[]", '{"success_rate": 1}', "[1, 2]", '"text"'])
def test_a_damaged_report_is_named_and_the_earlier_page_kept(finished, content):
    page = Path(write_report(finished).page)
    before, listed = page.read_bytes(), sorted(one.name for one in finished.iterdir())
    damaged = finished / "plan-20260103-000000.json"
    damaged.write_text(content + " ")
    with pytest.raises(LewmError, match=r"plan-20260103-000000.json: not as this version of lewm writes it"):
        write_report(finished)
    assert page.read_bytes() == before
    damaged.unlink()
    assert sorted(one.name for one in finished.iterdir()) == listed


def test_without_a_run_there_is_no_page(tmp_path):
    with pytest.raises(LewmError, match="no such run"):
        write_report(tmp_path / "nothing", tmp_path / "page")
    assert not (tmp_path / "page").exists()
