"""Specifications: what is read, and what a fault is called."""

import pytest

from lewm.compare.cells import differences
from lewm.compare.expansion import expand
from lewm.compare.records import Place
from lewm.compare.spec import read_spec, shipped
from lewm.errors import LewmError
from lewm.heads.policies import POLICIES
from lewm.planning.policy import PATCH_WIDTH
from lewm_data.errors import DataError
from lewm_data.store.clips import split_episodes

SPEC = """
title = "Own"
reference = "lewm"
[worlds.two-room]
episodes = 12
[methods.lewm]
[methods.wide]
of = "lewm"
train.set = { "model.latent" = 128 }
[[groups]]
title = "Width"
axis = "numbers"
rows = [ "lewm", { of = "wide", x = 128 } ]
"""


TWO = '{ of = "wide", title = "Two", plan.set = { execute = 2 } }'


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "own.toml"
        path.write_text(text)
        return str(path)

    return written


def test_a_file_is_read_under_its_name(write):
    name, spec = read_spec(write(SPEC))
    assert name == "own"
    assert spec.seeds == (0, 1, 2)
    assert [row.of for row in spec.groups[0].rows] == ["lewm", "wide"]
    assert spec.groups[0].rows[1].x == 128
    assert [one.of for one in spec.line("wide")] == [None, "lewm"]


def test_a_specification_without_groups_has_one_with_all_methods(write):
    _, spec = read_spec(write(SPEC[: SPEC.index("[[groups]]")]))
    assert [row.of for row in spec.tables()[0].rows] == ["lewm", "wide"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("episodes = 12", "episode = 12", 'worlds.two-room.episode"\nDid you mean "worlds.two-room.episodes"?'),
        ("train.set", "train.sets", 'Did you mean "methods.wide.train.set"?'),
        ("x = 128", "notes = 128", 'Did you mean "groups.0.rows.1.note"?'),
        ("x = 128", "note = 128", "groups.0.rows.1.note: Input should be a valid string"),
        ("x = 128", "ex = 128", 'groups.0.rows.1.ex"'),
        ('of = "lewm"', 'of = "lewn"', 'unknown method in of "lewn" Did you mean "lewm"?'),
        ('reference = "lewm"', 'reference = "wid"', 'unknown reference "wid" Did you mean "wide"?'),
        ("[methods.lewm]", '[methods.lewm]\nof = "wide"', "methods.lewm is a change of itself"),
        ("[methods.lewm]", "[methods.lewm.worlds.push-t]", 'unknown world in worlds "push-t"'),
        ("[methods.lewm]", '[methods.lewm]\nonly_worlds = ["push-t"]', 'unknown world in only_worlds "push-t"'),
        (
            "[methods.lewm]",
            '[worlds.push-t]\n[methods.lewm]\nonly_worlds = ["push-t"]',
            'the reference "lewm" is not measured in two-room',
        ),
        ("episodes = 12", 'data = "file.h5"\nepisodes = 12', "data names a file that is there, so episodes cannot"),
        ("episodes = 12", "episodes = 0", "worlds.two-room.episodes: Input should be greater than 0, got 0"),
        (
            "x = 128",
            "x = 128, plan.set = { execute = 2 }",
            'row of the group "Width" changes something, and has no title',
        ),
        ('"lewm", {', '"lewm", { of = "lewm", x = 1 }, {', 'titles of the group "Width": two are called "lewm"'),
        ('"lewm", {', '"lewm", { of = "lewm", title = "a" }, {', 'keys of the group "Width": two are called "lewm"'),
        ('{ of = "wide", x = 128 }', f"{TWO}, {TWO.replace('Two', 'two')}", 'two are called "wide-width-two"'),
        ('{ of = "wide", x = 128 }', f"{TWO}]\n[methods.wide-width-two", 'methods: two are called "wide-width-two"'),
        ('rows = [ "lewm", ', 'rows = ["lewm"]\n[[groups]]\ntitle = "width"\nrows = [', 'two are called "width"'),
        ('title = "Own"', 'title = "Own"\nseeds = [1, 1]', "seeds has a seed twice"),
        ('title = "Own"', 'title = "Own"\nseeds = []', "seeds: Tuple should have at least 1 item"),
        ("[worlds.two-room]", "[worlds.two-rooms]", 'unknown environment "two-rooms"'),
        ("title =", "title", "is not TOML"),
    ],
)
def test_a_fault_names_the_key_and_the_nearest_right_one(write, old, new, said):
    with pytest.raises((LewmError, DataError)) as caught:
        read_spec(write(SPEC.replace(old, new, 1)))
    assert said in str(caught.value)


def test_a_file_does_not_take_the_name_of_what_ships(tmp_path):
    (tmp_path / "ablation.toml").write_text(SPEC)
    with pytest.raises(LewmError, match='would take the place of that of "ablation"'):
        read_spec(str(tmp_path / "ablation.toml"))


def test_an_unknown_name_is_told_with_those_that_ship():
    with pytest.raises(LewmError) as caught:
        read_spec("planer")
    assert caught.value.problem == 'unknown specification "planer"'
    assert 'Did you mean "planners"?' in caught.value.remedy


def test_a_file_whose_name_is_no_folder_is_refused(tmp_path):
    (tmp_path / "-own.toml").write_text(SPEC)
    with pytest.raises(LewmError, match="becomes that of a folder"):
        read_spec(str(tmp_path / "-own.toml"))


@pytest.mark.parametrize("name", shipped())
def test_what_ships_can_be_done_in_all_its_worlds(name, tmp_path):
    found, spec = read_spec(name)
    assert found == name
    assert spec.seeds == (0, 1, 2)
    assert spec.tasks.count == 200
    work = expand(spec, Place(tmp_path), tuple(spec.worlds))
    assert [one.world for one in work.worlds] == list(spec.worlds)
    named = [key for cells in work.worlds[0].tables for row in cells.rows for key in {cell.method for cell in row}]
    others = [key for key in named if key not in spec.methods]
    assert len(set(others)) == len(others), "each row that is no method has a key of its own"
    for table in work.worlds[0].tables:
        methods = {row[0].method for row in table.rows}
        assert not table.axis or spec.reference in methods, "a curve has the reference among its points"


def test_what_ships_shares_its_trainings(tmp_path):
    """The reference of all is one run, and the ablation has rows of the baselines."""
    trained = {}
    for name in shipped():
        jobs = expand(read_spec(name)[1], Place(tmp_path), ("two-room",)).jobs
        trained[name] = {job for job in jobs if job.startswith("train-")}
    assert len(trained["planners"]) == 3
    assert trained["planners"] < trained["baselines"] & trained["ablation"]
    assert len(trained["baselines"] & trained["ablation"]) == 12


def rows_of(name, tmp_path):
    """The cells of every row of what ships in Two-Room, by group and title."""
    (world,) = expand(read_spec(name)[1], Place(tmp_path), ("two-room",)).worlds
    return {(table.title, row[0].title): row for table in world.tables for row in table.rows}


@pytest.mark.parametrize("name", ["ablation", "baselines"])
def test_floor_and_ceiling_are_beside_what_they_bound(name, tmp_path):
    agents = {row[0].planning.agent for row in rows_of(name, tmp_path).values()}
    assert {"random", "expert"} <= agents


def test_straightening_is_compared_with_a_run_that_differs_in_it_alone(tmp_path):
    rows = rows_of("baselines", tmp_path)
    alone, straightened = (
        rows["World models, with a search", f"LeWM, 2 latents{more}"][0] for more in ("", ", straightened")
    )
    assert set(differences(straightened.run.config, alone.run.config)) == {"objective.straightening"}
    assert straightened.planning == alone.planning


def test_all_episodes_are_as_many_as_the_axis_says(tmp_path):
    data = read_spec("ablation")[1].worlds["two-room"]
    (cell, *_) = rows_of("ablation", tmp_path)["Episodes to train on", "all"]
    training = cell.run.config.training
    assert training.episodes is None
    assert cell.x == len(split_episodes(data.episodes, training.held_out, training.seed)[0])


def test_what_baselines_do_not_get_is_said(tmp_path):
    rows = rows_of("baselines", tmp_path)
    pldm = rows["World models, with a search", "PLDM"][0]
    assert "not tuned" in pldm.note
    assert "two frames" in pldm.note
    assert pldm.run.config.model.predictor.history + 1 == 2, "as the note says"
    assert "one seed" in rows["World models, with a search", "DINO-WM, small"][0].note
    of_patches = [row[0].note for (group, _), row in rows.items() if "patches" in group and row[0].planning.policy]
    assert len(of_patches) == len(POLICIES)
    assert all(f"{PATCH_WIDTH} numbers of each patch" in note for note in of_patches)
    assert len({line.settings(seed=0).steps for line in POLICIES.values()}) == 1, "no policy learns longer than another"
