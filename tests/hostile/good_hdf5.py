"""A good HDF5 dataset, for tests that spoil it."""

import h5py
import numpy as np

from lewm_data.store.dataset import Dataset

ROWS = 13


def write(path):
    """A good dataset of another tool's, to be spoilt."""
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros((ROWS, 4, 4, 3), np.uint8)
        file["action"] = np.ones((ROWS, 2), np.float32)
        file["state"] = np.zeros((ROWS, 2))
        file["ep_len"], file["ep_offset"] = np.array([8, 5], np.int32), np.array([0, 8], np.int64)
    return path


def read_everything(path):
    with Dataset.open(path) as dataset:
        dataset.fingerprint()
        dataset.check_sample()
        for index in range(dataset.num_episodes):
            dataset.episode(index)
