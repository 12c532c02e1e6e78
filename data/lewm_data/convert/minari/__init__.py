"""Minari: a folder with the episodes and a file that describes their spaces.

    data/metadata.json: the spaces as text, and in which of three storages the episodes are
    data/main_data.hdf5: episode_0: observations (T + 1, ...) or a group of them, actions (T, A), rewards (T,), ...
    data/0/part-0.arrow, or part-0.parquet: the same columns with T + 1 rows each; the last action and reward are zeros

Source: HDF5Storage, ArrowStorage and ParquetStorage of minari 0.5.4.
"""
