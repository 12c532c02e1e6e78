"""The number of elements that an elementwise PyTorch loop should hold at a time."""

from __future__ import annotations

import torch

# Twice the least work that ATen gives a thread (at::internal::GRAIN_SIZE). With smaller tiles, cores are idle or wait
# for each other more often, which costs most on a busy machine; larger tiles do not fit the caches.
_ELEMENTS_PER_THREAD = 1 << 16

# On other devices a launch costs more than the arithmetic of a small tile: only memory limits a tile.
_ACCELERATOR_TILE = 1 << 22


def tile_elements(device: torch.device) -> int:
    """The number of elements of a tile: enough to occupy every core, few enough that operands stay in the caches."""
    if device.type == "cpu":
        return _ELEMENTS_PER_THREAD * torch.get_num_threads()
    return _ACCELERATOR_TILE
