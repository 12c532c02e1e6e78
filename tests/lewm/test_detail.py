"""How finely the frames of a run's data are drawn: read from the file, kept with the run, and drawn again."""

import dataclasses

import numpy as np
import pytest

from lewm.checkpoints import run as runs
from lewm.dataset_checks import check_belongs, detail_of
from lewm.errors import LewmError
from lewm.opened_run import open_run
from lewm.run_worlds import world_to_act_in
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer

IDENTITY = runs.DatasetIdentity("/data/cube.h5", "ef" * 32, (16, 16), 20, "cube", "coarse")


@pytest.fixture
def config(tiny):
    model = tiny.model.model_copy(update={"action_dim": 5})
    return tiny.model_copy(update={"env": "cube", "model": model})


def file_of(path, **attributes):
    with Writer.create(path, attributes) as writer:
        action = np.zeros((3, 5), np.float32)
        writer.write_episode({"pixels": np.zeros((3, 16, 16, 3), np.uint8), "action": action})
    return Dataset.open(path)


def test_a_run_s_world_is_drawn_as_finely_as_its_data(config, tmp_path):
    for detail, expected in (("coarse", "coarse"), ("full", "full"), (None, "full")):
        run = tmp_path / str(detail)
        run.mkdir()
        runs.write_config(run, config, dataclasses.replace(IDENTITY, detail=detail))
        assert open_run(run).trained_on.detail == detail
        assert world_to_act_in(open_run(run), "").detail == expected


def test_a_file_says_its_detail_or_has_the_usual_one(tmp_path):
    with file_of(tmp_path / "a.h5", detail="coarse") as said, file_of(tmp_path / "b.h5") as silent:
        assert (detail_of(said, "cube"), detail_of(silent, "cube")) == ("coarse", "full")
        assert detail_of(said, "my-robot") is None
        assert detail_of(silent, "two-room") is None
        with pytest.raises(LewmError, match=r"a\.h5: the attribute 'detail' is 'coarse', which two-room does not have"):
            detail_of(said, "two-room")


def test_data_of_another_detail_are_refused(config, tmp_path):
    with file_of(tmp_path / "a.h5", env="cube", detail="coarse") as same:
        check_belongs(same, config, IDENTITY)
    with (
        file_of(tmp_path / "b.h5", env="cube") as other,
        pytest.raises(LewmError, match="of detail full, the run was trained on detail coarse\nGive --data a dataset"),
    ):
        check_belongs(other, config, IDENTITY)
