"""`lewm data view`: dataset -> its episodes as videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import options, output

USUAL = 3  # episodes that are filmed where none are named
SLOWEST = 0.1  # frames a second of a video
NO_CLOCK = 10.0  # frames a second of a video, where the dataset does not say how fast it was recorded


def view(
    file: Annotated[
        Path | None, typer.Argument(help="HDF5 dataset.", show_default="the newest in $LEWM_HOME/datasets")
    ] = None,
    episode: Annotated[
        list[int] | None, typer.Option(min=0, help="An episode; repeatable.", show_default="the first three")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=SLOWEST, max=1000, help="Frames a second.", show_default=f"the dataset's, else {NO_CLOCK:g}"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the videos.", show_default="FILE-view beside it")] = None,
    json: options.Json = False,
) -> None:
    """Film episodes of a dataset: an mp4 each, with the curves of the actions under the frames."""
    from lewm.files import check_writable
    from lewm_data.store.dataset import Dataset
    from lewm_data.video.dataset_pictures import film_episode

    file = options.dataset_or_newest(file)
    folder = out or file.with_name(f"{file.stem}-view")
    check_writable(folder, "Give --out a folder in which you can write.")
    made = []
    with Dataset.open(file) as dataset, output.progress_bar(output.count_of("episodes")) as bar:
        chosen = episode if episode else list(range(min(USUAL, dataset.num_episodes)))
        rate = fps or max(dataset.fps or NO_CLOCK, SLOWEST)
        folder.mkdir(parents=True, exist_ok=True)
        task = bar.add_task("film", total=len(chosen))
        for number in chosen:
            made.append(folder / f"episode-{number}.mp4")
            film_episode(dataset, number, made[-1], rate)
            bar.advance(task)
        sources = [dataset.source_of(number) for number in chosen]
    if json:
        output.show_json({"videos": [str(one) for one in made], "fps": rate, "sources": sources})
    else:
        output.show(
            *(f"{one}" + ("" if name is None else f" ({name})") for one, name in zip(made, sources, strict=True))
        )
