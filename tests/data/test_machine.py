"""The memory of a container is its own limit, not the machine's."""

import os

import pytest

from lewm_data.machine import cpu, physical_memory

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of 64 GiB."""
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.__getitem__)


def written(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, 64 * GIB, id="no control groups"),
        pytest.param({"proc/self/cgroup": "0::/\n"}, 64 * GIB, id="root of version 2, which has no limit"),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{4 * GIB}\n"}, 4 * GIB, id="container"
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 64 * GIB, id="group without a limit"
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b:c\n",
                "sys/fs/cgroup/a/memory.max": f"{3 * GIB}\n",
                "sys/fs/cgroup/a/b:c/memory.max": f"{5 * GIB}\n",
            },
            3 * GIB,
            id="a group within a smaller one",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n",
                "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            2 * GIB,
            id="version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/docker/1\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
            },
            2 * GIB,
            id="version 1, the container's group in the place of the root",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{400 * GIB}\n"},
            64 * GIB,
            id="a limit above the machine's memory",
        ),
    ],
)
def test_memory_is_the_least_of_the_machine_and_its_control_groups(tmp_path, files, expected):
    assert physical_memory(written(tmp_path, files)) == expected


def test_the_processor_has_the_name_that_the_system_gives_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nprocessor\t: 1\nmodel name\t: Some CPU: 3 GHz\n")
    assert cpu(cpuinfo) == "Some CPU: 3 GHz"
    assert cpu(tmp_path / "missing") == cpu(tmp_path / "missing too") != "Some CPU: 3 GHz"
