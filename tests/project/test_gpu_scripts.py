"""The scripts for a machine with a GPU run every step here, small and on the CPU."""

import contextlib
import importlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(script: str, out: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The script on a machine that shows no GPU."""
    environment = {**os.environ, "OUT": str(out), "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        ["bash", BENCHMARKS / script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=out.parent,  # anywhere
        check=False,
    )


def run_tiny(script: str, out: Path) -> tuple[int, str]:
    """Exit status and log."""
    done = run(script, out, "--tiny")
    (log,) = out.glob("*.log")
    assert log.read_text() == done.stdout
    return done.returncode, done.stdout


def results(path: Path) -> list[dict]:
    return json.loads(path.read_text())["results"]


def test_a_pass_runs_every_step_and_writes_every_report(tmp_path):
    out = tmp_path / "out"
    status, log = run_tiny("gpu_pass.sh", out)
    assert status == 0, log
    steps = re.findall(r"^### \d+ s: (\w+), at most", log, re.MULTILINE)
    assert [step for step in steps if step != "gpu"] == [
        *("versions", "doctor", "kernels", "ceilings", "planning", "tests", "sigreg", "training", "baselines", "tiles")
    ]
    assert "rollout cpu torch" in log
    assert "no CUDA device: there is nothing to compile for" in log
    assert "no CUDA device: the tests are only collected" in log
    assert "no CUDA device: no tiles are compared" in log
    assert "0 steps failed" in log
    assert "profiler_start" not in log
    assert {path.name for path in out.iterdir()} == {
        *("tiny-pass.log", "profile-tiny.txt", "ceilings-tiny.json", "planning-tiny.json"),
        *("planning-tiny-compiled.json", "sigreg-tiny.json", "training-tiny.json"),
    }
    (diagnosis,) = (json.loads(line) for line in log.splitlines() if line.startswith('{"versions"'))
    assert diagnosis["healthy"]
    assert all(row["tb_per_s"] > 0 for row in results(out / "ceilings-tiny.json") if row["what"] == "copy")
    planned = results(out / "planning-tiny.json") + results(out / "planning-tiny-compiled.json")
    assert {row["part"] for row in planned} == set("abcd")
    assert {"reference", "reference-compiled", "lewm", "dino-wm-sized-compiled"} <= {row["path"] for row in planned}
    missing = {} if importlib.util.find_spec("stable_worldmodel") else {"stable-worldmodel": "not installed"}
    assert {row["path"]: row["skipped"] for row in planned if "skipped" in row} == missing
    assert all(row.get("p20_ms", 0) >= 0 for row in planned)
    assert not [row for row in results(out / "sigreg-tiny.json") if "skipped" in row]
    eager, compiled = results(out / "training-tiny.json")
    assert eager["path"] == "eager"
    assert eager["clips_per_second"] > 0
    assert compiled["skipped"] == "nothing is compiled here: the device is cpu, not cuda"
    profile = (out / "profile-tiny.txt").read_text()
    assert "tiny, 1 environments, lewm fp32" in profile
    assert "training, 6 steps, eager" in profile


def test_what_a_step_breaks_or_outlasts_stops_no_other(tmp_path):
    script = tmp_path / "steps.sh"
    script.write_text(
        "set -u\nTOTAL=60\n"
        f"source {BENCHMARKS / 'gpu_steps.sh'}\n"
        "all() {\n"
        "step broken 9 false\nstep slow 1 sleep 30\nstep fine 9 echo works\nTOTAL=0\nstep late 9 echo no\nend\n"
        "}\nall\n"
    )
    environment = {**os.environ, "OUT": str(tmp_path / "out")}
    done = subprocess.run(["bash", script, "--tiny"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    lines = [re.sub(r"^### \d+ s: ", "", line) for line in done.stdout.splitlines()]
    assert lines[:-1] == [
        "broken, at most 9 s",
        "broken ended with status 1",
        "slow, at most 1 s",
        "slow ended with status 124, its time was over",
        "fine, at most 9 s",
        "works",
        "late is left out, the 0 s are over",
    ]
    assert lines[-1].startswith("done, 3 steps failed")


@pytest.mark.parametrize("script", ["gpu_pass.sh", "gpu_train.sh"])
def test_what_cannot_be_run_is_refused_before_anything_begins(tmp_path, script):
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    for arguments, problem in (
        ([], "expected a CUDA device: PyTorch "),
        (["--quick"], "expected --tiny, --help or a folder of wheels, got --quick\n"),
        ([empty, "--tiny"], f"expected a folder with wheels, got {empty}\n"),
        (["--tiny", empty / "missing"], f"expected a folder with wheels, got {empty / 'missing'}\n"),
    ):
        done = run(script, out, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(problem)
        assert len(done.stderr.splitlines()) == 2
    done = run(script, out, "--help")
    assert done.returncode == 0
    assert f"bash benchmarks/{script} [--tiny] [WHEELS]" in done.stdout
    assert not out.exists()


def test_an_interrupted_script_says_so_and_leaves_no_process_and_no_dataset(tmp_path):
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        ["bash", BENCHMARKS / "gpu_train.sh", "--tiny"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OUT": str(out), "PYTHON": sys.executable, "TMPDIR": str(temporary)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the answer to Ctrl-C in a terminal
    ) as running:
        log = ""
        for line in running.stdout:
            log += line
            if line.startswith("data: "):  # collected
                break
        assert list(temporary.glob("*/*/data.h5"))
        os.killpg(running.pid, signal.SIGINT)
        log += running.stdout.read()
    assert running.returncode == 130
    assert not list(temporary.iterdir())
    assert log.endswith(f" s: interrupted; what was measured is in {out}\n")
    assert (out / "tiny-train.log").read_text() == log
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # another process, which has just ended
            assert str(out).encode() not in command.read_bytes()


def test_wheels_for_another_python_are_refused(tmp_path):
    minor = sys.version_info.minor
    names = [
        "pure-1.0-py3-none-any.whl",
        "stable-1.0-cp39-abi3-any.whl",
        f"other-1.0-cp3{minor + 1}-cp3{minor + 1}-any.whl",
    ]
    command = [sys.executable, BENCHMARKS / "install_wheels.py", "--target", tmp_path, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"the wheels are for Python 3.{minor + 1}, this is 3.{minor}\n"


def test_a_world_is_collected_trained_on_and_planned_in(tmp_path):
    out = tmp_path / "out"
    status, log = run_tiny("gpu_train.sh", out)
    assert status == 0, log
    (result,) = results(out / "world-push-t-tiny.json")
    assert result["data"]["episodes"] == 12
    assert result["data"]["ended_by"] == "all episodes"
    assert result["train"]["last"]["step"] == result["train"]["steps"] == 4
    assert not result["train"]["steps_guessed"]
    assert result["plan"]["episodes"] == 2
    assert set(result["seconds"]) == {"collect", "train", "plan"}


def test_the_page_has_every_steps_limit_and_expects_at_most_eight_minutes():
    page = (ROOT / "docs" / "gpu.md").read_text()
    row = r"^\| ([\w, ]+) \|.*\| (\d+|what is left) \| ([\d +]+)(?:, cut at (\d+))? \|$"
    (*steps, (last, expected, limits, cut)) = re.findall(row, page, re.MULTILINE)
    assert (steps[-1][:2], last) == (("tiles", "what is left"), "all")
    scripts = [(BENCHMARKS / name).read_text() for name in ("gpu_steps.sh", "gpu_pass.sh")]
    written = [found for script in scripts for found in re.findall(r"step (\w+) (\d+) ", script)]
    named = []
    for names, _, limit, _ in steps:
        named += zip(names.split(", "), map(int, limit.split(" + ")), strict=True)
    assert dict(named) == {name: int(limit) for name, limit in written}
    assert len(named) == len(dict(named))
    assert sum(limit for _, limit in named) == int(limits)
    assert sum(int(seconds) for _, seconds, _, _ in steps[:-1]) == int(expected) <= 480
    assert f"TOTAL=${{TOTAL:-{cut}}}" in scripts[1]


def test_the_wheels_to_carry_are_those_of_the_constraints():
    constraints = set((ROOT / "constraints.txt").read_text().splitlines())
    wheels = [line for line in (BENCHMARKS / "gpu-wheels.txt").read_text().splitlines() if not line.startswith("#")]
    assert wheels
    assert set(wheels) <= constraints


@pytest.fixture
def warm_kernels(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    warm = importlib.import_module("warm_kernels")
    monkeypatch.setattr(warm.torch.cuda, "is_available", lambda: True)
    return warm


def test_kernels_of_the_default_precision_and_of_many_environments_are_compiled_first(warm_kernels):
    names = list(warm_kernels.cases())
    order = [f"{p}, {B}" for p in ("bf16", "tf32", "fp32") for B in (50, 1)]
    of_rollout = [re.fullmatch(r"[\w-]+ (\w+, \d+) environments", name) for name in names]
    assert list(dict.fromkeys(found[1] for found in of_rollout if found)) == order
    assert "triton-whole bf16, 50 environments" in names[:4]


def test_few_large_cases_run_at_a_time(warm_kernels, monkeypatch):
    lock, running, most, threads = threading.Lock(), [], [], set()
    all_there, small_done = threading.Barrier(warm_kernels.LARGE_TOGETHER), threading.Event()

    def run(command, env, **_):
        name = command[-1]
        large = name.endswith(", 50 environments")
        with lock:
            running.append(large)
            most.append(sum(running))
            threads.add(env["OMP_NUM_THREADS"])
        if large:
            all_there.wait()
            small_done.wait()  # until then, more of them could begin
        elif name == names[-1]:
            small_done.set()
        with lock:
            running.remove(large)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(warm_kernels.subprocess, "run", run)
    monkeypatch.setattr(warm_kernels.os, "cpu_count", lambda: 16)
    names = list(warm_kernels.cases())
    assert list(warm_kernels.problems(names)) == []
    assert max(most) == warm_kernels.LARGE_TOGETHER
    assert threads == {"1"}


def test_what_dies_is_written_at_once_and_what_lacked_time_or_memory_is_not(
    warm_kernels, monkeypatch, tmp_path, capsys
):
    failed = tmp_path / "failed.txt"
    ends = {
        "triton-split bf16, 50 environments": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB.",
        "triton-split bf16, 1 environments": None,
        "triton-whole tf32, 1 environments": "ValueError: rollout: the design whole takes bf16 alone",
        "triton-whole bf16, 1 environments": "torch.AcceleratorError: CUDA error: misaligned address\nIt may help:",
        "sigreg, paper": "RuntimeError: no kernel",
    }

    def run(command, timeout, **_):
        name = command[-1]
        if name == "sigreg, paper":
            assert failed.read_text()  # the case before died
        if ends[name] is None:
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, 1, stderr=f"Traceback:\n  File\n{ends[name]}\n")

    def one_after_the_other(names):
        return ((name, problem) for name in names if (problem := warm_kernels._apart(name)))

    monkeypatch.setattr(warm_kernels.subprocess, "run", run)
    monkeypatch.setattr(warm_kernels, "cases", lambda: dict.fromkeys(ends))
    monkeypatch.setattr(warm_kernels, "problems", one_after_the_other)
    monkeypatch.setattr(sys, "argv", ["warm_kernels.py", "--failed", str(failed)])
    with pytest.raises(SystemExit) as ended:
        warm_kernels.main()
    assert ended.value.code
    assert failed.read_text() == "triton-whole bf16: torch.AcceleratorError: CUDA error: misaligned address\n"
    printed = capsys.readouterr().out
    assert "triton-split bf16, 50 environments: it ran out of memory\n" in printed
    assert "triton-split bf16, 1 environments: not done after 90 s\n" in printed
    assert "triton-whole tf32" not in printed
    assert "5 cases in" in printed
    assert "4 failed" in printed


def test_reports_of_a_gpu_become_tables(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    tables = importlib.import_module("_gpu_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for table in (tables.ceilings(), tables.training(), tables.trained()):
        assert table.endswith("|---|\n\nGPU: not measured.\n")

    def report(name: str, rows: list[dict], device: str = "A GPU") -> None:
        (tmp_path / name).write_text(json.dumps({"device": device, "results": rows}))

    report("ceilings-gpu.json", [{"what": "copy", "tb_per_s": 2.987}, {"what": "matrix product", "tflop_per_s": 801.4}])
    report("ceilings-gpu-other.json", [{"what": "copy", "tb_per_s": 1.0}], device="cpu")  # a trial without a GPU
    step = {"path": "eager", "recipe": "paper", "frame_size": 224, "batch": 128, "median_ms": 51.26, "p20_ms": 50.0}
    step |= {"p80_ms": 53.0, "clips_per_second": 2497.1, "waiting_for_data": 0.014, "preparation_s": 3.2}
    report(
        "training-gpu.json",
        [step | {"peak_bytes": 3 * 2**29}, {"path": "compiled", "recipe": "paper", "skipped": "no compiler"}],
    )
    plan = {"successes": 120, "episodes": 200, "success_rate": 0.6, "interval_95": [0.53, 0.666]}
    row = {"world": "push-t", "recipe": "small", "frame_size": 96, "data": {"frames": 2010000}}
    done = row | {"train": {"last": {"step": 9000}}, "plan": plan | {"random": {"success_rate": 0.03}}}
    done |= {"seconds": {"collect": 150.0, "train": 230.0, "plan": 31.0}}
    report("world-push-t-gpu.json", [done, row])
    assert "| A GPU | copy | 2.99 TB/s |\n| A GPU | matrix product | 801 TFLOP/s |\n" in tables.ceilings()
    assert "1.00 TB/s" not in tables.ceilings()
    assert "| A GPU | paper, 224 px | 128 | eager | 51.3 (50 to 53) | 2,497 | 1% | 3 s | 1.5 |" in tables.training()
    assert "| A GPU | paper |  | compiled | no compiler |" in tables.training()
    cells = "120 of 200 = 60.0% | 53.0% to 66.6% | 3.0% | 150 s | 230 s | 31 s |"
    assert f"| A GPU | push-t | small, 96 px | 2,010,000 | 9,000 | {cells}" in tables.trained()
    assert "| 2,010,000 |  | not done |" in tables.trained()
    for table in (tables.ceilings(), tables.training(), tables.trained()):
        assert len({line.count("|") for line in table.splitlines() if line}) == 1
