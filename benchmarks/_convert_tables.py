"""The table of the speed of `lewm data convert`."""

from _cells import load


def converting() -> str:
    """Speed and memory of a conversion of videos, one row a case."""
    report = load("convert-cpu.json")
    rows = [
        "| recorded | converted | seconds a second of footage | as fast as recorded | of it decoding | memory | "
        f"memory for {report['results'][0]['growth']} times as many videos |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["results"]:
        fast, seconds, decoding = row["times_real_time"], row["seconds"]["median"], row["decoding_seconds"]["median"]
        converted = "every picture" if row["asked_fps"] is None else f"{row['asked_fps']:g} a second"
        rows.append(
            f"| {row['recorded_fps']:g} pictures a second | {converted} "
            f"| {seconds / row['footage_seconds']:.3f} "
            f"| {fast['median']:.1f} times ({fast['p20']:.1f} to {fast['p80']:.1f}) "
            f"| {decoding / seconds:.0%} | {row['peak_bytes'] / 2**20:.0f} MiB "
            f"| {row['peak_bytes_of_more'] / 2**20:.0f} MiB |"
        )
    cores = f"{report['cores']} cores of {report['cpu']}"
    turns = report["results"][0]["seconds"]["repeats"]
    what = f"Videos of 640 x 480, frames of 224, median of {turns} turns (20 to 80 %)"
    return "\n".join([*rows, "", f"{what}; {cores}, {report['time'][:10]}.", ""])
