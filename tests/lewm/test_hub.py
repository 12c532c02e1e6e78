"""Released checkpoints in the cache of the Hugging Face Hub; nothing here needs a network."""

import shutil
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants

import lewm
from lewm.checkpoints import released
from lewm.checkpoints.frozen import settled, take_frozen
from lewm.config import FrozenEncoder
from lewm.errors import LewmError
from lewm.model import build

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def kept(cache, golden):
    """A checkpoint in the cache, as that package keeps it: links to files that are called by their digests."""
    repository = cache / "models--someone--rooms"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for number, name in enumerate(("config.json", "weights_epoch_2.pt")):
        shutil.copy(golden / "stable_worldmodel" / "transformers5" / name, repository / "blobs" / str(number))
        (snapshot / name).symlink_to(repository / "blobs" / str(number))
    return snapshot


def test_a_checkpoint_in_the_cache_is_taken_without_a_network(kept, golden):
    found = released.locate("hf:someone/rooms")
    assert (found.weights, found.config) == (kept / "weights_epoch_2.pt", kept / "config.json")
    assert (found.source, found.revision) == ("hf:someone/rooms", COMMIT)
    assert released.locate(f"hf:someone/rooms@{COMMIT}").revision == COMMIT
    theirs = lewm.load(golden / "stable_worldmodel" / "transformers5").state_dict()
    ours = lewm.load("hf:someone/rooms").state_dict()
    assert all(ours[name].equal(theirs[name]) for name in ours if not name.startswith("action_"))


def test_its_encoder_can_be_frozen(kept):
    theirs = lewm.load("hf:someone/rooms")
    section = FrozenEncoder(weights="hf:someone/rooms")
    config = settled(theirs.config.model_copy(update={"encoder": section, "projector_hidden": None}))
    assert config.encoder.weights == "hf:someone/rooms"
    model = build(config)
    take_frozen(model)
    frames = torch.randint(0, 256, (1, 28, 28, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(model.eval().embed(frames), theirs.embed(frames))


@pytest.mark.parametrize("name", ["someone/others", "someone/rooms@other"])
def test_what_is_not_in_the_cache_is_named(kept, name):
    with pytest.raises(LewmError, match=f"hf:{name}: cannot be fetched"):
        released.locate(f"hf:{name}")


def test_a_repository_without_weights(kept):
    (kept / "weights_epoch_2.pt").unlink()
    with pytest.raises(LewmError, match=r"no config\.json with one file of weights"):
        released.locate("hf:someone/rooms")


@pytest.mark.parametrize(
    "name",
    ["", "a", "a/b/c", "../b", "a/..", "/etc/passwd", "a/b@../c", "a b/c", "a/b@", "a/b\n", "./b", "a/" + 97 * "b"],
)
def test_names_that_climb_or_are_none(cache, name):
    with pytest.raises(LewmError, match="expected hf:USER/REPOSITORY"):
        released.locate(f"hf:{name}")
    assert not any(cache.iterdir())


@pytest.fixture
def answering(kept, monkeypatch):
    """Lets the repository answer with these sizes, and returns the names that are fetched, one by one."""

    def answer(sizes):
        fetched = []

        def fetch(repository, name, revision, local_files_only):
            assert (repository, revision, local_files_only) == ("someone/rooms", COMMIT, False)
            fetched.append(name)
            return str(kept / name)

        siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        found = SimpleNamespace(sha=COMMIT, siblings=siblings)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: found)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
        return fetched

    return answer


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"config.json": 2**21, "weights.pt": 10}, "config.json has 2,097,152 bytes, at most 1,048,576"),
        ({"config.json": 10, "weights_epoch_2.pt": 10**9}, "weights_epoch_2.pt has 1,000,000,000 bytes, at most"),
        ({"config.json": 10, "deeper/weights.pt": 10}, "no config.json with one file of weights"),
        ({"config.json": None, "weights.pt": 10}, "config.json: the repository does not say how many bytes"),
        ({"config.json": 10, "weights.pt": None}, "weights.pt: the repository does not say how many bytes"),
        ({"config.json": 10, "*.pt": 10**9}, r"\*.pt has 1,000,000,000 bytes, at most"),
    ],
)
def test_sizes_are_looked_up_before_anything_large_is_fetched(answering, sizes, words):
    fetched = answering(sizes)
    with pytest.raises(LewmError, match=words):
        released.locate("hf:someone/rooms")
    assert fetched in ([], ["config.json"])


def test_a_file_is_fetched_by_its_name_and_not_as_a_pattern(answering, kept):
    (kept / "weights_epoch_2.pt").rename(kept / "*.pt")
    fetched = answering({"config.json": 10, "*.pt": 10, "large.bin.gz": 10**12})
    assert released.locate("hf:someone/rooms").weights == kept / "*.pt"
    assert fetched == ["config.json", "*.pt"]


def test_without_the_package_it_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(LewmError, match=r'need huggingface_hub, which is not installed\n.*".\[hub\]"'):
        released.locate("hf:someone/rooms")
