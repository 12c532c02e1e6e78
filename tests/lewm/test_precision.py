"""Which precision plans are made in by default."""

import pytest
import torch

from lewm.planning.precision import Precision, choose_precision


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        (None, Precision("fp32", "chosen by default on cpu")),
        ((7, 5), Precision("fp32", "chosen by default for compute capability 7.5")),
        ((8, 0), Precision("bf16", "chosen by default for compute capability 8.0")),
        ((12, 1), Precision("bf16", "chosen by default for compute capability 12.1")),
    ],
)
def test_auto_is_bf16_where_cuda_has_it(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = torch.device("cuda" if capability else "cpu")
    assert choose_precision("auto", device) == expected
    assert choose_precision("bf16", device) == Precision("bf16", "as set")
