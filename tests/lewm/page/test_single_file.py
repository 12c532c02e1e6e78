"""A page in one file: everything is inside, what has no room is named, and nothing else is replaced."""

import base64
import re
from pathlib import Path

import pytest

from lewm.errors import LewmError
from lewm.page import shelf
from lewm.page.command import write_page
from lewm.page.document import MARK
from tests.lewm.page.runs import Page

URL = re.compile(r"data:([a-z]+/[a-z0-9]+);base64,([A-Za-z0-9+/=]*)(#t=0\.01)?")


def held(page):
    """Type and content of every file in the page, in order."""
    of = [one.get("src") or one.get("href") for tag in ("img", "video", "a") for one in page.elements.get(tag, [])]
    found = [URL.fullmatch(url) for url in of if not url.startswith("#")]
    assert all(found)
    return [(one[1], base64.b64decode(one[2])) for one in found]


def test_everything_is_inside(finished):
    result = write_page(finished, single_file=True)
    assert result.page == str(finished / "report.html")
    assert not (finished / "report").exists()
    page = Page(result.page)
    whole = Page(write_page(finished).page)
    assert page.said == whole.said
    files = held(page)
    expected = [file.read_bytes() for file in whole.shown()]
    assert [content for kind, content in files if kind.startswith(("image", "video"))] == expected
    assert {content for kind, content in files} == {
        file.read_bytes() for file in Path(whole.path.parent / "files").rglob("*") if file.is_file()
    }
    assert "files/" not in page.raw
    assert "http" not in page.raw


def test_links_keep_files_under_their_names_or_lead_to_such_a_link(finished):
    page = Page(write_page(finished, single_file=True).page)
    ids = {one["id"] for one in page.elements["a"] if "id" in one} | {one["id"] for one in page.elements["section"]}
    links = page.elements["a"]
    assert all(one["href"][1:] in ids if one["href"].startswith("#") else one["download"] for one in links)
    assert {"metrics.jsonl", "embeddings.json", "spectrum.csv", "trace.csv"} <= {one.get("download") for one in links}
    assert sum(one.get("download") == "probe-20260101-000000.json" for one in links) == 1, "held once"


def test_films_without_room_are_named(finished, monkeypatch):
    size = len(b"episode-0000.mp4")
    for i in range(9):
        (finished / "plan-20260102-000000" / f"episode-{i:04d}.mp4").write_bytes(b"x" * size)
    monkeypatch.setattr(shelf, "ROOM_FOR_MEDIA", 100)
    page = Page(write_page(finished, single_file=True).page)
    media = [content for kind, content in held(page) if kind.startswith(("image", "video"))]
    assert sum(4 * -(-len(one) // 3) for one in media) <= 100
    assert media[0] == b"curves", "what comes first on the page has room"
    assert "Left out, because a page in one file holds at most 16 MiB: episode-0001.mp4," in page.said
    assert "rollout.mp4" in page.said


def test_data_without_room_have_no_link(finished, monkeypatch):
    monkeypatch.setattr(shelf, "ROOM_FOR_DATA", 0)
    page = Page(write_page(finished, single_file=True).page)
    assert not [one for one in page.elements["a"] if "download" in one]
    assert "metrics.jsonl, " in page.said


def test_only_an_earlier_report_is_replaced(finished, tmp_path):
    out = tmp_path / "deep" / "page.html"
    write_page(finished, out, single_file=True)
    assert [one.name for one in out.parent.iterdir()] == ["page.html"]
    (finished / "plan-20260102-000000.json").unlink()
    write_page(finished, out, single_file=True)
    assert "6 of 8 75.0%" not in Page(out).said
    out.write_text("<h1>mine</h1>")
    with pytest.raises(LewmError, match=r"page\.html: is not a report, so it is not replaced\nGive --out another name"):
        write_page(finished, out, single_file=True)
    assert out.read_text() == "<h1>mine</h1>"
    with pytest.raises(LewmError, match="deep: a folder, expected the name of a file"):
        write_page(finished, out.parent, single_file=True)


def test_a_link_in_the_place_of_the_page_is_not_followed(finished, tmp_path):
    (tmp_path / "other.html").write_text(MARK)
    (finished / "report.html").symlink_to(tmp_path / "other.html")
    with pytest.raises(LewmError, match="a link that leads out of the run\nName the page with --out"):
        write_page(finished, single_file=True)
    assert (tmp_path / "other.html").read_text() == MARK
