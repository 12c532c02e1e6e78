"""The tests of Triton kernels, in the interpreter and in the compiler, which need processes of their own."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

HERE = Path(__file__).parent


def run(file, **variables):
    """Runs a file of tests with these variables; what it said of itself."""
    others = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(HERE / file)]
    done = subprocess.run(command, env={**others, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize(
    ("file", "variable"),
    [
        (f"test_{operator}_{tier}.py", variable)
        for operator in ("candidates", "rollout", "sigreg")
        for tier, variable in (("triton", "TRITON_INTERPRET"), ("compile", "LEWM_COMPILE_ONLY"))
    ]
    + [("test_compiling_compile.py", "LEWM_COMPILE_ONLY")],
)
def test_in_a_process_of_its_own(file, variable, tmp_path, interpreter_obstacle):
    if variable == "TRITON_INTERPRET" and interpreter_obstacle:
        pytest.skip(interpreter_obstacle)
    assert "skipped" not in run(file, **{variable: "1", "TRITON_CACHE_DIR": str(tmp_path)})


def test_where_the_interpreter_is_too_old_its_tests_are_skipped_and_say_why(tmp_path):
    metadata = tmp_path / "triton-3.6.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: triton\nVersion: 3.6.0\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    said = run("test_candidates_triton.py", TRITON_INTERPRET="1", PYTHONPATH=paths)
    assert "the interpreter of Triton 3.6.0" in said
    assert "passed" not in said


def test_the_dev_extra_takes_no_triton_whose_interpreter_fails():
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    (wanted,) = (one for one in map(Requirement, project["optional-dependencies"]["dev"]) if one.name == "triton")
    assert not wanted.specifier.contains("3.6.0")
    assert wanted.specifier.contains("3.7.0")
