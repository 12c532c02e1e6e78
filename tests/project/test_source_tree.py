"""A source tree that is not installed, with few other packages: commands work, and `pytest -m gpu tests/gpu` can start.

A machine with a GPU often has no more than that.
"""

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

# What the gpu tests may use, as CONTRIBUTING.md says, and what commands need besides.
PACKAGES = ("torch", "triton", "numpy", "scipy", "h5py", "safetensors", "jaxtyping", "pydantic", "gymnasium")
PACKAGES += ("beartype", "hypothesis", "pytest")
COMMANDS = ("typer", "rich")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def with_dependencies(names):
    """The installed distributions of these names and of all that they require."""
    found, wanted = {}, list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        requirements = map(Requirement, found[name].requires or [])
        wanted += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found.values()


def link(distributions, folder):
    """A folder that holds nothing but these distributions."""
    folder.mkdir()
    for distribution in distributions:
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (folder / name).exists():  # several distributions may share a namespace
                (folder / name).symlink_to(distribution.locate_file(name))
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The files of the project alone: no metadata, no history."""
    copy = tmp_path_factory.mktemp("source") / "lewm"
    copy.mkdir()
    shutil.copy(ROOT / "pyproject.toml", copy)
    for folder in ("lewm", "lewm_cli", "kernels", "data", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return copy


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The packages that the gpu tests may need."""
    return link(with_dependencies(PACKAGES), tmp_path_factory.mktemp("few") / "site")


@pytest.fixture(scope="module")
def with_commands(tmp_path_factory):
    """The packages that commands need."""
    return link(with_dependencies(PACKAGES + COMMANDS), tmp_path_factory.mktemp("commands") / "site")


def run(tree, site, program, *arguments, code=0):
    """Runs a program in the source tree that finds Python's own modules and those of `site`; what it wrote."""
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{program}"
    command = [sys.executable, "-I", "-S", "-c", program, *arguments]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def run_tests(tree, site, *arguments, code=0):
    program = "import pytest; sys.exit(pytest.main([*sys.argv[1:], '-q', '-p', 'no:cacheprovider', 'tests/gpu']))"
    return run(tree, site, program, *arguments, code=code)


def test_nothing_else_is_there(tree, few, with_commands):
    program = "import importlib.metadata; print(*{one.name for one in importlib.metadata.distributions()})"
    assert {"lewm", "av", "pymunk", "matplotlib", "typer"}.isdisjoint(run(tree, few, program).split())
    assert {"lewm", "av", "pymunk", "matplotlib"}.isdisjoint(run(tree, with_commands, program).split())


def test_every_gpu_test_is_collected(tree, few):
    collected = [line for line in run_tests(tree, few, "-m", "gpu", "--collect-only").splitlines() if "::" in line]
    marked = {file.name for file in (tree / "tests" / "gpu").glob("test_*.py") if "mark.gpu" in file.read_text()}
    assert {Path(line.split("::")[0]).name for line in collected} == marked


def test_the_rest_of_that_folder_runs(tree, few):
    assert " passed" in run_tests(tree, few)


def test_a_gpu_test_that_needs_more_is_found(tree, few, tmp_path):
    other = shutil.copytree(tree, tmp_path / "lewm")
    (other / "tests" / "gpu" / "test_pictures.py").write_text("import matplotlib\n")
    said = run_tests(other, few, "-m", "gpu", "--collect-only", code=pytest.ExitCode.INTERRUPTED)
    assert "No module named 'matplotlib'" in said


@pytest.mark.parametrize(("file", "expected"), [("pyproject.toml", VERSION), (None, "unknown")])
def test_versions_are_told_without_metadata(tree, few, tmp_path, file, expected):
    shutil.copytree(tree / "lewm", tmp_path / "lewm")
    if file:
        shutil.copy(tree / file, tmp_path)
    program = "sys.path.insert(0, '.'); import json; from lewm.provenance import commit, versions\n"
    told = run(tmp_path, few, program + "print(json.dumps([versions(), commit()]))")
    versions, commit = json.loads(told)
    assert versions["lewm"] == expected
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert commit is None


def test_commands_work(tree, with_commands, tmp_path):
    def lewm(*arguments):
        program = f"import os; os.environ['LEWM_HOME'] = {str(tmp_path)!r}; sys.path[:0] = ['.', 'kernels', 'data']\n"
        program += "import runpy; runpy.run_module('lewm_cli', run_name='__main__')"
        return json.loads(run(tree, with_commands, program, *arguments, "--json"))

    assert lewm("doctor")["versions"]["lewm"] == VERSION
    lewm("collect", "--episodes", "8", "--frame-size", "16")
    settings = ["model.frame_size=16", "model.encoder.channels=[4, 8]", "model.latent=8"]
    lewm("train", "--steps", "2", "--batch-size", "8", *(word for one in settings for word in ("--set", one)))
    lewm("plan", "--episodes", "2", "--samples", "16", "--elites", "4", "--iterations", "2", "--horizon", "1")
    assert json.loads(next(tmp_path.glob("runs/*/config.json")).read_text())["versions"]["lewm"] == VERSION
    installed = {one["name"]: one["installed"] for one in lewm("envs")["environments"]}
    assert installed["two-room"]
    assert not installed["push-t"]
