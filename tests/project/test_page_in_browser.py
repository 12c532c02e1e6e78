"""The page of a run, opened from its file in a real browser, on a telephone's width and on a desk's."""

import html
import json
import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from lewm_cli.main import app

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome to open it in")

WIDTHS = (390, 1280)
TINY = ["model.frame_size=16", "model.encoder.channels=[4, 8]", "model.latent=8"]
TINY += ["training.log_every=1", "training.evaluate_every=2", "training.held_out=0.5"]

# A browser's own window is never as narrow as a telephone: frames of the wanted widths are. They have loaded when
# their pictures and the beginnings of their videos have.
PROBE = """<!DOCTYPE html>%s<script>
addEventListener("load", () => {
  const findings = [...document.querySelectorAll("iframe")].map(({contentWindow: view, contentDocument: page}) => ({
    title: page.title,
    width: view.innerWidth,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    images: [...page.images].map((image) => image.naturalWidth),
    videos: [...page.querySelectorAll("video")].map((video) => video.readyState),
  }));
  document.body.append(Object.assign(document.createElement("pre"), {textContent: JSON.stringify(findings)}));
});
</script>"""


def opened(folder, tmp_path):
    """What the browser finds in folder/index.html at each width, and what it complains about."""
    frames = "".join(
        f'<iframe src="index.html" width="{width}" height="900" style="border:0"></iframe>' for width in WIDTHS
    )
    (folder / "probe.html").write_text(PROBE % frames)
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--allow-file-access-from-files", "--enable-logging=stderr"]  # the frames' documents, the console
    command += ["--dump-dom", (folder / "probe.html").as_uri()]
    seen = subprocess.run(command, capture_output=True, text=True, check=True)
    (findings,) = re.findall(r"<pre>(.*?)</pre>", seen.stdout)
    return json.loads(html.unescape(findings)), [line for line in seen.stderr.splitlines() if "CONSOLE" in line]


def lewm(*command):
    result = CliRunner().invoke(app, list(command))
    assert result.exit_code == 0, (command, result.output, result.exception)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder of a page made as `make quickstart` makes it, of a world too small to learn anything."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEWM_HOME", str(home))
        run = home / "runs" / "two-room-small"
        settings = [word for key in TINY for word in ("--set", key)]
        planning = ["--episodes", "8", "--samples", "16", "--elites", "4", "--iterations", "2"]
        lewm("collect", "--episodes", "40", "--frame-size", "16")
        lewm("train", "--steps", "4", "--batch-size", "8", *settings)
        lewm("decode", "--steps", "3")
        lewm("plan", *planning, "--video", "mp4", "--imagine")
        lewm("probe")
        lewm("surprise", "--suite", "two-room", "--episodes", "2")
        (video,) = run.glob("surprise-suite-*/agent-teleported.mp4")
        lewm("surprise", str(video), "--out-video", str(run / "annotated.mp4"))
        lewm("report", "--out", str(home / "page"))
    return home / "page"


def test_everything_loads_and_fits(page, tmp_path):
    findings, complaints = opened(page, tmp_path)
    assert complaints == []
    assert [one["width"] for one in findings] == list(WIDTHS)
    for one in findings:
        assert one["title"] == "two-room-small · lewm report"
        assert one["overflow"] == 0
        assert len(one["images"]) == 10  # training, 5 of the probe, 2 decoded, surprise, suite
        assert min(one["images"]) > 0
        assert len(one["videos"]) == 6 + 1 + 1 + 10  # films, rollout, annotated, suite
        assert min(one["videos"]) >= 1, "a video whose size and length are not known"


def test_the_browser_would_have_found_faults(page, tmp_path):
    broken = shutil.copytree(page, tmp_path / "broken")
    (broken / "files" / "training" / "training.png").unlink()
    (broken / "files" / "planning" / "episode-0000.mp4").write_text("no video")
    with (broken / "index.html").open("a") as index:
        index.write('<p style="width: 900px; max-width: none">wide</p><script>throw Error("fault")</script>')
    (narrow, wide), complaints = opened(broken, tmp_path)
    assert len(complaints) == 2
    assert all("Error: fault" in line for line in complaints)
    assert narrow["overflow"] > 0 == wide["overflow"]
    assert min(narrow["images"]) == 0
    assert min(narrow["videos"]) == 0
