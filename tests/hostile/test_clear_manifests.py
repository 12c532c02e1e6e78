"""Manifests of CLEAR-LeWM that are wrong, each made here, each met with two lines that say what to do."""

import json

import pytest

from lewm.errors import LewmError
from lewm.evaluation.clear.manifest import MOST_BYTES, read_if_manifest
from lewm.evaluation.clear.pairs import tasks_of
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from tests.lewm.evaluation.clear_files import manifest_of, push_t_data, written

PUSH_T = world("push-t")


@pytest.fixture
def path(tmp_path):
    """A good manifest, to be spoilt; its dataset lies beside it."""
    path = written(tmp_path / "manifest.json", manifest_of(push_t_data(tmp_path / "data.h5")))
    assert len(played(path)) == 2
    return path


def played(path, place=PUSH_T):
    with Dataset.open(path.parent / "data.h5") as dataset:
        return tasks_of(read_if_manifest(path), dataset, place)


def refused(path, problem, place=PUSH_T):
    with pytest.raises(LewmError) as caught:
        played(path, place)
    first, remedy = str(caught.value).split("\n")
    assert first.startswith(f"{path}: "), first
    assert problem in first, first
    assert len(first) < 400
    assert len(remedy) > 15
    assert remedy.endswith(".")


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        (["schema_version"], "clear-lewm-manifest-v2", "schema 'clear-lewm-manifest-v2', this version reads"),
        (["schema_version"], "clear-lewm-manifest-v1" + "9" * 500, "schema 'clear-lewm-manifest-v1999"),
        (["task"], "cube", "tasks in 'cube', the run was trained in 'push-t'"),
        (["task"], "chess", "task: Input should be 'pusht'"),
        (["task"], None, "task: Input should be 'pusht'"),
        (["policy_seed"], -1, "policy_seed"),
        (["policy_seed"], 2**64, "policy_seed"),
        (["policy_seed"], "42", "policy_seed: Input should be a valid integer"),
        (["policy_seed"], True, "policy_seed: Input should be a valid integer"),
        (["split"], "test", "split: Input should be 'all'"),
        (["dataset"], "data.h5", "dataset: Input should be"),
        (["dataset", "episode_column"], "../etc", "dataset.episode_column"),
        (["dataset", "fingerprint", "kind"], "md5", "dataset.fingerprint.kind"),
        (["dataset", "fingerprint", "value"], "0" * 64, "is of 'data.h5' with the metadata-sha256 000000000000"),
        (["dataset", "fingerprint", "value"], "../" * 30, "dataset.fingerprint.value"),
        (["dataset", "fingerprint", "kind"], "file-sha256", "with the file-sha256"),
        (["protocol"], [], "protocol: Input should be"),
        (["protocol", "name"], "easy", "protocol.name: Input should be 'official'"),
        (["protocol", "goal_offset"], 0, "protocol.goal_offset: Input should be greater than 0"),
        (["protocol", "goal_offset"], 3, "pairs.0: start and goal are not 3 rows and steps apart"),
        (["protocol", "eval_budget"], 10**12, "protocol.eval_budget"),
        (["protocol", "eval_budget"], 50.5, "protocol.eval_budget"),
        (["protocol", "pusht_position_threshold"], "10", "protocol.pusht_position_threshold"),
        (["protocol", "pusht_position_threshold"], float("nan"), "protocol.pusht_position_threshold"),
        (["protocol", "pusht_position_threshold"], -1, "protocol.pusht_position_threshold"),
        (["protocol", "pusht_radius"], 10, "protocol.pusht_radius: Extra inputs are not permitted"),
        (["protocol", "success_mode"], "always", "protocol.success_mode"),
        (["pairs"], [], "pairs: Tuple should have at least 1 item"),
        (["pairs"], {}, "pairs: Input should be a valid tuple"),
        (["pairs", 1], 3, "pairs.1: Input should be"),
        (["pairs", 1, "pair_id"], 0, "pairs.1.pair_id: 0 is there twice"),
        (["pairs", 1, "pair_id"], -1, "pairs.1.pair_id"),
        (["pairs", 1, "start_row"], -1, "pairs.1.start_row"),
        (["pairs", 1, "start_row"], 0.0, "pairs.1.start_row: Input should be a valid integer"),
        (["pairs", 1, "start_row"], "0", "pairs.1.start_row: Input should be a valid integer"),
        (["pairs", 1, "start_row"], 2**70, "pairs.1.start_row"),
        (["pairs", 0, "goal_row"], 13, "pairs.0: row 13, the dataset has 13"),
        (["pairs", 0, "goal_row"], 2**52, "pairs.0: row 4503599627370496, the dataset has 13"),
        (["pairs", 0, "goal_row"], 12, "pairs.0: start and goal are not 4 rows and steps apart"),
        (["pairs", 0, "goal_step"], 7, "pairs.0: start and goal are not 4 rows and steps apart"),
        (["pairs", 0, "episode_id"], 0, "pairs.0: row 7 is of episode 1, not 0"),
        (["lewm"], {"sha256": "0"}, "lewm.protocol: Field required"),
    ],
)
def test_wrong_values(path, where, value, problem):
    content = json.loads(path.read_text())
    inner = content
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    refused(written(path, content), problem)


def test_pairs_that_cross_or_misname_episodes(path):
    content = json.loads(path.read_text())
    first = content["pairs"][0]
    content["pairs"][0] = first | {"start_row": 3, "goal_row": 7, "start_step": 3, "goal_step": 7, "episode_id": 0}
    refused(written(path, content), "pairs.0: rows 3 and 7 are of different episodes")
    content["pairs"][0] = first | {"start_step": 1, "goal_step": 5}
    refused(written(path, content), "pairs.0: row 7 is step 2 of its episode, not 1")


@pytest.mark.parametrize("name", ["task", "protocol", "policy_seed", "split", "dataset", "pairs"])
def test_what_is_missing(path, name):
    content = json.loads(path.read_text())
    del content[name]
    refused(written(path, content), f"{name}: Field required")


def test_a_world_that_the_project_does_not_have(path):
    refused(path, "tasks in 'pusht', the run was trained in 'two-room'", world("two-room"))


def test_other_json_is_no_manifest(path):
    for content in ("[]", "3", "{}", '{"schema_version": 3}', '{"schema_version": "other-v1"}'):
        path.write_text(content)
        assert read_if_manifest(path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"\x80\x04"])
def test_files_that_are_not_json(path, content):
    path.write_bytes(content)
    refused(path, "is not ")


def test_files_that_are_too_large(path):
    with path.open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    refused(path, "bytes, at most")
