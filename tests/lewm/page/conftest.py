"""Runs to be shown."""

import json

import pytest

from lewm.checkpoints.run import DatasetIdentity, write_config
from lewm.report_files import write_report
from lewm.training.metrics import NUMBERS
from tests.lewm.page.runs import (
    Content,
    embeddings_report,
    fill,
    head_report,
    plan_report,
    policy_report,
    probe_report,
    suite_report,
    surprise_report,
)


@pytest.fixture
def run(tmp_path, tiny):
    """A run that has just begun."""
    directory = tmp_path / "runs" / "mine"
    write_config(directory, tiny, DatasetIdentity("/data/rooms.h5", "ef" * 32, (16, 16), 20, "two-room"))
    return directory


@pytest.fixture
def finished(run):
    """A run with something of every part."""
    health = {
        "std_min": 0.21,
        "std_mean": 0.93,
        "effective_rank": 5.31,
        "sigreg": 9.0,
        "distance_correlation": 0.77,
        "curve": [[1, 2]],
    }
    lines = [
        dict.fromkeys(NUMBERS, 1234.5) | {"step": step, "terms": {"prediction": 0.5 / step, "sigreg": 8.0}}
        for step in (1, 2, 3)
    ]
    lines[1]["health"] = health
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "training.png").write_text("curves")
    write_report(run / "embeddings.json", Content(embeddings_report()))
    fill(run, "head-20260101-000000", [], head_report())
    fill(run, "policy-idm-20260101-000000", [], policy_report())
    fill(run, "plan-20260101-000000", ["episode-0000.mp4"], plan_report(2))
    fill(run, "plan-20260102-000000", [f"episode-{i:04d}.mp4" for i in range(9)], plan_report(6))
    fill(run, "probe-20260101-000000", ["scatter.png", "map.png", "notes.txt"], probe_report())
    fill(run, "decode-20260101-000000", ["rollout.mp4", "reconstructions.png"], {"held_out": True})
    annotated = run / "annotated.mp4"
    annotated.write_text("annotated.mp4")
    fill(run, "surprise-20260101-000000", ["trace.png", "trace.csv"], surprise_report(out_video=str(annotated)))
    fill(run, "surprise-suite-20260101-000000", ["agent-teleported.mp4"], suite_report())
    return run
