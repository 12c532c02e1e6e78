"""The work of `lewm probe`: measures on a dataset what the frozen latent space of a run holds.

N frames, D latent width, E episodes, C numbers of a quantity, Q query frames, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64

from lewm.figures import import_figure
from lewm.measures.latents import sample_pairs
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run, open_run
from lewm.probing import features, pictures, probes, statistics
from lewm.probing.pictures import Predicted
from lewm.probing.probes import Scale, linear_probe, mlp_probe
from lewm.probing.report import FEATURES, PIXELS, PROBES, RANDOM, TRAINED, Comparison, Probe, Probed, ProbeReport
from lewm.probing.sample import Sample, draw_sample
from lewm.probing.space import PAIRS, Space, draw_queries, import_tsne, measure_space, nearest_frames, plane, tsne
from lewm.probing.targets import Quantity, read_columns, read_quantities
from lewm.provenance import versions
from lewm.report_files import keeping, new_report
from lewm.world_states import paths_of
from lewm_data.envs.registry import known_world
from lewm_data.store.dataset import Dataset

QUERIES, NEIGHBOURS = 6, 7  # rows and columns of the picture

OnProgress = Callable[[float, str], None]  # share of the work done, and what is being done


@dataclass(frozen=True)
class ProbeRequest:
    """What `lewm probe` asks for.

    Attributes:
        run: A run directory.
        data: Dataset to probe on; the run's own when None.
        targets: The expression of each name (see `lewm.probing.targets`). When empty, the world's own targets; where
            the world is not known, every column that can be probed for.
        episodes: The most episodes that are used.
        tsne: Whether to draw a t-SNE map too.
    """

    run: Path
    data: Path | None
    targets: Mapping[str, str]
    episodes: int
    seed: int
    tsne: bool = False


def probe_run(
    request: ProbeRequest, device: torch.device, on_progress: OnProgress = lambda share, doing: None
) -> tuple[ProbeReport, Path]:
    """Fit probes on frozen features and measure the space; the report and its pictures are also written into the run.

    Where the data are those of training, only episodes that training held out are used.

    Returns:
        The report, and the JSON file it was written to. Pictures lie beside it in a folder of the same name.

    Raises:
        LewmError: the run, dataset or targets are missing or do not belong together, there are too few episodes, or a
            package that draws is not installed, or nothing can be written into the run.
        NotKeptError: the result is there, but it or its pictures could not be written.
    """
    import_figure()
    if request.tsne:
        import_tsne()
    run = open_run(request.run, device)
    with new_report(run.path, "probe") as out:
        return _probe(request, run, out, on_progress), out


def _probe(request: ProbeRequest, run: Run, out: Path, on_progress: OnProgress) -> ProbeReport:
    model, config = run.model, run.config
    place = known_world(config.env)
    with run.data(request.data) as data:
        dataset = data.dataset
        available = data.unseen if run.origin is None else np.arange(dataset.num_episodes)
        sample = draw_sample(dataset, available, request.episodes, request.seed, data.known_unseen)
        targets = request.targets or (place.targets if place else {})
        quantities = read_quantities(dataset, sample, targets) if targets else read_columns(dataset, sample)
        work = _Work(len(FEATURES) * (1 + len(quantities)) + 1, on_progress)
        inputs = _features(model, dataset, sample, request.seed, work)
        probed, comparisons, predicted = _probe_all(inputs, quantities, sample, request.seed, run.device, work)
        work.begin("measuring the space, drawing")
        pairs = None
        if (paths := paths_of(dataset, config.env)) is not None:
            states, path_distance = paths
            pairs = sample_pairs(states[sample.rows], path_distance, PAIRS, request.seed)
        spaces = tuple(
            measure_space(name, values, sample.episode, config.model.frameskip, pairs)
            for name, values in inputs.items()
        )
        report = ProbeReport(
            env=config.env,
            probed=probed,
            comparisons=comparisons,
            spaces=spaces,
            held_out=data.known_unseen,
            episodes=sample.episodes,
            frames={name: part.stop - part.start for name, part in sample.parts.items()},
            seed=request.seed,
            settings=probes.settings() | features.settings() | {"resamples": statistics.RESAMPLES},
            dataset=str(dataset.path),
            dataset_fingerprint=data.fingerprint,
            checkpoint_sha256=run.checkpoint_sha256,
            versions=versions(),
        )
        with keeping(out, report):
            _draw(out.with_suffix(""), spaces, dataset, sample, inputs[TRAINED], quantities, predicted, request)
    work.share(1.0)
    return report


def _features(
    model: WorldModel, dataset: Dataset, sample: Sample, seed: int, work: _Work
) -> dict[str, Float32[np.ndarray, "N _"]]:
    """What the probes read for every frame, by kind of features."""
    work.begin("embedding frames")
    trained = features.embed(model, dataset, sample.rows, work.share)
    work.begin("embedding frames with a random encoder")
    untrained = features.random_encoder(model.config, dataset, sample, seed).to(model.device)
    random = features.embed(untrained, dataset, sample.rows, work.share)
    work.begin("principal components of the pixels")
    pixels = features.pixel_components(dataset, sample, model.config.latent, seed, work.share)
    return {TRAINED: trained, RANDOM: random, PIXELS: pixels}


def _probe_all(
    inputs: Mapping[str, Float32[np.ndarray, "N _"]],
    quantities: Sequence[Quantity],
    sample: Sample,
    seed: int,
    device: torch.device,
    work: _Work,
) -> tuple[tuple[Probed, ...], tuple[Comparison, ...], list[Predicted]]:
    """Probes every quantity from all features; the predictions are those from the trained encoder."""
    probed, comparisons, predicted = [], [], []
    episode = sample.episode[sample.test]
    draws = statistics.resample(sample.episodes["test"], seed)
    z = {name: Scale.of(values[sample.train]).z(values) for name, values in inputs.items()}
    for quantity in quantities:
        scale = Scale.of(quantity.values[sample.train])
        y = scale.z(quantity.values)
        sums: dict[tuple[str, Probe], Float64[np.ndarray, "E C 7"]] = {}
        for name, x in z.items():
            work.begin(f"{quantity.name} from the {name}")
            linear, mlp = linear_probe(x, y, sample), mlp_probe(x, y, sample, seed, device, work.share)
            sums[name, "linear"] = statistics.episode_sums(y[sample.test], linear.predicted, episode)
            sums[name, "mlp"] = statistics.episode_sums(y[sample.test], mlp.predicted, episode)
            probed.append(
                Probed(
                    property=quantity.name,
                    expression=quantity.expression,
                    numbers=quantity.labels,
                    features=name,
                    linear=statistics.score(sums[name, "linear"], draws),
                    mlp=statistics.score(sums[name, "mlp"], draws),
                    ridge_strength=linear.chosen,
                    mlp_step=int(mlp.chosen),
                )
            )
            if name == TRAINED:
                told = (quantity.values[sample.test], scale.undo(linear.predicted), scale.undo(mlp.predicted))
                columns = (values.T for values in told)
                predicted += [Predicted(*one) for one in zip(quantity.labels, *columns, strict=True)]
        for baseline in (RANDOM, PIXELS):
            for kind in PROBES:
                difference = statistics.mse_difference(sums[TRAINED, kind], sums[baseline, kind], draws)
                comparisons.append(Comparison.of(quantity.name, kind, baseline, difference))
    return tuple(probed), tuple(comparisons), predicted


def _draw(
    folder: Path,
    spaces: Sequence[Space],
    dataset: Dataset,
    sample: Sample,
    latents: Float32[np.ndarray, "N D"],
    quantities: Sequence[Quantity],
    predicted: Sequence[Predicted],
    request: ProbeRequest,
) -> None:
    """Draws all pictures of the trained encoder's space into `folder`."""
    pictures.draw_scatter(folder / "scatter.png", predicted)
    if spaces[0].curve:
        pictures.draw_distances(folder / "distances.png", spaces)
    points, shares = plane(latents)
    pictures.draw_space(folder / "space.png", Scale.of(latents).z(latents), shares, spaces[0])
    numbers = [pair for one in quantities for pair in zip(one.labels, one.values.T, strict=True)]
    first, second = (f"component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate([*shares, 0.0][:2]))
    pictures.draw_map(
        folder / "map.png", "The latent space on its first two principal components", (first, second), points, numbers
    )
    if request.tsne:
        chosen, places = tsne(latents, request.seed)
        some = [(label, values[chosen]) for label, values in numbers]
        pictures.draw_map(folder / "tsne.png", "The latent space by t-SNE", None, places, some)
    queries = draw_queries(sample.episode, sample.test, QUERIES, request.seed)
    nearest, distances = nearest_frames(latents, sample.episode, queries, NEIGHBOURS)
    frames = dataset.frames(sample.rows[nearest.reshape(-1)])
    neighbours = frames.reshape(*nearest.shape, *frames.shape[1:])  # (Q, K, Y, X, 3)
    shown = dataset.frames(sample.rows[queries])
    pictures.draw_neighbours(folder / "neighbours.png", shown, neighbours, distances)


class _Work:
    """Turns stages, all of one weight, into a share of the whole work."""

    def __init__(self, stages: int, on_progress: OnProgress) -> None:
        self.stages, self.on_progress = stages, on_progress
        self.begun, self.doing = 0, ""

    def begin(self, doing: str) -> None:
        self.begun, self.doing = self.begun + 1, doing
        self.share(0.0)

    def share(self, done: float) -> None:
        self.on_progress((self.begun - 1 + done) / self.stages, self.doing)
