"""Every seed is a number of 64 bits, wherever it is given."""

import json
import re
from collections.abc import Iterator
from typing import get_type_hints

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from lewm import recipes
from lewm.config import Config, resolve
from lewm.errors import LewmError
from lewm_cli.main import app
from lewm_cli.options import MAX_SEED
from lewm_data.errors import DataError
from lewm_data.seeds import SEEDS
from lewm_data.store.clips import shuffled

RECIPE = recipes.small("two-room", 2)


def seeds(commands: typer.Typer) -> Iterator[OptionInfo]:
    """The options called --seed of all commands."""
    for group in commands.registered_groups:
        yield from seeds(group.typer_instance)
    for command in commands.registered_commands:
        annotation = get_type_hints(command.callback, include_extras=True).get("seed")
        if annotation is not None:
            yield annotation.__metadata__[0]


def test_every_command_takes_64_bits():
    found = list(seeds(app))
    assert len(found) >= 7
    assert {(option.min, option.max, option.clamp) for option in found} == {(0, MAX_SEED, False)}
    assert MAX_SEED + 1 == SEEDS == 2**64


@pytest.mark.parametrize("command", ["collect", "train", "plan", "probe", "decode"])
@pytest.mark.parametrize("seed", ["18446744073709551616", "-1", "1.5", "nan"])
def test_other_seeds_are_wrong_usage(command, seed):
    result = CliRunner().invoke(app, [command, "--seed", seed])
    assert result.exit_code == 2
    assert "--seed" in re.sub(r"[^ -~]", "", result.output)


@pytest.mark.parametrize("seed", [0, 2**32, 2**63, MAX_SEED])
def test_a_configuration_keeps_its_seed(seed):
    config = resolve(RECIPE, None, {"training.seed": str(seed)})
    assert config.training.seed == json.loads(config.to_json())["training"]["seed"] == seed
    assert Config.from_json(config.to_json(), "here") == config


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_other_seeds_are_refused_in_words(seed):
    with pytest.raises(LewmError, match=r"training\.seed: Input should be .*, got"):
        resolve(RECIPE, None, {"training.seed": seed})
    with pytest.raises(DataError, match="expected at least 0 and below 2\\^64"):
        shuffled(3, seed, 0)
