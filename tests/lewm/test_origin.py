"""Where an imported run is from, and the command that imports it again."""

from dataclasses import asdict

import pytest

from lewm.checkpoints.origin import Origin

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("source", ["hf:someone/rooms", "hf:someone/rooms@main"])
def test_the_command_names_the_commit_and_the_world(source):
    origin = Origin(source, "weights.pt", "00", "transformers4", COMMIT, "my robot")
    assert origin.command == f"lewm checkpoint import hf:someone/rooms@{COMMIT} --data DATASET.h5 --env 'my robot'"
    assert Origin.of(asdict(origin)) == origin


def test_a_folder_has_no_commit_and_a_world_that_the_data_state_is_not_typed():
    origin = Origin("/my files/a@b", "weights.pt", "00", "transformers4")
    assert origin.command == "lewm checkpoint import '/my files/a@b' --data DATASET.h5"
    said = asdict(origin)
    del said["env"]  # as in runs that were imported earlier
    assert Origin.of(said) == origin


@pytest.mark.parametrize("said", ["hf:someone/rooms", 7, {"source": "hf:someone/rooms"}])
def test_what_states_no_origin(said):
    with pytest.raises((KeyError, TypeError)):
        Origin.of(said)
