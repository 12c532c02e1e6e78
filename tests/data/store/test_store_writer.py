import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data import disk
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.verify import verify
from lewm_data.store.writer import Writer

OFFICIAL = Path(__file__).parents[2] / "golden" / "official_layout.h5"


def episode(number):
    rows = 3 + number % 50
    action = np.full((rows, 2), number, np.float32)
    action[-1] = np.nan
    return {
        "pixels": np.full((rows, 4, 4, 3), number % 251, np.uint8),
        "action": action,
        "state": np.full((rows, 2), float(number)),
    }


def write(path, numbers):
    with Writer.create(path, {"seed": 7}) as writer:
        for number in numbers:
            writer.write_episode(episode(number))
    return path


def assert_holds(path, count, interrupted=None):
    with Dataset.open(path) as dataset:
        assert dataset.num_episodes == count
        assert interrupted in (None, dataset.interrupted)
        assert dataset.attributes == {"seed": 7, "format_version": 1}
        for number in range(count):
            expected = episode(number)
            for name, values in dataset.episode(number).items():
                np.testing.assert_array_equal(values, expected[name])
        assert verify(dataset).differing == ()
        assert len(dataset.column("state")) == dataset.num_steps == sum(3 + n % 50 for n in range(count))


def test_append_continues_in_place(tmp_path):
    path = write(tmp_path / "a.h5", range(2))
    before = path.stat().st_ino
    with Writer.append(path) as writer:
        assert (writer.num_episodes, writer.num_steps) == (2, 7)
        writer.write_episode(episode(2))
    assert path.stat().st_ino == before
    assert_holds(path, 3, interrupted=False)
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_append_to_a_file_of_other_tools_copies_it(tmp_path):
    path = tmp_path / "official.h5"
    shutil.copy(OFFICIAL, path)
    with Dataset.open(OFFICIAL) as official:
        episodes = [official.episode(index) for index in range(4)]
    with Writer.append(path) as writer:
        writer.write_episode(episodes[1])
    with Dataset.open(path) as dataset:
        assert dataset.lengths.tolist() == [30, 21, 12, 20, 21]
        for index, expected in enumerate([*episodes, episodes[1]]):
            for name, values in dataset.episode(index).items():
                np.testing.assert_array_equal(values, expected[name])


def test_create_refuses_what_is_there_and_overwrite_waits_for_an_episode(tmp_path):
    path = write(tmp_path / "a.h5", range(2))
    with pytest.raises(DataError, match=r"a\.h5: exists already\n.*--append.*--overwrite"):
        Writer.create(path)
    with Writer.create(path, {"seed": 7}, overwrite=True) as writer:
        assert_holds(path, 2)
        with pytest.raises(DataError, match="not finite"):
            writer.write_episode({**episode(0), "state": np.zeros((3, 2)), "reward": np.full(3, np.nan)})
        assert_holds(path, 2)
        writer.write_episode(episode(0))
        assert_holds(path, 1)
    assert_holds(path, 1, interrupted=False)


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "a.h5"
    with Writer.create(path) as writer:
        write(path, range(2))
        with pytest.raises(DataError, match="exists already"):
            writer.write_episode(episode(0))
    assert_holds(path, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_nothing_is_left_without_an_episode(tmp_path):
    with Writer.create(tmp_path / "a.h5"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == []


def test_a_second_writer_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", range(1))
    program = "import sys; from lewm_data.store.writer import Writer; Writer.{}(sys.argv[1], **{})"
    with Writer.append(path) as writer:
        for call in (("append", {}), ("create", {"overwrite": True})):
            other = subprocess.run(
                [sys.executable, "-c", program.format(*call), str(path)], capture_output=True, text=True
            )
            assert "another program is writing" in other.stderr
        writer.write_episode(episode(1))
    assert_holds(path, 2, interrupted=False)


def test_every_state_of_the_file_holds_the_finished_episodes(tmp_path, monkeypatch):
    """Copies of the file's bytes after each call into HDF5: a kill there would leave them."""
    path, copies = tmp_path / "a.h5", []

    def spying(call):
        def spy(*arguments, **named):
            result = call(*arguments, **named)
            if path.exists():
                copies.append((path.read_bytes(), finished))
            return result

        return spy

    for owner, name in ((h5py.Dataset, "resize"), (h5py.Dataset, "__setitem__"), (h5py.File, "flush")):
        monkeypatch.setattr(owner, name, spying(getattr(owner, name)))
    with Writer.create(path, {"seed": 7}) as writer:
        for finished in range(4):
            writer.write_episode(episode(finished))
    finished = 4
    with Writer.append(path) as writer:
        writer.write_episode(episode(4))
    monkeypatch.undo()
    assert len(copies) > 40
    for number, (content, finished) in enumerate(copies):
        left = tmp_path / f"{number}.h5"
        left.write_bytes(content)
        with Dataset.open(left) as dataset:
            assert finished <= dataset.num_episodes <= finished + 1
            count = dataset.num_episodes
        assert_holds(left, count, interrupted=True)
        if number % 10 == 0:
            with Writer.append(left) as writer:
                assert writer.num_episodes == count
                writer.write_episode(episode(count))
            assert_holds(left, count + 1, interrupted=False)


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch, caplog):
    opened = h5py.h5f.open

    def without_locks(name, mode, access):
        if access.get_file_locking()[0]:
            raise OSError(errno.ENOLCK, "unable to lock file")
        return opened(name, mode, access)

    monkeypatch.setattr(h5py.h5f, "open", without_locks)
    path = write(tmp_path / "a.h5", range(2))
    monkeypatch.undo()
    assert "has no locks" in caplog.text
    assert_holds(path, 2, interrupted=False)


def test_rows_of_no_episode_are_only_excused_after_an_interruption(tmp_path):
    path = write(tmp_path / "a.h5", range(2))
    with h5py.File(path, "r+") as file:
        for name in ("pixels", "action", "state", "row_hash"):
            file[name].resize(9, axis=0)
    with pytest.raises(DataError, match="has 9 rows, expected 7, the sum of 'ep_len'"):
        Dataset.open(path)


def test_no_room_on_the_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    usage = namedtuple("usage", "total used free")
    with Writer.create(path, {"seed": 7}) as writer:
        writer.write_episode(episode(0))
        with monkeypatch.context() as full:
            full.setattr(disk.shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 10, 10))
            with pytest.raises(DataError, match=r"needed, 10 free\n1 finished episodes are kept. Make room"):
                writer.write_episode(episode(1))
        assert_holds(path, 1)
        writer.write_episode(episode(1))  # there is room again
    assert_holds(path, 2, interrupted=False)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_room_that_cannot_be_reserved(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    path = write(tmp_path / "a.h5", range(2))
    with Writer.append(path) as writer, monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", refuse, raising=False)
        with pytest.raises(DataError, match=r"cannot be written: .*\n2 finished episodes are kept"):
            writer.write_episode(episode(2))
    assert_holds(path, 2, interrupted=False)


def test_a_file_system_that_cannot_reserve_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    assert_holds(write(tmp_path / "a.h5", range(3)), 3, interrupted=False)


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import test_store_writer as tests
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, resource.RLIM_INFINITY))
with tests.Writer.create(sys.argv[2], {"seed": 7}) as writer:
    try:
        while True:
            writer.write_episode(tests.episode(writer.num_episodes))
    except tests.DataError as error:
        print(writer.num_episodes, error)
"""


def test_a_write_beyond_the_limit_of_file_sizes(tmp_path):
    path = tmp_path / "a.h5"
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(path)],
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    count = int(ended.stdout.split()[0])
    assert count > 100
    assert "File too large" in ended.stdout
    assert_holds(path, count, interrupted=False)


FAILING = """
import os, sys
sys.path.insert(0, sys.argv[1])
import test_store_writer as tests
with tests.Writer.create(sys.argv[2], {"seed": 7}) as writer:
    writer.write_episode(tests.episode(0))
    writer.write_episode(tests.episode(1))
    os.dup2(os.open(sys.argv[2], os.O_RDONLY), writer._output.file.id.get_vfd_handle())  # from here on writes fail
    try:
        writer.write_episode(tests.episode(2))
    except tests.DataError as error:
        print(error)
    try:
        writer.write_episode(tests.episode(2))
    except tests.DataError as error:
        print(error)
"""


def test_a_write_that_fails_inside_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, str(Path(__file__).parent), str(path)],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 finished episodes are kept" in ended.stdout
    assert "is closed" in ended.stdout
    assert_holds(path, 2, interrupted=True)
    with Writer.append(path) as writer:
        writer.write_episode(episode(2))
    assert_holds(path, 3, interrupted=False)


def test_interrupt_waits_for_the_episode(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    resize = h5py.Dataset.resize

    def interrupted(*arguments, **named):
        os.kill(os.getpid(), signal.SIGINT)
        return resize(*arguments, **named)

    with Writer.create(path, {"seed": 7}) as writer:
        writer.write_episode(episode(0))
        monkeypatch.setattr(h5py.Dataset, "resize", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.write_episode(episode(1))
        monkeypatch.undo()
        assert writer.num_episodes == 2
    assert_holds(path, 2, interrupted=False)


def test_what_was_reserved_is_given_back(tmp_path):
    small = write(tmp_path / "a.h5", range(1)).stat().st_size
    assert small < 300_000  # less than what is reserved for one episode


def test_episodes_of_other_columns_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    with Writer.create(path, {"seed": 7}) as writer:
        writer.write_episode(episode(0))
        nan_actions = episode(1)["action"]
        nan_actions[1:] = np.nan
        wrong = {
            "'state' float32": {**episode(1), "state": np.zeros((4, 2), np.float32)},
            r"'pixels' uint8 \(N, 5, 4, 3\)": {**episode(1), "pixels": np.zeros((4, 5, 4, 3), np.uint8)},
            "'extra'": {**episode(1), "extra": np.zeros(4)},
            "missing": {name: values for name, values in episode(1).items() if name != "state"},
            "'state' has 9 rows, expected 4": {**episode(1), "state": np.zeros((9, 2))},
            "'action' is not finite at step 1": {**episode(1), "action": nan_actions},
            "at least 1": {name: values[:0] for name, values in episode(1).items()},
        }
        for problem, columns in wrong.items():
            with pytest.raises(DataError, match=problem):
                writer.write_episode(columns)
    with (
        Writer.create(tmp_path / "b.h5") as writer,
        pytest.raises(DataError, match="'name' cannot be stored"),
    ):
        writer.write_episode({**episode(0), "name": np.array(["a", "b", "c"])})
    assert_holds(path, 1, interrupted=False)
