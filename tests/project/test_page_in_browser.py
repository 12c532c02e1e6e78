"""Pages of a run and of a comparison, opened from their files in a real browser.

On a telephone's width and on a desk's, light and dark, with their files beside them and inside them.
"""

import html
import json
import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from lewm.compare.page import write_comparison
from lewm_cli.main import app
from tests.lewm.compare.example import comparison

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome to open it in")

WIDTHS = (390, 1280)
SCHEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
TINY = ["model.frame_size=16", "model.encoder.channels=[4, 8]", "model.latent=8"]
TINY += ["training.log_every=1", "training.evaluate_every=2", "training.held_out=0.5"]

# A browser's own window is never as narrow as a telephone: frames of the wanted widths are. They have loaded when
# their pictures and the beginnings of their videos have.
PROBE = """<!DOCTYPE html>%s<script>
const WORDS = "h1, h2, h3, p, td, th, dt, dd, a, caption, figcaption, summary, span, code";
const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
const luminance = (colour) => {
  const [red, green, blue] = parts(colour).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one) => {
  const style = (element) => one.ownerDocument.defaultView.getComputedStyle(element);
  let ground = one;
  while (ground.parentElement && parts(style(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
  const [high, low] = [style(one).color, style(ground).backgroundColor].map(luminance).sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
addEventListener("load", () => {
  const findings = [...document.querySelectorAll("iframe")].map(({contentWindow: view, contentDocument: page}) => ({
    title: page.title,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    contrast: Math.min(...[...page.querySelectorAll(WORDS)].filter((one) => one.innerText?.trim()).map(contrast)),
    loaded: view.performance.getEntriesByType("resource").map((one) => one.name.slice(0, 99)),
    blocks: [...page.querySelectorAll(".wide, pre")]
      .filter((one) => one.getBoundingClientRect().right > view.innerWidth).length,
    width: view.innerWidth,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    images: [...page.images].map((image) => image.naturalWidth),
    videos: [...page.querySelectorAll("video")].map((video) => video.readyState),
  }));
  document.body.append(Object.assign(document.createElement("pre"), {textContent: JSON.stringify(findings)}));
});
</script>"""


def opened(folder, tmp_path, dark=False):
    """What the browser finds in folder/index.html at each width, and what it complains about."""
    frames = "".join(
        f'<iframe src="index.html" width="{width}" height="900" style="border:0"></iframe>' for width in WIDTHS
    )
    (folder / "probe.html").write_text(PROBE.replace("%s", frames))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
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
        lewm("report", "--single-file", "--out", str(home / "single" / "index.html"))
    return home / "page"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of the page of a comparison, and that of the same in one file."""
    folder, single = tmp_path_factory.mktemp("compared"), tmp_path_factory.mktemp("single")
    write_comparison(comparison(), folder)
    write_comparison(comparison(), single, single_file=True).rename(single / "index.html")
    return folder, single


def check(findings, complaints, dark):
    """What is asked of every page."""
    assert complaints == []
    assert [one["width"] for one in findings] == list(WIDTHS)
    for one in findings:
        assert one["overflow"] == 0
        assert one["blocks"] == 0, "what is too wide scrolls by itself"
        assert one["dark"] == dark
        assert one["contrast"] >= 4.5, "the contrast of WCAG 2.2, level AA"
        assert all(url.startswith(("file:", "data:")) for url in one["loaded"])


@SCHEMES
@pytest.mark.parametrize("form", ["page", "single"])
def test_everything_loads_and_fits(page, tmp_path, form, dark):
    findings, complaints = opened(page.with_name(form), tmp_path, dark)
    check(findings, complaints, dark)
    for one in findings:
        assert one["title"] == "two-room-small · lewm report"
        assert len(one["images"]) == 10  # training, 5 of the probe, 2 decoded, surprise, suite
        assert min(one["images"]) > 0
        assert len(one["videos"]) == 6 + 1 + 1 + 10  # films, rollout, annotated, suite
        assert min(one["videos"]) >= 1, "a video whose size and length are not known"


@SCHEMES
@pytest.mark.parametrize("form", [0, 1], ids=["folder", "single"])
def test_a_comparison_fits(compared, tmp_path, form, dark):
    findings, complaints = opened(compared[form], tmp_path, dark)
    check(findings, complaints, dark)
    assert {one["title"] for one in findings} == {"LeWorldModel beside its baselines · lewm compare"}


def test_the_browser_would_have_found_faults(page, tmp_path):
    broken = shutil.copytree(page, tmp_path / "broken")
    (broken / "files" / "training" / "training.png").unlink()
    (broken / "files" / "planning" / "episode-0000.mp4").write_text("no video")
    with (broken / "index.html").open("a") as index:
        index.write('<p style="width: 900px; max-width: none">wide</p><script>throw Error("fault")</script>')
        index.write('<p style="color: #999; background: #fff">pale</p><img src="http://host.invalid/a.png" alt="">')
    (narrow, wide), complaints = opened(broken, tmp_path)
    assert sum("Error: fault" in line for line in complaints) == 2
    assert "http://host.invalid/a.png" in narrow["loaded"]
    assert narrow["contrast"] < 4.5
    assert narrow["overflow"] > 0 == wide["overflow"]
    assert min(narrow["images"]) == 0
    assert min(narrow["videos"]) == 0
