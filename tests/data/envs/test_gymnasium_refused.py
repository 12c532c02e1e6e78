"""Gymnasium environments that cannot be used: unknown, not drawing, or without a package that they need."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import gymnasium
import pytest

from lewm_data.envs.gymnasium import drawing
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from tests.data.envs.lanes import PACKAGE, lane

pytestmark = pytest.mark.usefixtures("gymnasium_package")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("CartPole-v7", 'unknown environment "CartPole-v7"\nDid you mean "CartPole-v1"'),
        ("tworoom", 'Did you mean "two-room"'),
        (f"{PACKAGE}:Line-v0", 'unknown environment "Line-v0"\nDid you mean "Lane-v0"'),
        ("no_such_package:Lane-v0", "environment no_such_package:Lane-v0: no_such_package cannot be imported"),
        (f"{PACKAGE}:LaneBoundless-v0", "LaneBoundless-v0: the actions are Box.*expected Discrete"),
        (f"{PACKAGE}:LaneListing-v0", r"LaneListing-v0: draws list, expected uint8 \(Y, X, 3\): it cannot be learnt"),
        (f"{PACKAGE}:LaneModeless-v0", "LaneModeless-v0: takes no render_mode"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_what_cannot_be_used_is_said(name, problem):
    with pytest.raises(DataError, match=problem):
        world(name)


def test_an_installed_package_that_cannot_be_imported_is_said(tmp_path, monkeypatch):
    """In the user's own code, the exception stays as it is: its line is shown."""
    for folder, module in (("site-packages", "spoilt_package"), ("mine", "my_spoilt_module")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{module}.py").write_text("raise RuntimeError('no operator')")
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    problem = (
        r"environment spoilt_package:Lane-v0: spoilt_package cannot be imported: RuntimeError: no operator\nRepair"
    )
    with pytest.raises(DataError, match=problem):
        world("spoilt_package:Lane-v0")
    with pytest.raises(RuntimeError, match="no operator"):
        world("my_spoilt_module:Lane-v0")


def test_an_environment_that_does_not_draw_is_said():
    with (
        pytest.warns(UserWarning, match="render_mode='rgb_array'"),
        pytest.raises(DataError, match="LaneSilent-v0: has the render modes human: it cannot be learnt from pixels"),
    ):
        lane("Silent")


def test_what_drawing_needs_is_said_where_it_is_missing(monkeypatch):
    lane()
    entry = gymnasium.registry["Lane-v0"].entry_point

    def missing(self):
        raise gymnasium.error.DependencyNotInstalled('Run: pip install "a-screen"')

    monkeypatch.setattr(entry, "render", missing)
    world.cache_clear()
    with pytest.raises(DataError, match=r"Lane-v0: cannot be made or drawn: .*a-screen"):
        lane()


@pytest.mark.parametrize("module", list(drawing.EXTRAS))
def test_the_extra_that_brings_what_gymnasium_lacks_is_named(monkeypatch, module):
    """Gymnasium's own advice would install another version than this project is tested with."""
    lane()
    entry = gymnasium.registry["Lane-v0"].entry_point
    monkeypatch.setitem(sys.modules, module, None)

    def missing(self):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise gymnasium.error.DependencyNotInstalled(f"{module} is not installed, run `pip`") from error

    monkeypatch.setattr(entry, "render", missing)
    world.cache_clear()
    with pytest.raises(DataError) as refused:
        lane()
    assert refused.value.problem == f"Lane-v0: needs {module}, which is not installed"
    extra = re.search(r'pip install -e "\.\[(.*)\]" -c constraints.txt$', refused.value.remedy)
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert extra is not None
    assert extra[1] in project["optional-dependencies"]


def test_cart_pole_needs_pygame(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    world.cache_clear()
    with pytest.raises(DataError, match=r"CartPole-v1: needs pygame, which is not installed\n.*\.\[gymnasium\]"):
        world("CartPole-v1")
