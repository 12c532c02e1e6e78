"""Which renderer MuJoCo is told to take."""

import ctypes.util
import importlib.util
import os
import subprocess
import sys

import pytest

from lewm_data.envs.mujoco import headless
from lewm_data.errors import DataError


@pytest.fixture(autouse=True)
def linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("MUJOCO_GL", "")


def chosen(monkeypatch, gpu, osmesa, software):
    monkeypatch.setattr(headless, "_egl_draws", lambda on_gpu: gpu if on_gpu else software)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "libOSMesa.so.8" if osmesa else None)
    return headless.choose_renderer()


@pytest.mark.parametrize(
    ("gpu", "osmesa", "software", "expected"),
    [
        (True, True, True, "egl"),
        (False, True, True, "osmesa"),
        (False, False, True, "egl"),
        (True, False, False, "egl"),
    ],
)
def test_a_gpu_draws_where_there_is_one(monkeypatch, gpu, osmesa, software, expected):
    assert chosen(monkeypatch, gpu, osmesa, software) == expected
    assert os.environ["MUJOCO_GL"] == expected


def test_what_the_user_has_set_holds(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert chosen(monkeypatch, True, True, True) == "glfw"


def test_elsewhere_mujoco_chooses(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert chosen(monkeypatch, False, False, False) == ""


def test_what_to_install_is_said(monkeypatch):
    with pytest.raises(DataError, match=r"neither EGL nor OSMesa was found\n.*apt-get install libosmesa6"):
        chosen(monkeypatch, False, False, False)


HERE = """
import ctypes, ctypes.util
from lewm_data.envs.mujoco import headless

print(headless.choose_renderer(), *(headless._egl_draws(on_gpu) for on_gpu in (True, False)))
mesa = ctypes.util.find_library("OSMesa")
if mesa:
    ctypes.CDLL(mesa, ctypes.RTLD_GLOBAL)
import triton
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_what_draws_on_this_machine_gets_on_with_triton():
    """The test needs a process of its own, because it could crash."""
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    told = subprocess.run([sys.executable, "-c", HERE], capture_output=True, text=True, env=environment)
    if "neither EGL nor OSMesa" in told.stderr:
        pytest.skip("neither EGL nor OSMesa is installed")
    assert told.returncode == 0, told.stderr
    chosen, gpu, software = told.stdout.split()
    assert chosen == ("egl" if gpu == "True" else "osmesa" if ctypes.util.find_library("OSMesa") else "egl")
    assert "True" in (gpu, software) or chosen == "osmesa"
