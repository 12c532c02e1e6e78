"""metrics.jsonl is a log: whatever is in it, a run goes on, and no step is there twice."""

import json

import pytest

from lewm.checkpoints import run
from lewm.training import metrics
from lewm.training.plot import plot_training

HEALTH = {
    "std_min": 0.2,
    "std_mean": 0.9,
    "effective_rank": 5.3,
    "sigreg": 1.0,
    "distance_correlation": 0.5,
    "near_correlation": 0.5,
    "curve": [[1, 2], [2, 3]],
}


def line(step, **changes):
    return dict.fromkeys(metrics.NUMBERS, 0.5) | {"step": step, "terms": {"prediction": 0.5, "cov_t": 0.25}} | changes


def text(*lines):
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


WHOLE = [line(1), line(2, health=HEALTH), line(3)]

DAMAGE = [
    b'\xff\xfe{"step": 1}\n',
    b"3\n",
    b"\n",
    b'{"step": "x"}\n',
    b'{"step": null}\n',
    text(line("x")),
    text(line(1.0)),
    text(line(True)),
    text(line(9, loss="low")),
    text(line(9, terms={})),
    text(line(9, terms=[0.5])),
    text(line(9, terms={"prediction": "low", "cov_t": 0.25})),
    text(line(9, terms={"no name": 0.5})),
    text(line(9, terms={f"term_{i}": 0.5 for i in range(metrics.MOST_TERMS + 1)})),
    text(line(9, health={"std_min": 1})),
    text(line(9, health=HEALTH | {"curve": [[1]]})),
    text(line(9, health=[])),
    text(line(9)).replace(b"0.5", b"9" * 6000, 1),
    text(line(9)).replace(b"9", b"9" * 4000, 1),
    b"[" * 50_000 + b"\n",
    b"x" * (2 * metrics.LINE_BYTES + 5) + b"\n",
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", [0, 2, 3])
def test_damaged_lines_are_passed_over_with_a_warning(tmp_path, caplog, damage, place):
    path = tmp_path / run.METRICS
    path.write_bytes(text(*WHOLE[:place]) + damage + text(*WHOLE[place:]))
    assert metrics.read_metrics(path) == WHOLE
    assert str(path) in caplog.text
    metrics.truncate(path, 2)
    assert path.read_bytes() == text(*WHOLE[:2])


def test_a_picture_is_drawn_of_what_is_not_damaged(tmp_path):
    (tmp_path / run.METRICS).write_bytes(text(*WHOLE) + b"".join(DAMAGE))
    assert plot_training(tmp_path).read_bytes().startswith(b"\x89PNG")


def test_steps_ascend_and_a_line_cut_short_goes_without_a_word(tmp_path, caplog):
    path = tmp_path / run.METRICS
    path.write_bytes(text(*WHOLE) + text(line(4))[:20])
    assert metrics.read_metrics(path) == WHOLE
    assert not caplog.records
    path.write_bytes(text(*WHOLE, line(2), line(3), line(4)))
    assert [one["step"] for one in metrics.read_metrics(path)] == [1, 2, 3, 4]
    assert "2 damaged lines" in caplog.text
    path.write_bytes(text(*WHOLE, line(4, terms={"prediction": 0.5})))
    assert metrics.read_metrics(path) == WHOLE
    assert metrics.read_metrics(tmp_path / "missing") == []
