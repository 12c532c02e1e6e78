"""Where the page of a run is written: as a whole, and over nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from lewm.checkpoints.run import save_tensors
from lewm.errors import LewmError
from lewm.model import build
from lewm.page.command import write_page
from lewm.page.document import MARK
from tests.lewm.page.runs import Page


def test_an_earlier_report_is_replaced_as_a_whole(finished, tmp_path):
    out = tmp_path / "deep" / "down" / "page"
    write_page(finished, out)
    old = {file.name for file in (out / "files" / "planning").iterdir()}
    (finished / "plan-20260102-000000.json").unlink()
    write_page(finished, out)
    left = {"episode-0000.mp4", "plan-20260101-000000.json", "success.csv"}
    assert {file.name for file in (out / "files" / "planning").iterdir()} == left != old
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == (tmp_path / "deep").stat().st_mode & 0o777


def test_the_earlier_report_comes_back_when_the_new_one_cannot_take_its_place(run, tmp_path, monkeypatch):
    page = Path(write_page(run, tmp_path / "page").page)
    before, rename = page.read_bytes(), Path.rename

    def refused(self, target):
        if self.name == "new":
            raise PermissionError(13, "Permission denied", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        write_page(run, tmp_path / "page")
    assert page.read_bytes() == before


def test_an_empty_folder_will_do(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert Path(write_page(run, tmp_path / "empty").page).is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "years of work"), ("index.html", "<h1>mine</h1>"), ("files", "a file"), (".git", "")],
)
def test_what_is_not_a_report_is_left_alone(run, tmp_path, name, content):
    out = tmp_path / "precious"
    out.mkdir()
    (out / name).write_text(content)
    with pytest.raises(LewmError, match=f"precious: holds {name}, which is not part of a report"):
        write_page(run, out)
    assert (out / name).read_text() == content
    assert {one.name for one in out.iterdir()} == {name}


def test_what_someone_put_into_a_report_is_left_alone(run, tmp_path):
    out = tmp_path / "page"
    write_page(run, out)
    (out / "remarks.md").write_text("mine")
    with pytest.raises(LewmError, match=r"holds remarks.md"):
        write_page(run, out)
    assert (out / "remarks.md").read_text() == "mine"


def test_a_file_is_not_a_folder(run, tmp_path):
    (tmp_path / "page").write_text(MARK)
    with pytest.raises(LewmError, match="holds page, which is not part of a report"):
        write_page(run, tmp_path / "page")
    assert (tmp_path / "page").read_text() == MARK


def test_a_link_in_the_place_of_the_page_is_not_followed(run, tmp_path):
    (run / "report").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LewmError, match="a link that leads out of the run\nName the folder of the page with --out"):
        write_page(run)
    assert not (tmp_path / "elsewhere").exists()


def test_pages_made_at_once_are_whole(finished, tiny, tmp_path):
    save_tensors(finished / "model.safetensors", build(tiny.model).state_dict())
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "lewm_cli", "report", "--run", str(finished), "--out", str(tmp_path / "page")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [(one.communicate()[1], one.returncode) for one in commands] == [("", 0)] * 3
    assert len(Page(tmp_path / "page" / "index.html").shown()) == 14
    assert sorted(one.name for one in tmp_path.iterdir()) == ["page", "runs"]


def test_a_folder_that_cannot_be_made_is_found_at_once(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LewmError, match="file: cannot be written to: Not a directory\nGive --out a folder"):
        write_page(run, tmp_path / "file" / "page")


def test_without_a_run_there_is_no_page(tmp_path):
    with pytest.raises(LewmError, match="no such run"):
        write_page(tmp_path / "nothing", tmp_path / "page")
    assert not (tmp_path / "page").exists()
