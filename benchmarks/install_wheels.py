"""Installs wheels into a folder, if they are for this Python.

python benchmarks/install_wheels.py --target folder wheels/*.whl
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Ends with pip's status, or with the reason why nothing is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("wheels", type=Path, nargs="+")
    options = parser.parse_args()
    here = f"3.{sys.version_info.minor}"
    for wheel in options.wheels:
        found = re.search(r"-cp3(\d+)-cp3\1-", wheel.name)  # wheels of the stable ABI and of pure Python do not match
        if found and f"3.{found[1]}" != here:
            sys.exit(f"the wheels are for Python 3.{found[1]}, this is {here}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    pip += ["--no-cache-dir", "--disable-pip-version-check", "--target", str(options.target)]
    sys.exit(subprocess.run([*pip, *map(str, options.wheels)], check=False).returncode)


if __name__ == "__main__":
    main()
