"""In which Gymnasium environments the states tell that a goal is reached, and how long it takes to try that out.

    make verdicts

installs what the environments need and runs this. The trial is that of `lewm plan`, as it runs where no verdict is
kept. An environment that cannot be made here is left out, and the report says why.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from _report import write_report

from lewm_data.envs.gymnasium.world import gymnasium_world
from lewm_data.errors import DataError


@dataclass(frozen=True)
class Kind:
    """Environments of one kind.

    Attributes:
        packages: The packages that they are of, whose versions the report states.
        names: What `--env` takes.
    """

    packages: tuple[str, ...]
    names: tuple[str, ...]


KINDS = (
    Kind(
        ("gymnasium", "pygame-ce"),
        ("CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1"),
    ),
    Kind(("gymnasium", "pygame-ce"), ("FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "Blackjack-v1")),
    Kind(("gymnasium", "pygame-ce", "box2d"), ("LunarLander-v3", "BipedalWalker-v3", "CarRacing-v3")),
    Kind(("gymnasium", "mujoco"), ("InvertedPendulum-v5", "Reacher-v5")),
    Kind(("minigrid",), ("minigrid:MiniGrid-Empty-8x8-v0",)),
    Kind(("shimmy", "dm_control", "mujoco"), ("shimmy:dm_control/cartpole-swingup-v0",)),
)


def measure(name: str, packages: Sequence[str]) -> dict[str, Any]:
    """Tries out one environment."""
    try:
        place = gymnasium_world(name)
    except DataError as error:
        return {"world": name, "skipped": str(error).replace("\n", ". ")}
    began = time.perf_counter()
    judgement = place.judge()
    return {
        "world": name,
        "known": judgement.known,
        "said": judgement.said,
        "seconds": round(time.perf_counter() - began, 1),
        "packages": {package: metadata.version(package) for package in packages},
    }


def main() -> None:
    """Tries out each environment and prints its verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--only", nargs="+", help="the environments to try out, of those of this benchmark")
    arguments = parser.parse_args()

    results = []
    for kind in KINDS:
        for name in kind.names:
            if arguments.only is None or name in arguments.only:
                results.append(measure(name, kind.packages))
                row = results[-1]
                print(name, row.get("skipped") or f"{row['seconds']} s: success is {row['said']}", flush=True)
    if arguments.json:
        write_report(arguments.json, "verdicts", results)


if __name__ == "__main__":
    main()
