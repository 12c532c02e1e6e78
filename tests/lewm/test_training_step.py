"""One training step: the host never waits for the device, but where something is logged.

B clips, T frames a clip, A action-block width.
"""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lewm.config import resolve
from lewm.model import build
from lewm.training import state
from lewm.training.batches import copier
from lewm.training.health import HeldOut
from lewm.training.interruption import Interruption
from lewm.training.objectives import OBJECTIVES
from lewm.training.trainer import Trainer
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.reader import BatchReader

aten = torch.ops.aten
LOOKS = {  # calls in which the host reads values of a tensor or writes numbers into one: on a GPU it would wait
    aten._local_scalar_dense,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.repeat_interleave,
    aten.lift_fresh,
}
COPIES = (Tensor.tolist, Tensor.cpu)  # to the host, of which the dispatcher knows nothing on a CPU


class Looks(TorchDispatchMode):
    """Counts what would make the host wait if the model were on a GPU.

    Args:
        on_the_host: Tensors that are there wherever the model is.
    """

    def __init__(self, on_the_host=()):
        super().__init__()
        self.count, self.copies = 0, Copies(self, on_the_host)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        by_mask = function.overloadpacket is aten.index and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        self.count += by_mask or function.overloadpacket in LOOKS
        return function(*args, **(kwargs or {}))

    def __enter__(self):
        self.copies.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.copies.__exit__(*error)


class Copies(TorchFunctionMode):
    def __init__(self, looks, on_the_host):
        super().__init__()
        self.looks, self.on_the_host = looks, on_the_host

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.looks.count += function in COPIES and not any(args[0] is tensor for tensor in self.on_the_host)
        return function(*args, **(kwargs or {}))


def trainer_of(config):
    torch.manual_seed(0)
    model = build(config.model)
    model.action_mean.zero_()
    model.action_std.fill_(2)
    frames = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    objective = OBJECTIVES[config.objective.kind](config.objective, config.model, seed=0)
    optimizer = state.make_optimizer(model, objective, config.training)
    return Trainer(config, config.training.steps, 0, model, objective, optimizer, HeldOut(frames))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=24, seed=0, num_envs=4)
    with Dataset.open(path) as dataset:
        yield dataset


def test_the_counter_counts():
    x = torch.ones(3)
    looks = (lambda: bool(x.any()), lambda: float(x.sum()), lambda: x[x > 0], lambda: torch.tensor([2.0]))
    for look in (*looks, x.nonzero, x.tolist, x.cpu):
        with Looks() as counted:
            look()
        assert counted.count == 1
    with Looks([x]) as counted:
        x.tolist()
        (x + x).square().sum()
    assert counted.count == 0


OBJECTIVE_CHANGES = {
    "lewm": {},
    "subspaces": {"objective.sigreg": {"kind": "subspaces", "subspaces": 4}},
    "pldm": {"objective.kind": "pldm", "objective.cov_t": 1, "objective.idm": 1},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", OBJECTIVE_CHANGES)
def test_the_host_waits_at_logged_steps_alone(tiny, dataset, precision, objective):
    every = {"training.log_every": 3, "training.evaluate_every": 100, "training.checkpoint_every": 100}
    changes = {"training.precision": precision, "training.steps": 100, **every, **OBJECTIVE_CHANGES[objective]}
    config = resolve(tiny, None, changes)
    trainer, counts = trainer_of(config), []
    reader = BatchReader(Clips(dataset, 2, 5), 8, 0, copier(torch.device("cpu")))
    with reader, Looks([part.knots for part in trainer.objective.modules() if hasattr(part, "knots")]) as looks:
        logged = trainer.steps_left(reader, Interruption().asked)
        for work in (lambda: trainer._step(next(reader)),) * 2 + (lambda: next(logged),) * 2:
            before = looks.count
            work()
            counts.append(looks.count - before)
    assert counts == [0, 0, 1, 1]
