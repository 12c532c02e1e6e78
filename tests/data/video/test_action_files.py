import json
import pickle

import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.store.writer import Writer
from lewm_data.tables import read_table
from lewm_data.video.action_files import Clip, read_actions

ACTIONS = np.array([[0.5, -1], [2e-3, 0], [3, 4]], np.float32)
PLAIN = "0.5,-1\n2e-3,0\n3,4\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "x,y\n" + PLAIN,
        PLAIN.replace(",", ";"),
        "dx\tdy\r\n" + PLAIN.replace(",", "\t").replace("\n", "\r\n"),
        "\ufeff\n" + PLAIN.replace(",", " , ") + "\n\n",
        '"left, right",up\n' + PLAIN.replace("3,4", '"3","4"'),
        PLAIN + "nan,nan\n",
        PLAIN + "NaN,NaN",
    ],
    ids=["plain", "names", "semicolons", "tabs", "mark and spaces", "quotes", "no last action", "no last line end"],
)
def test_lines_of_numbers(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(text.encode())
    actions = read_actions(tmp_path / "a.csv", 2).values
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(actions, ACTIONS)


def test_one_column_needs_no_delimiter(tmp_path):
    (tmp_path / "a.csv").write_text("push\n1\n2.5\n")
    np.testing.assert_array_equal(read_actions(str(tmp_path / "a.csv"), 1).values, [[1], [2.5]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f4", np.float16, np.int16])
def test_arrays(tmp_path, dtype):
    values = np.array([[1, -2], [0, 4]])
    np.save(tmp_path / "a.npy", values.astype(dtype))
    actions = read_actions(tmp_path / "a.npy", 2).values
    assert actions.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(actions, values)
    np.save(tmp_path / "a.npy", np.vstack([ACTIONS, [np.nan] * 2]))
    np.testing.assert_array_equal(read_actions(tmp_path / "a.npy", 2).values, ACTIONS)


@pytest.mark.parametrize(
    ("header", "unit", "shift"),
    [("time,dx,dy", 1.0, 0.0), ("time_ms,dx,dy", 1e-3, 0.0), ("t,dx,dy", 1e-9, 0.0), ("stamp,dx,dy", 1.0, 1.7e9)],
)
def test_actions_with_times_are_taken_at_the_rate_of_the_steps(tmp_path, header, unit, shift):
    times = np.arange(12) / 30
    values = np.arange(24.0).reshape(12, 2)
    rows = "\n".join(f"{(time + shift) / unit:.6f},{x:g},{y:g}" for time, (x, y) in zip(times, values, strict=True))
    (tmp_path / "a.csv").write_text(f"{header}\n{rows}\n")
    every = read_actions(tmp_path / "a.csv", 2)
    assert not every.timed
    np.testing.assert_array_equal(every.values, values)
    tenth = read_actions(tmp_path / "a.csv", 2, fps=10.0)
    assert tenth.timed
    np.testing.assert_array_equal(tenth.values, values[::3])
    added = read_actions(tmp_path / "a.csv", 2, fps=10.0, resample="sum")
    np.testing.assert_array_equal(added.values, values.reshape(4, 3, 2).sum(axis=1))


@pytest.mark.parametrize(
    "text",
    [
        "episode,action_x,action_y,state_x,reward,done\n0,0.5,-1,7,1,0\n0,2e-3,0,7,1,0\n0,3,4,7,1,1\n",
        "frame;state[0];cmd[0];cmd[1]\n0;1;0.5;-1\n1;1;2e-3;0\n2;1;3;4\n",
        "index,dx,dy,observation.state\n0,0.5,-1,1\n1,2e-3,0,1\n2,3,4,1\n",
    ],
)
def test_what_is_no_action_is_left_out_by_its_name(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    np.testing.assert_array_equal(read_actions(tmp_path / "a.csv", 2).values, ACTIONS)


def test_objects_of_numbers(tmp_path):
    lines = ['{"action": [0.5, -1], "state": [1]}', "", '{"action": [2e-3, 0], "state": [1]}']
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, '{"action": [3, 4], "state": [1]}']))
    np.testing.assert_array_equal(read_actions(tmp_path / "a.jsonl", 2).values, ACTIONS)
    (tmp_path / "a.jsonl").write_text("[0.5, -1]\n[2e-3, 0]\n[3, 4]\n")
    np.testing.assert_array_equal(read_actions(tmp_path / "a.jsonl", 2).values, ACTIONS)
    for text, problem in (
        ("[1, 2]\n[1]\n", "a row is not a number, or a list of as many numbers, in every row"),
        ('{"action": [1, 2]}\n{"act": [1, 2]}\n', "line 2: has act, expected action as before"),
        ('{"action": ["a", 2]}\n', "column 'action' is not a number"),
        ("[" * 5000 + "\n", "line 1: is not JSON"),
        ('{"action": {"x": 1}}\n', "column 'action' is not a number"),
        ("[[1, 2], [3, 4]]\n[[1, 2], [3, 4]]\n", "expected a row of numbers a step"),
    ):
        (tmp_path / "a.jsonl").write_text(text)
        refused(tmp_path / "a.jsonl", problem)


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"action": ACTIONS.tolist(), "task": ["push"] * 3, "timestamp": [0.0, 0.1, 0.2]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    np.testing.assert_array_equal(read_actions(tmp_path / "a.parquet", 2).values, ACTIONS)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    refused(tmp_path / "a.parquet", "is no Parquet file that can be read")


def test_the_type_of_a_parquet_column_says_what_it_holds(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "x": pyarrow.array([None, 1, 2]),
        "on": [True, None, False],
        "task": [None, "a", "b"],
        "none": pyarrow.array([None] * 3, pyarrow.null()),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet")
    assert list(found.columns) == ["x", "on"]
    assert found.left_out == ("task", "none")
    np.testing.assert_array_equal(found.columns["x"], [[np.nan], [1], [2]])
    np.testing.assert_array_equal(found.columns["on"], [[1], [np.nan], [0]])


def test_columns_of_too_many_numbers_are_left_out_unread(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    columns = {
        "action": pyarrow.array(ACTIONS.tolist()),
        "picture": pyarrow.array([[1] * 2049] * 3),
        "scan": pyarrow.array([[1] * 2048] * 3),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    lines = [json.dumps({name: column[row].as_py() for name, column in columns.items()}) for row in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    for ending in ("parquet", "jsonl"):
        found = read_table(tmp_path / f"a.{ending}")
        assert (list(found.columns), found.left_out) == (["action", "scan"], ("picture",))
        np.testing.assert_array_equal(read_actions(tmp_path / f"a.{ending}", 2).values, ACTIONS)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("task,x,y\npush,0.5,-1\npush,2e-3,0\n,3,4\n", ("task",)),
        ("x;y;date;who\n0.5;-1;2026-11-28;me, too\n2e-3;0;2026-11-28;\n3;4;2026-11-29;me\n", ("date", "who")),
        ("0.5,-1,push\n2e-3,0,push\n3,4,pull\n", ("column 3",)),
        ('date,x,y\n"2024 01 02",0.5,-1\n2024 01 02,2e-3,0\n,3,4\n', ("date",)),
        ("x,y,cell\n0.5,-1,1 2\n2e-3,0,1;2\n3,4,5 6\n", ("cell",)),
        ("x,y,note (a;b)\n0.5,-1,c\n2e-3,0,d\n3,4,e;f\n", ("note (a;b)",)),
        ("x,y,note (a;b)\n0.5,-1,c;d\n2e-3,0,d\n3,4,e\n", ("note (a;b)",)),
        ("x\ty\tnote, or;more\n0.5\t-1\tc,d\n2e-3\t0\td;e;f\n3\t4\te\n", ("note, or;more",)),
    ],
)
def test_columns_of_text_are_left_out(tmp_path, text, left_out):
    (tmp_path / "a.csv").write_text(text)
    assert read_table(tmp_path / "a.csv").left_out == left_out
    np.testing.assert_array_equal(read_actions(tmp_path / "a.csv", 2).values, ACTIONS)


def test_a_line_of_many_numbers_is_no_long_field_of_another_mark(tmp_path):
    line = ",".join(["0.000000000000000001"] * 8_000) + "\n"
    (tmp_path / "a.csv").write_text(line * 2)
    assert read_table(tmp_path / "a.csv").columns[""].shape == (2, 8_000)


def test_text_in_an_object_is_left_out(tmp_path):
    lines = [
        json.dumps({"action": row, "task": task}) for row, task in zip(ACTIONS.tolist(), ("a", None, "b"), strict=True)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read_table(tmp_path / "a.jsonl").left_out == ("task",)
    np.testing.assert_array_equal(read_actions(tmp_path / "a.jsonl", 2).values, ACTIONS)


@pytest.mark.parametrize(
    ("text", "names"),
    [(",0,1\n0,0.5,-1\n1,2e-3,0\n2,3,4\n", "index 0 1"), (",dx,dy\n0,0.5,-1\n1,2e-3,0\n2,3,4\n", "index dx dy")],
)
def test_a_first_column_without_a_name_counts_the_rows(tmp_path, text, names):
    (tmp_path / "a.csv").write_text(text)
    assert list(read_table(tmp_path / "a.csv").columns) == names.split()
    np.testing.assert_array_equal(read_actions(tmp_path / "a.csv", 2).values, ACTIONS)


def test_the_pictures_of_a_video_decide_whether_a_line_is_names(tmp_path):
    (tmp_path / "a.csv").write_text("0,1\n" + PLAIN)
    np.testing.assert_array_equal(read_actions(tmp_path / "a.csv", 2, clip=Clip(count=3)).values, ACTIONS)
    np.testing.assert_array_equal(read_actions(tmp_path / "a.csv", 2, clip=Clip(count=5)).values, [[0, 1], *ACTIONS])
    (tmp_path / "a.csv").write_text("0\n0\n1\n")
    np.testing.assert_array_equal(read_actions(tmp_path / "a.csv", 1).values, [[0], [0], [1]])


@pytest.mark.parametrize("rows", [[[], [1.0], [2.0]], [[1.0], [2.0, 3.0, 4.0]], [None, [1.0], [2.0]]])
def test_parquet_lists_of_different_lengths_are_refused(tmp_path, rows):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"action": rows}), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "'action' is not a number, or a list of as many numbers, in every row")


@pytest.mark.parametrize("kind", ["numbers", "lists"])  # of 1000 in a row
def test_a_small_parquet_file_of_many_numbers_is_refused(tmp_path, monkeypatch, kind):
    pyarrow = pytest.importorskip("pyarrow")
    values = pyarrow.array(np.zeros(30_000))
    if kind == "lists":
        values = pyarrow.FixedSizeListArray.from_arrays(values, 1000)
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"action": values}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 3_000
    monkeypatch.setattr("lewm_data.tables.MOST_BINARY", 239_999)
    refused(tmp_path / "a.parquet", "unpacks to 240,000 bytes, at most 239,999 are read here")


def dataset(path, *lengths):
    with Writer.create(path) as writer:
        for number, rows in enumerate(lengths):
            action = np.full((rows, 2), number, np.float32)
            action[-1] = np.nan
            writer.write_episode({"pixels": np.zeros((rows, 4, 4, 3), np.uint8), "action": action})
    return path


def test_episodes(tmp_path):
    one, many = dataset(tmp_path / "one.h5", 6), dataset(tmp_path / "many.h5", 3, 5, 1)
    np.testing.assert_array_equal(read_actions(one, 2).values, np.zeros((5, 2)))
    np.testing.assert_array_equal(read_actions(f"{many}#1", 2).values, np.ones((4, 2)))
    refused(many, rf"{many}: has 3 episodes\nName one of them: {many}#0")
    refused(f"{many}#2", "many.h5#2: has no actions")
    refused(f"{many}#3", "no episode 3, it has 3")
    refused(f"{many}#x", "expected the number of an episode")


def refused(path, problem):
    with pytest.raises(DataError, match=problem):
        read_actions(path, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"a\.csv: has no rows of numbers\nGive a row"),
        ("x,y\n", "has no rows of numbers"),
        ("nan,nan\n", "has no actions"),
        ("1,2,3\n4,5,6\n", r"actions of shape \(2, 3\), expected \(T, 2\)"),
        ("1\n2\n", r"actions of shape \(2, 1\), expected \(T, 2\)"),
        ("1,2\n3,4,5\n", "line 2: 3 columns, expected 2 as before"),
        ("x,y\n1,2\n\n3,up\n", "line 4: expected numbers, found '3,up'"),
        ("1,two\n3,4\n", "line 1: expected numbers, found '1,two'"),
        ("x,y\nu,v\n3,4\n", "line 2: expected numbers, found 'u,v'"),
        ("0,5;1,5\n2,5;3,5\n", "line 2: expected numbers with a decimal point, found '2,5;3,5'\nWrite decimals with"),
        ("n;x\n1;0,5\n2;3,5\n", "line 2: expected numbers with a decimal point, found '1;0,5'"),
        (
            'n,x\n1,"0,5"\n2,"3,5"\n',
            "line 2: expected numbers with a decimal point.*\nWrite .* or leave the column out",
        ),
        ("x\n0,5\n2,5\n", "line 2: 2 columns, expected 1 as before\nWrite decimals with a point"),
        ("0.5 1\n2 3\n", "line 2: columns seem to be separated by spaces, expected commas"),
        ("x y\n 0.5   1\n 2 3\n", "line 2: columns seem to be separated by spaces, expected commas"),
        ("a robot's log\n0;1\n2;3\n", "line 2: columns seem to be separated by semicolons, expected commas"),
        ("task\npush\npull\n", "line 2: expected numbers, found 'push'"),
        ("time,0,1\n0.1,2,3\n", "line 1: expected numbers, found 'time,0,1'\nGive every column a name"),
        ("0,1\n0.5,2\n3,4\n", "its first line, 0,1, may be the names of the columns, or numbers\nName the columns"),
        ("1,2\n,\n3,4\n", r"action 1 of 3, counted from 0, is not finite: \[nan, nan\]"),
        ("1,2\nnan,nan\n3,4\n", r"action 1 of 3, counted from 0, is not finite: \[nan, nan\]"),
        ("1,2\n3,4\nnan,0\n", "action 2 of 3, .* not finite"),
        ("1,2\ninf,0\n3,4\n", "action 1 of 3, .* not finite"),
        ("1,2\n1e300,0\n3,4\n", "action 1 of 3, .* not finite"),
    ],
)
def test_what_is_no_list_of_actions(tmp_path, text, problem):
    (tmp_path / "a.csv").write_text(text)
    refused(tmp_path / "a.csv", problem)


def test_files_that_are_something_else(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe1\x00,\x002\x00")
    refused(tmp_path / "a.csv", r"a\.csv: is not text")
    refused(tmp_path / "none.csv", "No such file")
    refused(tmp_path / "none.npy", "No such file")
    refused(tmp_path / "none.h5", "No such file")
    (tmp_path / "dir.csv").mkdir()
    refused(tmp_path / "dir.csv", "is a directory, expected a file")
    refused(
        tmp_path / "a.json",
        'unknown ending of a file of actions ".json"\n.*Known: .csv, .h5, .hdf5, .jsonl, .npy, .parquet',
    )


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was run",))


def test_pickles_are_never_run(tmp_path):
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Bomb()))
    refused(tmp_path / "a.npy", r"a\.npy: is no \.npy file of numbers")
    np.save(tmp_path / "a.npy", np.array([[Bomb(), Bomb()]], object), allow_pickle=True)
    refused(tmp_path / "a.npy", r"a\.npy: is no \.npy file of numbers")


def test_arrays_that_are_no_actions(tmp_path):
    path = tmp_path / "a.npy"
    for values, problem in [
        (np.zeros(4), r"shape \(4, 1\), expected \(T, 2\)"),
        (np.zeros((4, 3)), r"shape \(4, 3\), expected \(T, 2\)"),
        (np.zeros((4, 1, 2)), r"has the shape \(4, 1, 2\), expected a row of numbers a step"),
        (np.zeros((4, 2), complex), "has complex128 values, expected numbers"),
        (np.array([["a", "b"]]), "has <U1 values, expected numbers"),
        (np.zeros((0, 2)), "has no rows of numbers|is no .npy file of numbers"),
    ]:
        np.save(path, values)
        refused(path, problem)
    np.savez(path.with_suffix(".npz"), values=ACTIONS)
    path.write_bytes(path.with_suffix(".npz").read_bytes())
    refused(path, "is no .npy file of numbers")
    path.write_bytes(b"")
    refused(path, "is no .npy file of numbers")


def test_an_array_that_claims_more_than_the_file_holds(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(80))
    refused(tmp_path / "a.npy", "is no .npy file of numbers")
