"""Memory comes back when nobody has the array, or a view of it, any more; never before."""

import numpy as np
import torch

from lewm_data.store.buffers import LEAST, MOST, Buffers

SHAPE = (2, LEAST)


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_the_array_is_gone():
    buffers = Buffers()
    first = buffers.empty(SHAPE)
    begin = place(first)
    assert place(buffers.empty(SHAPE)) != begin  # and gone at once
    del first
    assert place(buffers.empty(SHAPE)) == begin


def test_a_view_or_a_tensor_keeps_its_memory():
    buffers = Buffers()
    for hold in (lambda array: array[1, 5:9], lambda array: array.reshape(-1)[3:][::2], torch.from_numpy):
        array = buffers.empty(SHAPE)
        array[:] = 7
        held = hold(array)
        del array
        for _ in range(3):
            buffers.empty(SHAPE)[:] = 1
        assert (np.asarray(held) == 7).all()


def test_memory_of_another_size_is_given_up():
    buffers = Buffers()
    arrays = [buffers.empty(SHAPE) for _ in range(2 * MOST)]
    del arrays
    assert len(buffers._free) == MOST
    other = buffers.empty((3, LEAST))
    assert len(buffers._free) == 0
    assert other.shape == (3, LEAST)


def test_arrays_outlive_their_maker():
    buffers = Buffers()
    array = buffers.empty(SHAPE)
    array[:] = 3
    del buffers
    assert (array == 3).all()
    assert array.flags.writeable
