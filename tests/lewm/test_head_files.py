"""A head's file holds the whole head, and no other file is taken for one."""

import json

import pytest
import torch

from lewm.checkpoints.run import save_tensors
from lewm.config import HeadCost
from lewm.errors import LewmError
from lewm.planning.costs import COSTS
from lewm.planning.costs.head import METADATA, Head, load_head, save_head

CPU = torch.device("cpu")
D = 6  # latent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "head.safetensors"


@pytest.mark.parametrize("widths", [(), (8,), (8, 24, 16)])
def test_a_file_has_the_whole_head(widths, path):
    head = Head(D, widths)
    save_head(path, head, "digest")
    loaded, checkpoint = load_head(path, CPU)
    assert checkpoint == "digest"
    assert (loaded.latent, loaded.widths) == (D, widths)
    pairs = torch.randn(2, 9, D)
    assert torch.equal(loaded(*pairs), head(*pairs))
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_a_head_that_is_loaded_in_inference_mode_passes_gradients(path):
    save_head(path, Head(D))
    with torch.inference_mode():
        head, _ = load_head(path, CPU)
    earlier, later = torch.randn(2, 4, D, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.grad(head(earlier.requires_grad_(), later).sum(), earlier)[0].any()


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def state_other(path, **changes):
    """A file that states sizes which its tensors do not have."""
    about = {"latent": D, "widths": [16, 8], "checkpoint_sha256": None} | changes
    save_tensors(path, Head(D, (16, 8)).state_dict(), {METADATA: json.dumps(about)})


def infinite(path):
    head = Head(D)
    with torch.no_grad():
        head.out.bias.fill_(torch.inf)
    save_head(path, head)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"a head"), "not a safetensors file"),
        (damage, "its checksum is of another content"),
        (lambda path: save_tensors(path, Head(D).state_dict()), "not a head"),
        (lambda path: state_other(path, latent=7), "other shapes than it states"),
        (lambda path: state_other(path, latent=10**12), "other shapes than it states"),
        (lambda path: state_other(path, widths=[16]), "other shapes than it states"),
        (lambda path: state_other(path, widths=[1] * 10**5), "100000 hidden layers"),
        (lambda path: state_other(path, widths="wide"), "not a head"),
        (infinite, "not finite: out.bias"),
    ],
)
def test_a_file_that_is_no_head_is_refused(harm, says, path):
    save_head(path, Head(D))
    harm(path)
    with pytest.raises(LewmError) as caught:
        COSTS["head"](HeadCost(path=str(path)), CPU)
    assert str(path) in caught.value.problem
    assert says in caught.value.problem
    assert "cost.path" in caught.value.remedy
    assert len(str(caught.value).splitlines()) == 2


def test_a_head_of_odd_widths_is_refused():
    with pytest.raises(LewmError, match="multiples of 8"):
        Head(D, (16, 9))


def test_a_cost_without_a_file_says_where_heads_are_from():
    with pytest.raises(LewmError, match=r"cost\.path names no file") as caught:
        COSTS["head"](HeadCost(), CPU)
    assert "lewm train-head" in caught.value.remedy
