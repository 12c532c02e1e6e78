"""What is installed is what is on disk, and importing stays light."""

import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"lewm": ROOT, "lewm_cli": ROOT, "lewm_kernels": ROOT / "kernels", "lewm_data": ROOT / "data"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_wheel_holds_exactly_the_packages_on_disk(wheel):
    on_disk = {
        path.relative_to(base).as_posix()
        for package, base in PACKAGES.items()
        for path in (base / package).rglob("*")
        if path.suffix in (".py", ".json", ".toml") or path.name == "py.typed"
    }
    with zipfile.ZipFile(wheel) as archive:
        installed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert installed == on_disk


def test_every_package_is_typed():
    assert all((base / package / "py.typed").is_file() for package, base in PACKAGES.items())


def test_help_imports_neither_torch_nor_the_libraries():
    code = (
        "import sys, lewm_cli.main; "
        "heavy = {'torch', 'numpy', 'h5py', 'gymnasium', 'matplotlib', 'pydantic', 'scipy', 'av'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    wanted = [*project["dependencies"], *extras]
    names = {re.split(r"[>\[;]", name)[0].lower().replace("_", "-") for name in wanted} - {"lewm"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names <= pinned


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text()
    listed = [line for line in text.splitlines() if line.strip().startswith('"') and ">=" in line]
    assert len(listed) >= 15
    assert all("#" in line or line.strip().startswith('"lewm[') for line in listed if "requires" not in line)
