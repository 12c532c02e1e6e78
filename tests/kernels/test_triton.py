"""The tests of Triton kernels, in the interpreter and in the compiler, which need processes of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


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
def test_in_a_process_of_its_own(file, variable, tmp_path):
    others = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    env = {**others, variable: "1", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name(file))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
