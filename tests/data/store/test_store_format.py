"""The statements of data/README.md on the files that `lewm collect` writes."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.schema import Column

PAGE = (Path(__file__).parents[3] / "data" / "README.md").read_text()


def table(heading):
    """The rows of the table that begins with a column called `heading`, as lists of cells."""
    lines = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("format") / "two-room.h5"
    collect(world("two-room"), path, 3, policy="expert", noise=2.0, frame_size=64, seed=0, max_steps=100, commit="abc")
    return path


def test_columns(path):
    with h5py.File(path) as file:
        assert {name for name, *_ in table("column")} == set(file)
        counts = {"N": len(file["pixels"]), "E": 3}
        for name, dtype, shape, rows, _ in table("column"):
            assert file[name].dtype == dtype
            sizes = [size.strip() for size in shape.strip("()").split(",") if size.strip()]
            assert file[name].shape == tuple(counts.get(size) or int(size) for size in sizes)
            assert file[name].chunks[0] == int(rows)
            assert file[name].compression is None


@pytest.mark.parametrize(
    ("shape", "rows"), [((), 1024), ((16,), 1024), ((17,), 963), ((2048,), 8), ((480, 640), 1), ((0,), 1024)]
)
def test_a_chunk_has_at_most_1024_rows_and_64_kib(shape, rows):
    assert Column("state", np.dtype(np.float32), shape).chunk_rows == rows


# Two-Room has no choice of detail and fit; recordings have the others.
ELSEWHERE = (
    "detail",
    "fit",
    "color_order",
    "flip",
    "fps",
    "resample",
    "converted_from",
    "conversion",
    "merged",
    "robot",
    "sources",
    "action_names",
)


def test_attributes(path):
    with h5py.File(path) as file:
        stored = dict(file.attrs)
    found = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in stored.items()}
    rows = [row for row in table("attribute") if row[0] not in ELSEWHERE]
    assert {name for name, *_ in rows} == set(found)
    for name, kind, example, _ in rows:
        assert (f"{stored[name].dtype} (D,)" if np.ndim(stored[name]) else type(found[name]).__name__) == kind
        assert not example or str(found[name]) == example


def test_last_rows_have_no_action(path):
    with h5py.File(path) as file:
        last = file["ep_offset"][:] + file["ep_len"][:] - 1
        nothing = np.isnan(file["action"][:]).all(axis=1)
        assert np.flatnonzero(nothing).tolist() == last.tolist()
        assert (file["reward"][:][last] == 0).all()


def test_examples_run(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    results = []
    for example in examples:
        names = {}
        exec(example, names)
        results.append(names)
    np.testing.assert_array_equal(results[0]["first"], results[1]["first"])
    assert results[0]["last"].shape == (3, 64, 64, 3)
    assert results[0]["states"].dtype == np.float64
