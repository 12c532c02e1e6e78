"""What others wrote, names of files, attributes and messages, is shown as it is, and sends a terminal no commands."""

import ast
import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from rich.table import Table
from typer.testing import CliRunner

from lewm.errors import LewmError
from lewm_cli import output
from lewm_cli.main import app

PROGRAM = [sys.executable, "-c", "from lewm_cli.main import main; main()"]
CLI = Path(output.__file__).parent

# What terminals and rich take for something else than text.
ODD = ["Robot demo [dqw4w9wg]", "a[/b]", ":smile:", "[bold red]x[/]", "100:x:7 0xff True 'q'", "\\[a]"]


def lewm(*arguments, **environment):
    """The program itself, as a shell runs it; names may be bytes."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, env={**os.environ, **environment})


@pytest.mark.parametrize("name", ODD)
def test_names_are_shown_as_they_are_wherever_they_stand(name, capsys):
    table = Table(name, title=name)
    table.add_row(name)
    table.caption = name
    output.note(name)
    output.show(name, table)
    output.fail(LewmError(name, name))
    output.refuse(name, "lewm")
    shown, errors = capsys.readouterr()
    assert shown.count(name) == 5
    assert errors.count(name) == 4


def test_the_clock_of_a_stage_goes_on_after_another_stage_has_ended(monkeypatch):
    monkeypatch.setattr(output.stderr, "_file", io.StringIO())
    with output.progress_bar() as bar:
        now = 0.0
        bar.get_time = lambda: now
        task = bar.add_task("", total=1)
        for what, at, share in (
            ("encoding", 0, 0.5),
            ("encoding", 10, 1),
            ("training", 20, 0.1),
            ("training", 50, 0.9),
        ):
            now = float(at)
            output.show_stage(bar, task, what, share)
        (shown,) = bar.tasks
        assert (shown.completed, shown.elapsed, shown.finished) == (0.9, 30, False)


@pytest.mark.parametrize("step", [lambda bar, task: bar.advance(task), lambda bar, task: bar.update(task, advance=1)])
def test_a_bar_is_shown_from_the_first_progress_on(step, monkeypatch):
    monkeypatch.setattr(output.stderr, "_file", io.StringIO())
    with output.progress_bar() as bar:
        task = bar.add_task("film", total=3)
        assert not bar.live.is_started
        step(bar, task)
        assert bar.live.is_started
        assert bar.tasks[0].completed == 1


@pytest.mark.parametrize("name", ODD)
def test_progress_and_warnings_show_names_as_they_are(name, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(output.stderr, "_file", stream)
    with output.progress_bar(output.column(lambda task: task.fields["more"])) as bar:
        bar.update(bar.add_task(name, total=1, more=name), completed=1)
    output._Warnings().emit(logging.LogRecord("lewm", logging.WARNING, "", 0, "%s: odd", (name,), None))
    assert stream.getvalue().count(name) == 3
    assert f"warning: {name}: odd\n" in stream.getvalue()


def test_control_characters_are_shown_and_not_sent():
    sent = "".join(map(chr, range(0xA0))) + "\u2028\u202e\u2066"
    shown = output.plain(sent)
    assert shown.isprintable()
    assert output.plain("\x1b]0;title\x07\n\r\t\x9b") == r"\x1b]0;title\x07\n\r\t\x9b"
    assert output.plain("a\nb\x1b", lines=True) == "a\nb\\x1b"
    assert output.plain("\udcff.h5 é 東 🤖") == "\N{REPLACEMENT CHARACTER}.h5 é 東 🤖"


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "arm.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros((3, 16, 16, 3), np.uint8)
        file["action"] = np.zeros((3, 2), np.float32)
        file["ep_len"], file["ep_offset"] = [3], [0]
        file.attrs["env"] = "arm\x1b]0;pwned\x07\x1b[2J\nsecond line"
    failed = lewm("train", "--data", str(path), "--steps", "1", "--set", "training.held_out=0.5")
    assert b"\x1b" not in failed.stdout + failed.stderr
    assert b"\x07" not in failed.stdout + failed.stderr


@pytest.mark.parametrize("debug", ["0", "1"])
def test_a_name_of_several_lines_and_none_of_utf8_keeps_to_two_lines(tmp_path, debug):
    failed = lewm(b"train", b"--data", bytes(tmp_path) + b"/a\n\x1b[31m\xff.h5", LEWM_DEBUG=debug)
    lines = failed.stderr.decode().splitlines()[-2:]
    assert failed.returncode == 1
    assert b"\x1b" not in failed.stderr
    assert lines[0].startswith(f"error: {tmp_path}/a\\n\\x1b[31m\N{REPLACEMENT CHARACTER}.h5: ")
    assert len(failed.stderr.splitlines()) == 2 or debug == "1"


def test_wrong_usage_is_said_in_two_lines_with_the_words_as_they_are():
    for arguments in (["plan", "[bold]:x:"], ["[/b]"], ["collect", "--workers", "[/b]"], ["--[b]"]):
        failed = lewm(*arguments)
        assert failed.returncode == 2
        problem, remedy = failed.stderr.decode().splitlines()
        assert problem.startswith("error: ")
        assert arguments[-1] in problem
        assert remedy.endswith(f'{" ".join([*arguments[:-1][:1], "--help"])}" shows what it takes.')


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("arguments", [["envs"], ["envs", "--json"], ["--help"], ["probe", "--help"]])
def test_every_encoding_of_the_output_will_do(arguments, encoding):
    shown = lewm(*arguments, PYTHONIOENCODING=encoding, COLUMNS="60")
    assert shown.returncode == 0, shown.stderr
    text = shown.stdout.decode(encoding)
    if encoding != "utf-8":
        assert not set("│╭─━┃") & set(text)
        assert "\\u25" not in text, "boxes are drawn in ASCII, not written as codes"
    if arguments == ["envs", "--json"]:
        assert json.loads(text)["environments"]


def test_json_is_valid_whatever_the_result_holds(capsys):
    output.show_json({"name": "\udcff [b] é", "bad": [float("nan"), {"deep": float("inf")}], "good": (1.5, 2, True)})
    shown = capsys.readouterr().out
    assert shown.isascii()

    def refuse(word):
        raise AssertionError(word)

    found = json.loads(shown, parse_constant=refuse)
    assert found == {"name": "\udcff [b] é", "bad": [None, {"deep": None}], "good": [1.5, 2, True]}


@pytest.mark.parametrize("arguments", [["envs"], ["envs", "--json"], ["--version"]])
def test_a_reader_that_leaves_ends_the_program_quietly(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*PROGRAM, *arguments], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert ended.returncode == 1
    assert ended.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["envs"], ["envs", "--json"]])
def test_output_on_a_full_disk_is_a_failure_of_two_lines(arguments):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 2
    assert "No space left on device" in ended.stderr


def test_closed_streams_are_no_failure():
    for redirected in (">&-", ">&- 2>&-"):
        code = f'"{sys.executable}" -c "from lewm_cli.main import main; main()" envs --json {redirected}'
        assert subprocess.run(code, shell=True).returncode == 0


def test_only_the_sink_makes_text_of_rich():
    """A `Text`, a `Console` or a `TextColumn` of another module's would bypass `plain`."""
    for path in CLI.glob("*.py"):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = {one.name for one in node.names}
                checked = {"Text", "TextColumn", "Console", "RichHandler", "escape", "Markdown"} & names
                assert checked <= ({"Text"} if path.name == "probe.py" else set()), (path, checked)
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "Text", "typer.secho", "sys.stdout.write"), (path, called)


def test_version_needs_no_torch(monkeypatch):
    code = "import sys; from lewm_cli.main import app\ntry: app(['--version'])\nfinally: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"
    first, second, _ = shown.splitlines()
    assert re.fullmatch(r"lewm \d+\.\d+\.\d+( \(commit [0-9a-f]{40}(\+dirty)?\))?", first)
    assert re.fullmatch(r"torch \S+, numpy \S+, python 3\.\S+", second)
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0
