"""Commands of `lewm`, and what they leave."""

import json

import numpy as np
from typer.testing import CliRunner

from lewm_cli import output
from lewm_cli.main import app

COLLECT = ["collect", "--episodes", "60", "--frame-size", "16"]


TRAIN = [
    *("train", "--steps", "150", "--batch-size", "64"),
    *("--set", "model.frame_size=16"),
    *("--set", "model.latent=8"),
    *("--set", "model.projector_hidden=32"),
    *("--set", "model.predictor.projector_hidden=32"),
    *("--set", "model.encoder.channels=[4, 8]"),
    *("--set", "model.predictor.depth=1"),
    *("--lambda", "0.09"),
    *("--set", "objective.sigreg.directions=32"),
    *("--set", "training.held_out=0.5"),
]


def call(*arguments):
    """Run a command in this process; failures come back as (exit code, two lines)."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def newest(run, pattern="surprise-2*.json"):
    path = max(run.glob(pattern), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return path, json.loads(path.read_text())


def decoded(path):
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
