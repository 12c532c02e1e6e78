"""Installed packages that register an id are found by their text, and none is imported."""

import sys

import pytest

from lewm_data.envs.gymnasium import providers as module
from lewm_data.envs.gymnasium.providers import providers
from lewm_data.envs.registry import known_world, world
from lewm_data.errors import DataError


@pytest.fixture(autouse=True)
def install(tmp_path, monkeypatch):
    """Installs a package of one or more files, which fail where they are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(name, files, requires="gymnasium>=1.0"):
        for file, text in files.items():
            path = tmp_path / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"raise AssertionError('imported')\n{text}\n")
        made = tmp_path / f"{name}-1.0.dist-info"
        made.mkdir()
        required = f"Requires-Dist: {requires}\n" if requires else ""
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{required}")
        (made / "RECORD").write_text("".join(f"{file},,\n" for file in files))

    return installed


def test_ids_with_and_without_a_namespace(install):
    install("balls", {"ball_games/envs.py": 'register(id="balls/Catch-v1")'}, 'gymnasium ; extra == "play"')
    install("walls", {"walls.py": "for name in names: register(f'walls/{name}-v0')\nregister('Maze-v2')"})
    assert providers("balls/Throw-v0") == ["ball_games"]
    assert providers("walls/Low-v0") == providers("Maze-v2") == ["walls"]
    for other in ("Maze-v1", "ball/Catch-v1", "alls/Catch-v1", "Catch-v1", "walls/"[:-1]):
        assert providers(other) == []
    for name in ("ball_games", "walls"):
        assert name not in sys.modules


def test_only_packages_that_use_gymnasium_are_read(install, monkeypatch):
    text = 'register(id="balls/Catch-v1")'
    install("without", {"without.py": text}, "numpy")
    install("nothing", {"nothing.py": text}, "")
    install("other", {"other.py": text}, "gymnasium-robotics")
    install("climbing", {"../climbing.py": text, "missing/other.txt": text})
    install("large", {"large.py": text + "#" * 100})
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    assert providers("balls/Catch-v1") == []
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert providers("balls/Catch-v1") == ["large"]


def test_the_message_says_what_to_write_and_a_file_may_not_cause_an_import(install):
    install("balls", {"ball_games/envs.py": 'register(id="balls/Catch-v1")'})
    install("copied", {"copied.py": 'register(id="balls/Catch-v1")'})
    with pytest.raises(DataError) as raised:
        world("balls/Catch-v1")
    assert str(raised.value) == (
        'unknown environment "balls/Catch-v1": no package is imported that registers it\n'
        'Write "ball_games:balls/Catch-v1" or "copied:balls/Catch-v1", which imports the package and runs its code.'
    )
    assert known_world("balls/Catch-v1") is None
    with pytest.raises(DataError, match=r'unknown environment "balls2/Catch-v1"\n.*Known: cube, .*push-t'):
        world("balls2/Catch-v1")
