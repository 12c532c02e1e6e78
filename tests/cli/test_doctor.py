"""`lewm doctor`: what it says of this machine, and that it notices an operator that is wrong."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lewm_kernels
from lewm import doctor
from lewm.errors import LewmError
from lewm_cli.main import app
from lewm_kernels.dispatch import OPERATORS, choose

fast = importlib.import_module("lewm_kernels.sigreg.torch")
philox = importlib.import_module("lewm_kernels.philox")
rollout = importlib.import_module("lewm_kernels.rollout.torch")
sigreg = importlib.import_module("lewm_kernels.sigreg")


@pytest.fixture(autouse=True)
def nothing_forced(monkeypatch):
    monkeypatch.delenv("LEWM_KERNELS", raising=False)


def diagnosis_of_the_command(expected_code=0):
    shown = CliRunner().invoke(app, ["doctor", "--json"])
    assert shown.exit_code == expected_code, shown.output
    return json.loads(shown.stdout)


def test_every_operator_is_reported_on_every_device_and_passes():
    found = diagnosis_of_the_command()
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    devices += ["mps"] * torch.backends.mps.is_available()
    assert [device["name"] for device in found["devices"]] == devices
    assert all(device["memory"] > 2**28 for device in found["devices"])
    assert {(row["operator"], row["device"]) for row in found["operators"]} == {
        (operator, device) for operator in OPERATORS for device in devices
    }
    for row in found["operators"]:
        choice = choose(row["operator"], torch.device(row["device"]))
        assert (row["backend"], row["reason"]) == (choice.backend, choice.reason)
        assert 0 < row["error"] < 1e-6
    assert found["healthy"]
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["numpy"] == np.__version__


def test_the_page_for_people():
    shown = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["doctor"])
    assert shown.exit_code == 0
    for words in ("torch: the device is cpu, not cuda", torch.__version__, "GiB", "passed"):
        assert words in shown.output
    assert "failed" not in shown.output


def test_a_triton_that_cannot_be_imported_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    found = diagnosis_of_the_command()
    assert found["versions"]["triton"] is None
    assert found["healthy"]


def test_a_backend_that_is_forced_in_vain_is_a_failure(monkeypatch):
    monkeypatch.setenv("LEWM_KERNELS", "triton")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    diagnosis = doctor.diagnose()
    reports = {(report.operator, report.device): report for report in diagnosis.operators}
    refused = reports["sigreg", "cpu"]
    assert not diagnosis.healthy
    assert refused.backend is None
    assert refused.reason == (
        "expected to run in Triton because of LEWM_KERNELS=triton, but the device is cpu, not cuda."
    )
    assert reports["philox", "cpu"].healthy


def test_a_misspelt_variable_is_an_error_of_the_request(monkeypatch):
    monkeypatch.setenv("LEWM_KERNELS", "Tritom")
    with pytest.raises(LewmError) as refusal:
        doctor.diagnose()
    assert str(refusal.value).splitlines() == [
        'unknown value of the environment variable LEWM_KERNELS "Tritom"',
        'Did you mean "triton"? Known: auto, compiled, torch, triton.',
    ]


def wrong_value(monkeypatch):
    monkeypatch.setattr(fast, "_squared_modulus", lambda x: torch.view_as_real(x).square().sum(dim=-1) * 1.001)


def wrong_gradient(monkeypatch):
    horner = fast._horner
    monkeypatch.setattr(fast, "_horner", lambda anchors, c, p: (horner(anchors, c, p), p.mul_(1.001)))


def broken(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no kernel image is available\nfor this device")

    monkeypatch.setattr(fast, "_horner", fail)


def not_finite(monkeypatch):
    monkeypatch.setattr(fast, "_horner", lambda anchors, c, p: torch.view_as_real(p).fill_(torch.nan))


def wrong_words(monkeypatch):
    monkeypatch.setattr(philox, "_MULTIPLIERS", (0xD2511F53, 0xCD9E8D55))


def wrong_layout(monkeypatch):
    uniform = philox.uniform
    monkeypatch.setattr(lewm_kernels, "uniform", lambda *arguments: uniform(*arguments).flip(1))


def wrong_normal(monkeypatch):
    normal = philox.normal
    monkeypatch.setattr(lewm_kernels, "normal", lambda *arguments: normal(*arguments).neg())


def wrong_directions(monkeypatch):
    directions = philox.directions
    monkeypatch.setattr(lewm_kernels, "directions", lambda *arguments: directions(*arguments).neg())


def wrong_step(monkeypatch):
    draw = philox.directions
    monkeypatch.setattr(sigreg, "draw", lambda seed, step, D, M: draw(seed, step + 1, D, M))


def wrong_attention(monkeypatch):
    attend = rollout._attend
    monkeypatch.setattr(rollout, "_attend", lambda query, keys_values: attend(query.neg(), keys_values))


@pytest.mark.parametrize(
    ("fault", "operator", "problem"),
    [
        (wrong_value, "sigreg", "its relative error of 0.001 is above 1e-05"),
        (wrong_gradient, "sigreg", "its relative error of 0.001 is above 1e-05"),
        (broken, "sigreg", "RuntimeError: no kernel image is available"),
        (not_finite, "sigreg", "its numbers are not those of the definition"),
        (wrong_words, "philox", "its numbers are not those of the definition"),
        (wrong_layout, "philox", "its numbers are not those of the definition"),
        (wrong_normal, "philox", "its relative error of 2 is above 1e-05"),
        (wrong_directions, "philox", "its relative error of 2 is above 1e-05"),
        (wrong_step, "sigreg", "is above 1e-05"),
        (wrong_attention, "rollout", "is above 1e-05"),
    ],
)
def test_an_operator_that_is_wrong_is_noticed(fault, operator, problem, monkeypatch):
    fault(monkeypatch)
    ill = [report for report in doctor.diagnose().operators if not report.healthy]
    assert [report.operator for report in ill if report.device == "cpu"] == [operator]
    assert problem in ill[0].problem


def test_the_exit_code_of_a_failure_is_1_and_names_it():
    program = "from lewm_kernels.sigreg import reference as r; s = r.sigreg; r.sigreg = lambda *x: 2 * s(*x)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nfrom lewm_cli.main import main\nmain()", "doctor"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "failed" in done.stdout
    assert "sigreg on cpu: its relative error of 0.5 is above 1e-05" in done.stderr
    assert "LEWM_KERNELS=torch" in done.stderr
