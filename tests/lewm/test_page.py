"""The page of a run: what it shows, what it escapes, and what it never touches."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import torch

from lewm import recipes
from lewm.checkpoints.run import DatasetIdentity, save_tensors, write_config
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.model import build
from lewm.page.command import write_page
from lewm.page.document import MARK
from lewm.page.findings import FIGURES
from lewm.page.media import LARGEST
from lewm.page.sections import FILMS
from lewm.report_files import new_report, read_report, write_report
from lewm.training.metrics import NUMBERS
from lewm.training.stages import settled_config

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


@dataclass(frozen=True)
class Content:
    """A report of this content."""

    content: dict

    def as_dict(self):
        return self.content


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
        "planner": {
            "agent": "planner",
            "warm_start": "off",
            "planner": {"kind": "cem", "samples": 300, "elites": 30, "iterations": 9},
            "cost": {"kind": "last"},
            "horizon": 5,
            "execute": 2,
            "horizon_end": "shrink",
            "context": 3,
        },
        "checkpoint_sha256": "cd" * 32,
    }


def head_report():
    return {
        "errors": [
            {"least": 1, "most": 25, "real": 3.44, "imagined": 4.55},
            {"least": 26, "most": 50, "real": 6.66, "imagined": None},
        ],
        "real": {"head": 0.91, "distance": 0.52},
        "imagined": None,
        "head": {"steps": 2000, "longest": 50},
        "checkpoint_sha256": "cd" * 32,
    }


def policy_report():
    return {
        "error": 0.4321,
        "mean_action": 0.998,
        "policy": {"steps": 1000, "longest": 50},
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
    write_report(run / f"{name}.json", Content(report or {}))
    (run / name).mkdir()
    for one in media:
        (run / name / one).write_bytes(os.fsencode(one))


@pytest.fixture
def run(tmp_path, tiny):
    """A run that has just begun."""
    directory = tmp_path / "runs" / "mine"
    write_config(directory, tiny, DatasetIdentity("/data/rooms.h5", "ef" * 32, (16, 16), 20, "two-room"))
    return directory


@pytest.fixture
def finished(run):
    """A run with something of every part."""
    health = {
        "std_min": 0.21,
        "std_mean": 0.93,
        "effective_rank": 5.31,
        "sigreg": 9.0,
        "distance_correlation": 0.77,
        "curve": [[1, 2]],
    }
    lines = [
        dict.fromkeys(NUMBERS, 1234.5) | {"step": step, "terms": {"prediction": 0.5 / step, "sigreg": 8.0}}
        for step in (1, 2, 3)
    ]
    lines[1]["health"] = health
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "training.png").write_text("curves")
    fill(run, "head-20260101-000000", [], head_report())
    fill(run, "policy-20260101-000000", [], policy_report())
    fill(run, "plan-20260101-000000", ["episode-0000.mp4"], plan_report(2))
    fill(run, "plan-20260102-000000", [f"episode-{i:04d}.mp4" for i in range(9)], plan_report(6))
    fill(run, "probe-20260101-000000", ["scatter.png", "map.png", "notes.txt"], probe_report())
    fill(run, "decode-20260101-000000", ["rollout.mp4", "reconstructions.png"])
    annotated = run / "annotated.mp4"
    annotated.write_text("annotated.mp4")
    fill(run, "surprise-20260101-000000", ["trace.png"], surprise_report(out_video=str(annotated)))
    fill(run, "surprise-suite-20260101-000000", ["agent-teleported.mp4"], suite_report())
    return run


def test_it_shows_the_newest_of_every_part(finished):
    result = write_page(finished)
    assert result.page == str(finished / "report" / "index.html")
    before = ("model", "training", "head", "policy")
    assert result.sections == (*before, "planning", "probing", "decoding", "surprise", "suite")
    page = Page(result.page)
    for words in (
        "mine",
        "rooms.h5 (efefefefefef)",
        "prediction 0.1667 term of the loss",  # the value in the last line
        "5.3",
        "clips a second",
        "1 to 25 3.4 4.5 26 to 50 6.7 -",
        "real latents 0.91 0.52 The errors are means in steps",
        "the policy 0.432 always the mean action 0.998",
        "6 of 8 75.0% 25.0% to 75.0%",
        "1 of 8 12.5%",
        "held-out (abababababab)",
        "LeWM + CEM 6 of 8",
        "CEM, samples 300, elites 30, iterations 9",
        "5 blocks, 2 executed before the next plan, which has the blocks left until the arrival",
        "3 latents",
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


def test_trained_and_frozen_parameters_are_counted_apart(tmp_path, tiny):
    conv = build(tiny.model).encoder
    frozen = {"kind": "frozen", "weights": "tensors.pt", "encoder": tiny.model.encoder.model_dump()}
    for name, config in (("all", tiny), ("some", resolve(tiny, None, {"model.encoder": frozen}))):
        model = build(config.model)
        directory = tmp_path / name
        write_config(directory, config, DatasetIdentity("data.h5", "0", (16, 16), 2, None))
        save_tensors(directory / "model.safetensors", model.state_dict())
        said = Page(write_page(directory).page).said
        learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
        still = sum(p.numel() for p in conv.parameters())
        assert f"trained parameters {learnt:,}" in said
        assert (f"frozen parameters {still:,}" in said) == (name == "some")


def test_it_needs_nothing_but_its_folder(finished, tmp_path):
    folder = Path(write_page(finished).page).parent
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
    page = Page(write_page(finished).page)
    assert page.elements["html"] == [{"lang": "en"}]
    assert all(one["alt"] for one in page.elements["img"])
    assert all(one["aria-label"] for one in page.elements["video"])
    for one in page.elements["video"]:
        assert {"controls", "muted", "loop", "playsinline"} <= set(one)
    anchors = {one["id"] for one in page.elements["section"]}
    links = {one["href"][1:] for one in page.elements["a"] if one["href"].startswith("#")}
    assert links == anchors


def test_what_is_missing_is_named_with_the_command_that_makes_it(run):
    result = write_page(run)
    assert result.sections == ("model",)
    page = Page(result.page)
    for command in (
        f"lewm train --resume --out {run}",
        f"lewm train-head --run {run}",
        f"lewm train-policy --run {run}",
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
    assert write_page(run).sections == ("model",)


def test_a_line_that_is_being_written_hides_no_others(finished):
    whole = (finished / "metrics.jsonl").read_text()
    (finished / "metrics.jsonl").write_text(whole + '{"step": 4, "lo')
    assert "Effective rank 5.3" in Page(write_page(finished).page).said
    (finished / "metrics.jsonl").write_text('{"step": 1, "lo')
    assert "metrics.jsonl is not shown: no whole line in it" in Page(write_page(finished).page).said


@pytest.mark.parametrize(
    ("execute", "end", "told"),
    [
        (None, "shrink", "5 executed Context"),
        (5, "fixed", "5 executed Context"),
        (1, "fixed", "1 executed before the next plan, which has as many blocks Context"),
    ],
)
def test_how_much_of_a_plan_is_executed(run, execute, end, told):
    report = plan_report(6)
    report["planner"] |= {"execute": execute, "horizon_end": end, "cost": {"kind": "head", "path": "/home/me/a.pt"}}
    fill(run, "plan-20260101-000000", [], report)
    said = Page(write_page(run).page).said
    assert f"Cost head, path a.pt Search begins anew Horizon 5 blocks, {told} 3 latents" in said


@pytest.mark.parametrize(
    ("agent", "warm_start", "told"),
    [
        ("planner", "off", "Cost last Search begins anew Horizon"),
        ("planner", "idm", "Cost last Search begins at the plan of the run's policy Horizon"),
        ("idm", "off", "Policy learnt on the run's latents, no search Horizon"),
    ],
)
def test_who_decides_and_where_a_search_begins(run, agent, warm_start, told):
    report = plan_report(6)
    report["planner"] |= {"agent": agent, "warm_start": warm_start}
    fill(run, "plan-20260101-000000", [], report)
    said = Page(write_page(run).page).said
    assert told in said
    assert ("Cost" in said) == (agent == "planner")


def test_stages_are_shown_with_their_pictures(tmp_path):
    config, run = settled_config(recipes.small("push-t", 2)), tmp_path / "run"
    identity = DatasetIdentity("/data/t.h5", "ef" * 32, (64, 64), 20, "push-t")
    directories = {name: run / "stages" / name for name in config.stages}
    for name, directory in directories.items():
        write_config(directory, config.stages[name].config(config), identity)
    write_config(run, config, identity)
    for number, directory in enumerate((*directories.values(), run)):
        terms = {"prediction": 0.1 + number, "sigreg": 7.0}
        (directory / "metrics.jsonl").write_text(
            json.dumps(dict.fromkeys(NUMBERS, 1.0) | {"step": 100, "terms": terms}) + "\n"
        )
        (directory / "training.png").write_text(directory.name)
    page = Page(write_page(run).page)
    for words in ("100 prediction 0.1, sigreg 7 - -", "100 prediction 1.1, sigreg 7 - -", "prediction 2.1 term"):
        assert words in page.said, words
    shown = {file.name: file.read_text() for file in page.shown()}
    assert shown == {
        "keypoints-training.png": "keypoints",
        "features-training.png": "features",
        "training.png": "run",
    }


def test_where_success_is_not_known_the_distances_are_shown(run):
    def unknown(start, end):
        known = dict.fromkeys(("success_rate", "successes", "interval_95"))
        return {**known, "episodes": 8, "latent_distance": {"start": start, "end": end}}

    report = {**plan_report(1), **unknown(16.1, 7.16), "random": unknown(16.1, 14.3), "goal_offset": None}
    fill(run, "plan-20260101-000000", [], report)
    page = Page(write_page(run).page)
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
    write_config(run, tiny, DatasetIdentity(f"/data/{HOSTILE}.h5", HOSTILE, (16, 16), 20, "two-room"))
    report = {**plan_report(1), "protocol": HOSTILE, "tasks_sha256": HOSTILE}
    fill(run, "plan-20260101-000000", [f"{HOSTILE}.mp4"], report)
    media = [f"{HOSTILE}.png", os.fsdecode(b"\xff.png")]
    fill(run, "surprise-20260101-000000", media, surprise_report(f"/data/{HOSTILE}", "/gone.mp4"))
    page = Page(write_page(run).page)
    assert "script" not in page.elements
    assert page.elements["title"] == [{}]
    assert page.said.count(HOSTILE) > 6
    contents = [file.read_bytes() for file in page.shown()]
    assert contents == [f"{HOSTILE}.png".encode(), b"\xff.png", f"{HOSTILE}.mp4".encode()]


def test_pictures_that_no_page_could_hold_are_counted(run):
    fill(run, "decode-20260101-000000", [f"event-{i:03d}.png" for i in range(FIGURES + 5)])
    page = Page(write_page(run).page)
    assert len(page.shown()) == FIGURES
    assert f"{FIGURES} of {FIGURES + 5} pictures and videos" in page.said


def test_results_of_other_weights_are_marked(run, tiny):
    weights = build(tiny.model).state_dict()
    save_tensors(run / "model.safetensors", weights)
    fill(run, "probe-20260101-000000", [], probe_report(sha256(run / "model.safetensors")))
    assert "other weights" not in Page(write_page(run).page).said
    weights["projector.0.bias"] += 1
    save_tensors(run / "model.safetensors", weights)
    assert "Made with other weights than the run has now." in Page(write_page(run).page).said


def test_there_is_no_page_over_weights_that_are_not_finite_or_damaged(run, tiny):
    weights = build(tiny.model).state_dict()
    weights["projector.0.weight"].fill_(torch.nan)
    save_tensors(run / "model.safetensors", weights)
    with pytest.raises(LewmError, match=r"model\.safetensors: not finite: projector\.0\.weight"):
        write_page(run)
    (run / "model.safetensors").write_text("weights")
    with pytest.raises(LewmError, match=r"model\.safetensors: not a safetensors file"):
        write_page(run)


def test_weights_that_are_gone_are_said(run, caplog):
    write_page(run)
    assert f'has no model.safetensors; "lewm train --resume --out {run}" writes it' in caplog.text


def test_an_earlier_report_is_replaced_as_a_whole(finished, tmp_path):
    out = tmp_path / "deep" / "down" / "page"
    write_page(finished, out)
    old = {file.name for file in (out / "files" / "planning").iterdir()}
    (finished / "plan-20260102-000000.json").unlink()
    write_page(finished, out)
    assert {file.name for file in (out / "files" / "planning").iterdir()} == {"episode-0000.mp4"} != old
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == (tmp_path / "deep").stat().st_mode & 0o777


def test_the_earlier_report_comes_back_when_the_new_one_cannot_take_its_place(run, tmp_path, monkeypatch):
    page = Path(write_page(run, tmp_path / "page").page)
    before, rename = page.read_bytes(), Path.rename

    def refused(self, target):
        if self.name == "new":
            raise PermissionError(13, "Permission denied", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        write_page(run, tmp_path / "page")
    assert page.read_bytes() == before


def test_an_empty_folder_will_do(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert Path(write_page(run, tmp_path / "empty").page).is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "years of work"), ("index.html", "<h1>mine</h1>"), ("files", "a file"), (".git", "")],
)
def test_what_is_not_a_report_is_left_alone(run, tmp_path, name, content):
    out = tmp_path / "precious"
    out.mkdir()
    (out / name).write_text(content)
    with pytest.raises(LewmError, match=f"precious: holds {name}, which is not part of a report"):
        write_page(run, out)
    assert (out / name).read_text() == content
    assert {one.name for one in out.iterdir()} == {name}


def test_what_someone_put_into_a_report_is_left_alone(run, tmp_path):
    out = tmp_path / "page"
    write_page(run, out)
    (out / "remarks.md").write_text("mine")
    with pytest.raises(LewmError, match=r"holds remarks.md"):
        write_page(run, out)
    assert (out / "remarks.md").read_text() == "mine"


def test_a_file_is_not_a_folder(run, tmp_path):
    (tmp_path / "page").write_text(MARK)
    with pytest.raises(LewmError, match="holds page, which is not part of a report"):
        write_page(run, tmp_path / "page")
    assert (tmp_path / "page").read_text() == MARK


DAMAGED = {
    "empty": b" ",
    "cut": b"{",
    "list": b"[]",
    "text": b'"text"',
    "no checksum": b'{"success_rate": 1}',
    "not UTF-8": b"\xff",
    "NaN": b'{"success_rate": NaN, "sha256": ""}',
    "infinite": b'{"success_rate": 1e999, "sha256": ""}',
    "digits": b'{"success_rate": ' + b"9" * 6000 + b', "sha256": ""}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_report_is_one_line_of_the_page(finished, content):
    (finished / "plan-20260103-000000.json").write_bytes(content)
    page = Page(write_page(finished).page)
    assert page.said.count("plan-20260103-000000.json is not shown: ") == 1
    assert "by plans" not in page.said
    assert "agent, trained encoder 0.013 0.987" in page.said


def test_a_report_that_was_changed_shows_no_number(finished):
    path = finished / "plan-20260102-000000.json"
    assert read_report(path)["successes"] == 6
    path.write_text(path.read_text().replace('"successes": 6', '"successes": 8'))
    page = Page(write_page(finished).page)
    assert "plan-20260102-000000.json is not shown: damaged, or changed after it was written" in page.said
    assert f"make it again: lewm plan --video mp4 --run {finished}" in page.said
    assert "8 of 8" not in page.said


@pytest.mark.parametrize(
    "change",
    [
        {"success_rate": "0.5"},
        {"success_rate": [[0.5]]},
        {"successes": {"a": 1}, "interval_95": None},
        {"interval_95": [0.25]},
        {"random": 7},
        {"planner": []},
        {"planner": plan_report(6)["planner"] | {"planner": {"kind": 5}}},
        {"planner": plan_report(6)["planner"] | {"cost": "last"}},
        {"planner": plan_report(6)["planner"] | {"horizon": None}},
        {"budget": None, "seconds_per_plan": "x"},
        {"tasks_sha256": 5},
    ],
)
def test_a_report_of_other_types_is_one_line_of_the_page(finished, change):
    fill(finished, "plan-20260103-000000", ["episode-0000.mp4"], {**plan_report(6), **change})
    page = Page(write_page(finished).page)
    assert "plan-20260103-000000.json is not shown: not as this version of lewm writes it" in page.said
    assert "by plans" not in page.said


def test_a_number_that_is_not_known_is_a_dash(run):
    report = probe_report()
    report["probed"][0]["mlp"] = {score: {"value": float("nan"), "interval_95": [0, 0]} for score in ("mse", "r")}
    fill(run, "probe-20260101-000000", [], report)
    assert "agent, trained encoder 0.013 0.987 - -" in Page(write_page(run).page).said


def test_the_newest_of_one_second_is_the_one_with_the_greatest_number(run):
    for number in ("", "-2", "-10", "-9"):
        fill(run, f"plan-20260101-000000{number}", [], plan_report(len(number)))
    assert "plan-20260101-000000-10.json" in Page(write_page(run).page).said


def test_a_claim_is_no_report(run):
    with new_report(run, "plan") as path:
        path.with_suffix("").mkdir()
        (path.with_suffix("") / "episode-0000.mp4").write_text("film")
        assert write_page(run).sections == ("model",)


def test_only_regular_files_inside_the_run_are_shown(finished):
    secret = finished.parent / "secret.png"
    secret.write_text("secret")
    pictures = finished / "probe-20260101-000000"
    (pictures / "link.png").symlink_to(secret)
    (pictures / "nowhere.png").symlink_to(finished / "nothing")
    (pictures / "round.png").symlink_to("round.png")
    (pictures / "inside.png").symlink_to(finished / "training.png")
    (pictures / "folder.png").mkdir()
    os.mkfifo(pictures / "pipe.png")
    with (pictures / "huge.png").open("wb") as file:
        file.truncate(LARGEST + 1)
    (finished / "plan-20260102-000000").rename(finished.parent / "films")
    (finished / "plan-20260102-000000").symlink_to(finished.parent / "films")
    (finished / "training.png").rename(finished.parent / "training.png")
    (finished / "training.png").symlink_to(finished.parent / "training.png")
    (pictures / "inside.png").unlink()
    (pictures / "inside.png").symlink_to("map.png")
    page = Page(write_page(finished).page)
    shown = [file.name for file in page.shown()]
    assert "inside.png" in shown
    assert not {"link.png", "pipe.png", "huge.png", "training.png", "episode-0000.mp4"} & set(shown)
    assert "secret" not in "".join(file.read_text() for file in page.shown())
    named = "at most 128 MiB: folder.png, huge.png, link.png, nowhere.png, pipe.png, round.png."
    assert f"Left out, because not a regular file inside the run of {named}" in page.said
    assert "episode-0000.mp4, episode-0001.mp4" in page.said


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "loop"])
def test_a_report_that_is_no_regular_file_is_named(finished, kind):
    path = finished / "plan-20260103-000000.json"
    outside = finished.parent / "outside.json"
    write_report(outside, Content(plan_report(5)))
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    page = Page(write_page(finished).page)
    assert "plan-20260103-000000.json is not shown: not a regular file inside the run." in page.said
    assert "5 of 8" not in page.said


def test_an_annotated_video_outside_the_run_is_named(run, tmp_path):
    (tmp_path / "passwd.mp4").write_text("secret")
    fill(run, "surprise-20260101-000000", [], surprise_report(out_video=str(tmp_path / "passwd.mp4")))
    page = Page(write_page(run).page)
    assert f"The annotated video is not in the run: {tmp_path / 'passwd.mp4'}" in page.said
    assert page.shown() == []


def test_names_of_reports_and_what_cannot_be_seen_are_text(run):
    for name in (f"plan-2{HOSTILE.replace('/', '')}[a-z]*", os.fsdecode(b"probe-2\xff\x1b[31m\n")):
        report = plan_report(3) if name.startswith("plan") else probe_report()
        fill(run, name, ["a.png", os.fsdecode(b"\xfe\n\"'><i>.png")], report)
    page = Page(write_page(run).page)
    assert not {"script", "i"} & set(page.elements)
    assert "probe-2\\udcff\\x1b[31m\\n.json" in page.said
    assert "3 of 8" in page.said
    assert [file.name for file in page.shown()].count("a.png") == 2
    assert len(page.shown()) == 4
    assert "\x1b" not in page.raw


def test_a_link_in_the_place_of_the_page_is_not_followed(run, tmp_path):
    (run / "report").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LewmError, match="a link that leads out of the run\nName the folder of the page with --out"):
        write_page(run)
    assert not (tmp_path / "elsewhere").exists()


def test_pages_made_at_once_are_whole(finished, tiny, tmp_path):
    save_tensors(finished / "model.safetensors", build(tiny.model).state_dict())
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "lewm_cli", "report", "--run", str(finished), "--out", str(tmp_path / "page")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [(one.communicate()[1], one.returncode) for one in commands] == [("", 0)] * 3
    assert len(Page(tmp_path / "page" / "index.html").shown()) == 14
    assert sorted(one.name for one in tmp_path.iterdir()) == ["page", "runs"]


def test_a_folder_that_cannot_be_made_is_found_at_once(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LewmError, match="file: cannot be written to: Not a directory\nGive --out a folder"):
        write_page(run, tmp_path / "file" / "page")


def test_without_a_run_there_is_no_page(tmp_path):
    with pytest.raises(LewmError, match="no such run"):
        write_page(tmp_path / "nothing", tmp_path / "page")
    assert not (tmp_path / "page").exists()
