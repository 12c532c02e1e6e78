"""The table of the recipes, for tables.py."""

from lewm.config import Config, Encoder, FrozenEncoder, JoinedEncoder, Objective, PatchesPredictor, Predictor
from lewm.recipes import MEDIUM, OTHER, RECIPES, SMALL, dino_wm, dino_wm_small, paper

OTHER_NAME = OTHER.replace(" ", "-")
ACTIONS = 2  # numbers in an action; nothing in the table depends on it


def recipes() -> str:
    """The settings of each recipe by world: a row for each training, and how its model plans."""
    header = "| recipe | world | training | encoder | latent | predictor | history | loss | steps "
    header += "| learning rate | planner | cost | context | execute |"
    rows = [header, "|---" * 14 + "|"]
    for name, worlds in (("small", SMALL), ("medium", MEDIUM)):
        for world in worlds:
            rows += _rows(RECIPES[name](world.replace(" ", "-"), ACTIONS), world)
    rows += _rows(paper("every-world", ACTIONS), "every world")
    rows += [*_rows(dino_wm_small("two-room", ACTIONS), "two-room"), *_rows(dino_wm_small(OTHER_NAME, ACTIONS), OTHER)]
    return "\n".join([*rows, *_rows(dino_wm("every-world", ACTIONS), "every world"), ""])


def _rows(config: Config, world: str) -> list[str]:
    model, planning, training = config.model, config.planning, config.training
    before = [
        [
            name,
            *_trained(stage.encoder, stage.latent, stage.predictor, stage.objective),
            f"{stage.steps:,}",
            f"{stage.learning_rate:g}",
        ]
        for name, stage in config.stages.items()
    ]
    length = f"{training.steps:,}" if training.steps else f"{training.epochs} epochs"
    last = ["the model", *_trained(model.encoder, model.latent, model.predictor, config.objective), length]
    last.append(f"{training.learning_rate:g}")
    search = f"{planning.planner.kind}, {planning.planner.samples} × {planning.planner.iterations}"
    execute = f"{planning.execute or planning.horizon} of {planning.horizon}"
    plans = [search, planning.cost.kind, str(planning.context), execute]
    cells = [*([*row, "-", "-", "-", "-"] for row in before), [*last, *plans]]
    return [f"| {' | '.join([config.recipe, world, *row])} |" for row in cells]


def _trained(encoder: Encoder, latent: int, predictor: Predictor, objective: Objective) -> list[str]:
    shape = f"{predictor.kind}, "
    shape += f"{predictor.patches}" if isinstance(predictor, PatchesPredictor) else f"width {predictor.width}"
    return [_encoder(encoder), str(latent), shape, str(predictor.history), objective.formula()]


def _encoder(encoder: Encoder) -> str:
    """An encoder by its kind and what is set in it; a frozen one by its weights and what they are built of."""
    if isinstance(encoder, JoinedEncoder):
        return f"joined: {', '.join(_encoder(part) for part in encoder.parts)}"
    if isinstance(encoder, FrozenEncoder) and encoder.encoder is not None:
        return f"frozen {encoder.weights}: {_encoder(encoder.encoder)}"
    settings = [
        f"{key} {'-'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for key, value in encoder.model_dump(exclude_defaults=True).items()
    ]
    return " ".join([encoder.kind, ", ".join(settings)]).rstrip()
