"""Reports in a run: names that are given once, a checksum, and results that outlive a full disk."""

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from lewm.errors import LewmError
from lewm.files import check_output, check_writable, replacing, write_text
from lewm.report_files import LARGEST, Beside, NotKeptError, keeping, new_report, read_report, write_report


@dataclass(frozen=True)
class Result:
    """A result with this content."""

    content: dict[str, Any]

    def as_dict(self):
        return self.content


RESULT = Result({"rate": 0.1 + 0.2, "names": ("é", "\udcff"), "none": None, "deep": {"b": [1, -0.0], "a": 2**64}})


def full(path):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def refuse(*arguments):
    raise full("films")


def test_a_report_is_read_as_it_was_written(tmp_path):
    write_report(tmp_path / "a.json", RESULT)
    assert read_report(tmp_path / "a.json") == json.loads(json.dumps(RESULT.content))
    assert "sha256" in json.loads((tmp_path / "a.json").read_text(encoding="ascii"))


def test_numbers_that_are_not_finite_are_null(tmp_path):
    write_report(tmp_path / "a.json", Result({"r": float("nan"), "of": [float("inf"), {"x": -float("inf")}, 1.5]}))
    assert read_report(tmp_path / "a.json") == {"r": None, "of": [None, {"x": None}, 1.5]}


def test_every_changed_value_is_found(tmp_path):
    path = tmp_path / "a.json"
    write_report(path, Result({"rate": 0.5, "tasks": [{"solved": True, "steps": 7}], "protocol": "held-out"}))
    written = path.read_text()
    for before, after in (("0.5", "0.6"), ("true", "false"), (" 7", " 8"), ("held-out", "paper"), ("rate", "Rate")):
        path.write_text(written.replace(before, after))
        with pytest.raises(LewmError, match=r"a.json: damaged, or changed after it was written"):
            read_report(path)
    path.write_text(written)
    assert read_report(path)["rate"] == 0.5


def test_what_is_not_a_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LewmError, match="pipe: is a named pipe"):
        read_report(tmp_path / "pipe")
    with pytest.raises(LewmError, match="nothing: No such file"):
        read_report(tmp_path / "nothing")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", LARGEST + 1)  # it takes no room
    with pytest.raises(LewmError, match=f"large: has {LARGEST + 1:,} bytes, at most {LARGEST:,} are read"):
        read_report(tmp_path / "large")


def test_reports_of_one_second_have_names_of_their_own(tmp_path):
    paths = []
    for _ in range(3):
        with new_report(tmp_path, "plan") as path:
            write_report(path, RESULT)
        paths.append(path)
    assert len(set(paths)) == 3
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_command_that_fails_leaves_nothing(tmp_path, error):
    with pytest.raises(error), new_report(tmp_path, "plan") as path:  # noqa: PT012
        write_text(path.with_suffix("") / "deep" / "film.gif", "film")
        raise error
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_written_is_found_first(tmp_path, monkeypatch):
    for number in (errno.EROFS, errno.EACCES, errno.ENOSPC):

        def refused(*arguments, number=number, **named):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refused)
            with (
                pytest.raises(LewmError, match=f"{os.strerror(number)}\nCopy the run") as caught,
                new_report(tmp_path, "plan"),
            ):
                pass
        assert str(caught.value).startswith(f"{tmp_path}: its report cannot be written there")


def test_a_result_is_carried_by_the_error_of_writing_it(tmp_path, monkeypatch):
    with (
        pytest.raises(NotKeptError, match=r"a.json: could not be written: .*No space left") as caught,
        keeping(tmp_path / "a.json", RESULT),
    ):
        refuse()
    assert caught.value.report is RESULT
    assert isinstance(caught.value.cause, OSError)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(NotKeptError) as caught, keeping(tmp_path / "a.json", RESULT):
        pass
    assert caught.value.report is RESULT
    assert not list(tmp_path.iterdir())


def test_the_json_is_written_last(tmp_path):
    with keeping(tmp_path / "a.json", RESULT):
        assert not list(tmp_path.iterdir())
    assert read_report(tmp_path / "a.json")


def test_work_goes_on_where_what_lies_beside_it_cannot_be_written():
    calls = []

    def write(number):
        calls.append(number)
        if number == 2:
            refuse()

    beside = Beside(write)
    beside.check()
    for number in (1, 2, 3):
        beside(number)
    assert calls == [1, 2]
    with pytest.raises(OSError, match="No space left"):
        beside.check()


def test_safetensors_says_what_the_system_has_refused(tmp_path, monkeypatch):
    def save(tensors, path, metadata=None):
        raise safetensors.SafetensorError("Error while serializing: I/O error: File too large (os error 27)")

    with (
        pytest.raises(OSError, match=r"File too large: '.*a.safetensors'") as caught,
        replacing(tmp_path / "a.safetensors") as temporary,
    ):
        save({"a": np.zeros(3)}, temporary)
    assert caught.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())
    with pytest.raises(safetensors.SafetensorError), replacing(tmp_path / "a.safetensors"):
        raise safetensors.SafetensorError("of another kind")


def test_where_nothing_can_be_written_is_said_before(tmp_path):
    (tmp_path / "file").write_text("")
    check_output(tmp_path / "new" / "folders" / "a.json", "remedy")
    check_output(tmp_path / "file", "remedy")
    check_output(Path("a-file-of-tasks.json"), "remedy")
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (
        (tmp_path, f"{tmp_path}: a folder, expected the name of a file"),
        (tmp_path / "pipe", f"{tmp_path / 'pipe'}: a pipe or a device, expected the name of a file"),
        (tmp_path / "file" / "a.json", f"{tmp_path / 'file'}: cannot be written to: Not a directory"),
        (tmp_path / "file" / "b" / "a.json", f"{tmp_path / 'file' / 'b'}: cannot be written to: Not a directory"),
    ):
        with pytest.raises(LewmError) as caught:
            check_output(path, "the remedy")
        assert str(caught.value) == f"{problem}\nthe remedy"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "pipe"]
    with pytest.raises(LewmError, match="cannot be written to"):
        check_writable(Path("/proc/nothing"), "remedy")
