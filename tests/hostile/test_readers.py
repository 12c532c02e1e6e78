"""Every reader of files that are not HDF5, by every hostile file: two lines of ours, in bounded memory and without end.

Each is read in a process of its own that may take 1 GiB: what a file claims must be checked before it is believed.
"""

import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it")

NAMES = {
    "video": "a.mp4",
    "picture": "a.png",
    "actions": "a.npy",
    "configuration": "a.toml",
    "run": "config.json",
    "tasks": "tasks.json",
    "released configuration": "config.json",
    "released weights": "weights.pt",
}


@pytest.fixture(scope="module")
def readers():
    """A process that reads a file with a reader, and answers with the error."""
    script = Path(__file__).with_name("readers.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def error(reader, path):
            process.stdin.write(json.dumps([reader, str(path)]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield error
        process.stdin.close()


def refused(answer, words=""):
    assert answer is not None, "it was read"
    kind, message = answer
    assert kind in ("LewmError", "DataError"), answer
    problem, remedy = message.split("\n")
    assert words in problem, problem
    assert remedy.endswith("."), remedy


def link_to_nowhere(path):
    path.symlink_to(path.with_name("nowhere"))


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        directory = os.open(path.parent, os.O_RDONLY)  # an address has 108 bytes at most
        bound.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(2**40)


EVERYWHERE = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": bound_socket,
    "a directory": Path.mkdir,
    "a link to nowhere": link_to_nowhere,
    "empty": Path.touch,
    "a sparse terabyte": sparse,
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "brackets": lambda path: path.write_text("[" * 100_000),
}


WORDS = {
    "a named pipe": "is a named pipe, expected a file",
    "a device": "is a device, expected a file",
    "a socket": "is a socket, expected a file",
    "a directory": "is a directory, expected a file",
}
FOLDER = ("video", "a directory")  # a directory of images


@pytest.mark.parametrize("reader", NAMES)
@pytest.mark.parametrize("file", EVERYWHERE)
def test_what_no_reader_takes(tmp_path, readers, reader, file):
    path = tmp_path / NAMES[reader]
    EVERYWHERE[file](path)
    if file == "empty" and reader == "configuration":
        assert readers(reader, path) is None  # a configuration that changes nothing
    else:
        refused(readers(reader, path), WORDS.get(file, "") if (reader, file) != FOLDER else "no images in this folder")


def gif(width, height, frames=3, delay=10):
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    frame = b"\x21\xf9\x04\0" + struct.pack("<H", delay) + b"\0\0"
    frame += b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + screen + frame * frames + b";"


def png(width, height):
    """All black; a row compresses to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def npy(header, values=b""):
    text = header if isinstance(header, bytes) else repr(header).encode()
    text = text.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


def array(**changes):
    return {"descr": "<f4", "fortran_order": False, "shape": (2, 2)} | changes


def deep(levels):
    return "[" * levels + "]" * levels


def safetensors(header, length=None):
    return struct.pack("<Q", len(header) if length is None else length) + header


RELEASED = {
    "encoder": {"size": "tiny", "patch_size": 14, "image_size": 224},
    "predictor": {"num_frames": 3, "input_dim": 192, "hidden_dim": 192, "depth": 6, "heads": 16, "mlp_dim": 2048},
    "action_encoder": {"input_dim": 10, "emb_dim": 192},
    "projector": {"input_dim": 192, "hidden_dim": 2048},
}


def released(part, **changes):
    return json.dumps(RELEASED | {part: RELEASED[part] | changes})


SPECIFIC = [
    # 900 MB a picture, from 89 bytes
    ("video", "a.gif", gif(15_000, 15_000), "pictures of 15000 x 15000 pixels, at most 33,554,432"),
    ("video", "a.gif", gif(65_535, 65_535), "is a video without a picture"),
    ("video", "a.gif", gif(0, 0), ""),
    ("video", "a.png", png(30_000, 30_000), "is a video without a picture"),
    ("picture", "a.png", png(30_000, 30_000), "of at most 33 million pixels"),
    ("picture", "a.gif", gif(16, 16), "is no PNG or JPEG picture"),
    ("actions", "a.npy", npy(array(shape=(10**12, 2))), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(array(shape=(-1, 2)), bytes(16)), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(array(shape=(2**62, 8)), bytes(16)), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(b"{'shape': (" + b"9" * 6000 + b",)}"), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(b"(" * 5000), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(b"  {'descr':\n   1L"), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(array(descr="|O"), bytes(64)), "is no .npy file of numbers"),
    ("actions", "a.npy", npy(array(descr="<c8"), bytes(64)), "has complex64 values"),
    ("actions", "a.npy", npy(array(descr="<U4"), bytes(64)), "has <U4 values"),
    ("actions", "a.npy", npy(array(descr=[("x", "<f4")]), bytes(64)), "values, expected numbers"),
    ("actions", "a.npy", npy(array(descr=7), bytes(64)), "is no .npy file of numbers"),
    ("actions", "a.csv", b"1," * 2**24 + b"1", "line 1: more than 262,144 characters"),
    ("actions", "a.csv", b"9" * 6000 + b",1\n", "is not finite"),
    ("actions", "a.csv", b"1,2\n\0,3\n", "line 2: expected numbers"),
    ("actions", "a.csv", b"1+2j,3\n4,5\n", "line 1: expected numbers"),
    ("actions", "a.npz", b"", 'unknown ending of a file of actions ".npz"'),
    ("configuration", "a.json", deep(100), "nested deeper than 32"),
    ("configuration", "a.json", deep(100_000), "nested deeper than 32"),
    ("configuration", "a.json", '{"training": {"seed": ' + "9" * 6000 + "}}", "thousands of digits"),
    ("configuration", "a.json", '{"recipe": "a", "recipe": "b"}', "the key 'recipe' is there twice"),
    ("configuration", "a.json", '{"training": {"learning_rate": NaN}}', "finite number"),
    ("configuration", "a.json", '{"training": {"learning_rate": 1e999}}', "finite number"),
    ("configuration", "a.json", '{"training": [1, 2]}', "training"),
    ("configuration", "a.json", '{"training": {"steps": true}}', "training.steps: expected a number, got True"),
    ("configuration", "a.json", '{"training": {"seed": {"a": 1}}}', "training.seed"),
    ("configuration", "a.json", '{"model": {"encoder": {"kind": ["vit"]}}}', "model.encoder"),
    ("configuration", "a.json", '{"model": {"encoder": {"channels": {"0": 8}}}}', "model.encoder.channels"),
    ("configuration", "a.json", "7", "expected a table of keys, got int"),
    ("configuration", "a.toml", "a = " + deep(100_000), "nested deeper than 32"),
    ("configuration", "a.toml", ".".join("a" * 100_000) + " = 1", "line 1 has more than 64 dots"),
    ("configuration", "a.toml", "[training]\nseed = " + "9" * 6000, "thousands of digits"),
    ("configuration", "a.toml", "[training]\nseed = 0x" + "f" * 6000, "more than 4096 bits"),
    ("configuration", "a.toml", "x = 1\n" * 2**18, "bytes, at most 1,048,576 are read"),
    ("configuration", "a.toml", "1 = 2", "unknown key in"),
    ("run", "config.json", deep(100_000), "nested deeper than 32"),
    ("run", "config.json", "[" + "9" * 6000 + "]", "thousands of digits"),
    ("run", "config.json", "7", "damaged"),
    ("run", "config.json", '{"format": 1, "config": 3, "dataset": {"frame_size": [1e9, 2]}}', "damaged"),
    ("run", "config.json", '{"format": 1, "config": 3, "dataset": 4}', "damaged"),
    ("tasks", "tasks.json", deep(100_000), "nested deeper than 32"),
    ("tasks", "tasks.json", '{"tasks": ' + "9" * 6000 + "}", "thousands of digits"),
    ("tasks", "tasks.json", '{"tasks": ' + deep(100) + "}", "nested deeper than 32"),
    ("released configuration", "config.json", deep(100_000), "nested deeper than 32"),
    ("released configuration", "config.json", "[" * 3 + "9" * 6000 + "]" * 3, "thousands of digits"),
    ("released configuration", "config.json", '{"encoder": 3}', "encoder: expected a table, got 3"),
    ("released configuration", "config.json", '{"model": {"encoder": []}}', "encoder: expected a table, got []"),
    ("released configuration", "config.json", released("encoder", size=["tiny"]), "encoder.size: expected a name"),
    ("released configuration", "config.json", released("encoder", image_size="224"), "encoder.image_size: expected"),
    (
        "released configuration",
        "config.json",
        released("encoder", image_size=10**9),
        "frame_size: Input should",
    ),
    ("released configuration", "config.json", released("encoder", patch_size=0), "encoder.patch_size: expected"),
    (
        "released configuration",
        "config.json",
        released("predictor", depth=10**5),
        "predictor.depth: Input should",
    ),
    ("released configuration", "config.json", released("predictor", depth=-1), "predictor.depth: expected"),
    ("released configuration", "config.json", released("predictor", dropout="much"), "predictor.dropout: Input"),
    ("released configuration", "config.json", released("action_encoder", emb_dim=True), "action_encoder.emb_dim"),
    ("released configuration", "config.json", released("action_encoder", input_dim=10**300), "action_dim"),
    ("tensors", "a.safetensors", safetensors(b"{}", 2**62), "not a safetensors file"),
    ("tensors", "a.safetensors", safetensors(b"{}", 90_000_000), "not a safetensors file"),
    ("tensors", "a.safetensors", safetensors(deep(100_000).encode()), "not a safetensors file"),
    (
        "tensors",
        "a.safetensors",
        safetensors(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}') + bytes(64),
        "not a safetensors file",
    ),
]


@pytest.mark.parametrize(
    ("reader", "name", "content", "words"),
    SPECIFIC,
    ids=[f"{i}-{reader}-{name}" for i, (reader, name, _, _) in enumerate(SPECIFIC)],
)
def test_what_a_reader_must_not_believe(tmp_path, readers, reader, name, content, words):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    refused(readers(reader, path), words)


def zip_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/0", "w") as entry:
        for _ in range(1024):
            entry.write(bytes(2**20))


def of_another_protocol(path):
    path.write_bytes(pickle.dumps({"a": bytearray(10)}, protocol=5))


def saved(content):
    return lambda path: torch.save(content, path)


WEIGHTS = [
    (zip_bomb, "unpacks to 1,073,741,824 bytes"),
    (saved({0: torch.zeros(3)}), "expected a dictionary of tensors by name"),
    (saved({("a", 1): torch.zeros(3)}), "expected a dictionary of tensors by name"),
    (saved({"state_dict": {1: 2}}), "expected a dictionary of tensors by name"),
    (saved([torch.zeros(3)]), "expected a dictionary of tensors by name"),
    (saved({"a": torch.eye(3).to_sparse()}), "expected a dictionary of tensors by name"),
    (saved({"a": torch.zeros(3, dtype=torch.complex64)}), "expected a dictionary of tensors by name"),
    (saved({"a": torch.empty(10**9, device="meta")}), "expected a dictionary of tensors by name"),
    (saved({"a": torch.zeros(1).expand(10**12)}), "a has more numbers than the file holds of it"),
    (saved(dict.fromkeys(map(str, range(1000)), torch.zeros(10**6))), "have 4,000,000,000 bytes together"),
    (saved({"model." * 200_000 + "x": torch.zeros(1)}), "a tensor has a name of 1,200,001 characters"),
    (saved({"a": Path("x")}), "holds pickled objects"),
    (of_another_protocol, ""),
]


@pytest.mark.parametrize(("write", "words"), WEIGHTS, ids=[str(i) for i in range(len(WEIGHTS))])
def test_weights_that_are_none(tmp_path, readers, write, words):
    write(tmp_path / "weights.pt")
    refused(readers("released weights", tmp_path / "weights.pt"), words)


def test_a_folder_with_what_is_no_image(tmp_path, readers):
    good = png(16, 16)
    for number, make in enumerate((os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "0.png").write_bytes(good)
        make(folder / "1.png")
        refused(readers("video", folder), "1.png: is a")


def test_the_largest_picture_is_read(tmp_path, readers):
    """Within the same memory."""
    (tmp_path / "a.png").write_bytes(png(8192, 4096))
    assert readers("picture", tmp_path / "a.png") is None
    (tmp_path / "a.gif").write_bytes(gif(8192, 4096))
    assert readers("video", tmp_path / "a.gif") is None


def test_thousands_of_images_whose_names_are_no_text(tmp_path, readers):
    content = png(16, 16)
    for number in range(2000):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff%d.png" % number)).write_bytes(content)
    assert readers("video", tmp_path) is None
