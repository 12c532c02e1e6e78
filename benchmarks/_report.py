"""The part on machine and code in every benchmark's JSON, and the writing of it."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lewm_data.machine import cpu
from lewm_data.temporary import replacing

ROOT = Path(__file__).resolve().parent.parent
COMMIT = "LEWM_COMMIT"  # environment variable: the commit of code that is no checkout
PACKAGES = ("lewm", "torch", "triton", "numpy", "gymnasium", "h5py")


def spread(values: np.ndarray, repeats: int) -> dict[str, Any]:
    """Median and 20 to 80 %."""
    names = ("median", "p20", "p80")
    return {
        name: round(float(value), 4) for name, value in zip(names, np.percentile(values, [50, 20, 80]), strict=True)
    } | {"repeats": repeats}


def write_report(path: Path, benchmark: str, results: list[dict[str, Any]]) -> None:
    """Writes `results` with the machine, versions, commit and time, through a temporary name."""
    report = {"benchmark": benchmark, **environment(), "results": results}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")


def environment() -> dict[str, Any]:
    """The machine and the code of a measurement."""
    commit = _git("rev-parse", "HEAD")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit or os.environ.get(COMMIT),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        **_device(),
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine: the report says so with a null
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device() -> dict[str, Any]:
    if _version("torch") is None:
        return {"device": "cpu", "cuda": None}
    import torch  # a benchmark of the environments needs none of it, and must not wait for it twice

    if not torch.cuda.is_available():
        return {"device": "cpu", "cuda": None}
    return {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
