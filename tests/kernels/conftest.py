"""Triton chooses when it is imported whether it interprets: each way has files, and a process, of its own.

`test_triton.py` starts those processes. They are told by their variables what they are, and collect their own files,
which no other process does.
"""

from __future__ import annotations

import os

interprets = os.environ.get("TRITON_INTERPRET") == "1"
compiles = os.environ.get("LEWM_COMPILE_ONLY") == "1"
belongs_here = {
    **{f"test_{operator}_triton.py": interprets for operator in ("candidates", "rollout", "sigreg")},
    **{f"test_{operator}_compile.py": compiles for operator in ("candidates", "rollout", "sigreg")},
    "test_compiling_compile.py": compiles,
    "test_triton.py": not interprets and not compiles,
}
collect_ignore = [file for file, here in belongs_here.items() if not here]
