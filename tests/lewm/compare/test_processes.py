"""Which process this is."""

import pytest
import torch

from lewm.compare.processes import Share, share_of
from lewm.errors import LewmError
from lewm.runtime import one_of

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "3"}
SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("options", "environment", "share"),
    [
        ((None, None), {}, Share(0, 1)),
        ((2, 3), {}, Share(2, 3)),
        ((None, None), TORCHRUN, Share(1, 3)),
        ((None, None), SLURM, Share(2, 4)),
        ((0, 2), TORCHRUN, Share(0, 2)),
    ],
)
def test_options_come_before_the_environment(options, environment, share):
    assert share_of(*options, environment) == share


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        ((1, None), {}, "--index and --of belong together"),
        ((None, 2), {}, "--index and --of belong together"),
        ((2, 2), {}, "process 2 of 2"),
        ((None, None), {"RANK": "one", "WORLD_SIZE": "2"}, "RANK='one'"),
        ((None, None), {"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
    ],
)
def test_what_does_not_fit_is_refused(options, environment, said):
    with pytest.raises(LewmError, match=said):
        share_of(*options, environment)


def test_processes_of_a_machine_take_its_devices_in_turns(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert [str(one_of(torch.device("cuda"), number)) for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(one_of(torch.device("cuda", 1), 0)) == "cuda:1"
    assert str(one_of(torch.device("cpu"), 1)) == "cpu"
