"""What the page of a run shows, and how it names what is missing."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from lewm import recipes
from lewm.checkpoints.run import DatasetIdentity, save_tensors, write_config
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.model import build
from lewm.page.command import write_page
from lewm.page.findings import FIGURES
from lewm.page.tasks import FILMS
from lewm.report_files import write_report
from lewm.training.metrics import NUMBERS
from lewm.training.stages import settled_config
from tests.lewm.page.runs import (
    HOSTILE,
    Content,
    Page,
    embeddings_report,
    fill,
    plan_report,
    policy_report,
    probe_report,
    suite_report,
    surprise_report,
)


def test_it_shows_the_newest_of_every_part(finished):
    result = write_page(finished)
    assert result.page == str(finished / "report" / "index.html")
    before = ("model", "training", "embeddings", "head", "policy-idm")
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
        "50 steps apart, in 100,000 frames.",
        "1,000 steps, on 90,000 frames.",
        "6 of 8 75.0% 25.0% to 75.0%",
        "1 of 8 12.5%",
        "held-out (abababababab)",
        "LeWM + CEM 6 of 8",
        "CEM, samples 300, elites 30, iterations 9",
        "5 blocks, 2 executed before the next plan, which has the blocks left until the arrival",
        "3 latents",
        "0.12 s a plan",
        "Tasks that were not solved: 2 of 8 data task episode step steps taken random actions",
        "6 106 60 50 fail too 7 107 70 50 solve it",
        "6 of 9 films. Tasks that failed come first: 2 of 2 are shown.",
        "Task 6, episode 106 from step 60: not solved after 50 steps",
        "Task 0, episode 100 from step 0: solved after 30 steps",
        "64 frames of 64 held-out episodes",
        "Constant dimensions 1",
        "Not normal 0 of 7 tested dimensions",
        "in steps, on held-out episodes.",
        "normalised actions in held-out episodes, at goals",
        "Shown and measured are held-out episodes.",
        "agent, trained encoder 0.013 0.987 0.013 0.987",
        "agent, pixel PCA 0.346 0.654",
        "fitted on 60 episodes and tested on 21 others",
        "falls.mp4",
        "7; a clean video would have about 3.0",
        "900 frames of 20 clean episodes; too few for alpha 0.01, which needs 99. At most 5.7% of the frames of a",
        "1 1.50 1.75 2.25 0.0002",
        "agent teleported 2.500 0.020 4e-26 2.34 0.999 98% 0",
        "agent teleported 2.500 0.020 - - 0.500 98% -",
        "1.25% of 400 untouched frames (95 %: 0.10% to 3.00%), at alpha 0.01",
    ):
        assert words in page.said, words
    assert "2 of 8 25" not in page.said
    assert "Not there yet" not in page.said
    shown = [file.name for file in page.shown()]
    films = [f"episode-{i:04d}.mp4" for i in (6, 7, 0, 1, 2, 3)]
    assert len(films) == FILMS
    assert shown == [
        *("training.png", "scatter.png", "map.png", "reconstructions.png", "trace.png"),
        *films,
        *("rollout.mp4", "annotated.mp4", "agent-teleported.mp4"),
    ]
    assert {file.read_text() for file in page.shown()} == {"curves", *shown} - {"training.png"}


def test_the_page_names_the_method_that_was_trained(tmp_path, tiny):
    for kind, name in (("lewm", "LeWM"), ("pldm", "PLDM")):
        config = resolve(tiny, None, {"objective.kind": kind})
        write_config(tmp_path / kind, config, DatasetIdentity("data.h5", "0", (16, 16), 2, None))
        report = plan_report(6)
        report["planner"]["method"] = name
        write_report(tmp_path / kind / "plan-20260101-000000.json", Content(report))
        said = Page(write_page(tmp_path / kind).page).said
        assert f"{name} in two-room {kind} " in said
        assert f"of the goals reached by {name} + CEM" in said


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
    assert page.linked()
    assert "http" not in page.raw
    assert "@import" not in page.raw
    assert "url(" not in page.raw
    assert str(tmp_path) not in page.raw


def test_every_figure_has_a_link_to_its_data_and_every_link_a_file(finished):
    page = Page(write_page(finished).page)
    assert len(page.linked()) > 20
    figures = re.findall(r"<figure.*?</figure>|<table class=\"forest\">.*?</table>", page.raw)
    of_data = [one for one in figures if "<video" not in one]
    assert len(of_data) == 5 + 3 + 4 + 1 + 1  # pictures, charts of training, of embeddings and of success, and coverage
    for figure in of_data:
        assert re.search(r'<a class="data" href="files/[^"]+\.(csv|jsonl?)" download="', figure), figure
    trace = next(one for one in of_data if "trace.png" in one)
    assert 'href="files/surprise/trace.csv"' in trace, "a table beside a picture has its data"
    names = {file.name for file in page.linked()}
    assert {"metrics.jsonl", "embeddings.json", "plan-20260102-000000.json", "p_values.csv", "cover.csv"} <= names
    assert "config.json" not in names


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
    assert all(one["aria-label"] for one in page.elements["a"] if one.get("class") == "data")


def test_what_is_missing_is_named_with_the_command_that_makes_it(run):
    result = write_page(run)
    assert result.sections == ("model",)
    page = Page(result.page)
    for command in (
        f"lewm train --resume --out {run}",
        f"lewm train-head --run {run}",
        f"lewm train-policy --kind idm --run {run}",
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


def test_the_newest_policy_of_each_kind_has_a_part_of_its_own(run):
    for kind in ("gcbc", "gcivl"):
        fill(run, f"policy-{kind}-20260101-000000", [], policy_report(kind) | {"error": 0.5})
        fill(run, f"policy-{kind}-20260102-000000", [], policy_report(kind))
    result = write_page(run)
    assert result.sections == ("model", "policy-gcbc", "policy-gcivl")
    said = Page(result.page).said
    assert f"lewm train-policy --kind idm --run {run}" in said  # the only one that is missed
    assert said.count("the policy 0.432 always the mean action 0.998") == 2
    assert said.count("at goals which these episodes reached later. The policy was trained for 1,000 steps") == 2
    assert said.count("Rank correlation of the learnt value and the steps to the goal 0.79") == 1
    assert "lewm train-policy --kind gc" not in Page(write_page(run).page).said


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


def test_the_worst_come_first_in_surprise(run):
    report, suite = surprise_report(), suite_report()
    report["events"].append({"begin_time": 3.0, "peak_time": 3.5, "end_time": 4.0, "p_value": 1e-6})
    suite["outcomes"] = [
        {**suite["outcomes"][0], "perturbation": name, "detected": detected, "auroc": auroc}
        for name, detected, auroc in (("fine", 1.0, 1.0), ("missed", 0.1, 0.7), ("worse", 0.1, 0.6))
    ]
    fill(run, "surprise-20260101-000000", [], report)
    fill(run, "surprise-suite-20260101-000000", [], suite)
    said = Page(write_page(run).page).said
    assert "2 3.00 3.50 4.00 1e-06 1 1.50 1.75 2.25 0.0002" in said
    assert said.index("worse 2.500") < said.index("missed 2.500") < said.index("fine 2.500")


def test_maps_of_patches_say_what_of_their_embeddings_is_left_out(run):
    report = embeddings_report(dimensions=3000, frames=24)
    write_report(run / "embeddings.json", Content(report))
    page = Page(write_page(run).page)
    assert "Embeddings of more than 2,048 numbers are not compared with N(0, I)" in page.said
    assert {"spectrum.csv", "embeddings.json"} == {file.name for file in page.linked()}
    assert "normality and coverage are of" not in page.said, "neither was measured"


def test_dimensions_that_are_constant_in_the_chosen_frames_are_not_counted_as_tested(run):
    report = embeddings_report()
    report["normality"]["p_values"] = (*report["normality"]["p_values"][:6], None, None)
    write_report(run / "embeddings.json", Content(report))
    page = Page(write_page(run).page)
    assert "Constant dimensions 1 Not normal 0 of 6 tested dimensions" in page.said
    assert "normality and coverage are of 64 frames, one of each episode" in page.said


def test_collapsed_embeddings_have_a_page(run):
    write_report(run / "embeddings.json", Content(embeddings_report(spread=0.0)))
    page = Page(write_page(run).page)
    assert "Constant dimensions 8" in page.said
    assert "not shown" not in page.said


def test_pictures_that_no_page_could_hold_are_counted(run):
    fill(run, "decode-20260101-000000", [f"event-{i:03d}.png" for i in range(FIGURES + 5)], {"held_out": True})
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
    assert f'has no model.safetensors. Repair it with "lewm train --resume --out {run}".' in caplog.text
