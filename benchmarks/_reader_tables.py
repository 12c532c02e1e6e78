"""The table of the results of bench_reader.py, for tables.py."""

from typing import Any

from _cells import load, machines

SPREAD = ("median", "p20", "p80")


def reading() -> str:
    """Clips a second by how frames are stored, then the disk, opening and waiting."""
    report = load("reader-cpu.json")
    rows = ["| what | measured | 20 to 80 % | `lewm` is faster |", "|---|---|---|---|"]
    results = report["results"]
    for row in [one for one in results if one["part"] == "warm"]:
        faster = "" if row["reader"] == "lewm" else f"{row['times_as_long']:.1f} times"
        rows.append(f"| {row['storage']}, {_named(row['reader'])} | {_rates(row)} | {faster} |")
    places = {"the disk": "16 reads around the page cache", "through the page cache": "16 reads through it"}
    for row in [one for one in results if one["part"] == "cold"]:
        if "of" in row:
            rows.append(f"| from the disk: `lewm`, of {places[row['of']]} | {_shares(row)} | |")
        else:
            what = places.get(row["reader"], "`lewm`")
            rows.append(f"| from the disk: {what} | {row['median']:,.0f} MB/s | {_between(row, 0)} | |")
    for row in [one for one in results if one["part"] == "opening"]:
        what = f"{row['frames'] / 1e6:.1f} million frames: "
        what += "h5py tells their places" if "h5py" in row["reader"] else f"opened, {row['reader']}"
        rows.append(f"| {what} | {row['median']:.2f} s | {_between(row, 2)} | |")
    for row in [one for one in results if one["part"] == "training"]:
        what = f"`lewm train` on a CPU, {row['storage']}: waiting for data"
        rows.append(f"| {what} | {_shares(row)} | |")
    clips = "Clips are 4 frames at 224 px, every fifth, in batches of 64 in random order, from the page cache"
    loads = {f"{row['load_before']:g}" for row in results}
    others = f" Other programs kept the machine at a load of {', '.join(loads)}." if loads else ""
    return "\n".join([*rows, "", f"{clips}. {machines([report])}{others}", ""])


def _named(reader: str) -> str:
    names = {
        "lewm": "`lewm`",
        "h5py, frames": "h5py: each frame of a clip",
        "h5py, slices": "h5py: all rows of a clip",
    }
    return names.get(reader, reader)


def _rates(row: dict[str, Any]) -> str:
    return f"{row['median']:,.0f} clips/s = {row['gb_a_second']:.2g} GB/s | {_between(row, 0)}"


def _shares(row: dict[str, Any]) -> str:
    median, low, high = (f"{row[name]:.0f}" if row[name] >= 10 else f"{row[name]:.2g}" for name in SPREAD)
    return f"{median} % | {low} to {high}"


def _between(row: dict[str, Any], digits: int) -> str:
    return f"{row['p20']:,.{digits}f} to {row['p80']:,.{digits}f}"
