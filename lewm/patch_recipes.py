"""Recipes of predictors over patches: DINO-WM's, and one of the kind for a CPU. `lewm.recipes` gives them their names.

"Released" is the code of DINO-WM, arXiv 2411.04983. Numbers of a kind's defaults in `lewm.config` are its, too.
"""

from __future__ import annotations

from lewm.config import (
    ActionEmbedder,
    Config,
    Dinov2Encoder,
    EfficientnetEncoder,
    Evaluation,
    FrozenEncoder,
    Icem,
    LastCost,
    Model,
    PatchesPredictor,
    Planning,
    PredictionObjective,
    Training,
)

DINOV2 = "dinov2_vits14_pretrain.pth"  # what the file is called where it is published
LINEAR = ActionEmbedder(bottleneck=10, hidden=None)


def published(env: str, action_dim: int, planning: Planning, evaluation: Evaluation) -> Config:
    """DINO-WM at the sizes of its release, for a GPU. Not measured.

    Differs: without proprioception; a schedule of the learning rate, and gradients that are clipped, as elsewhere here.

    Args:
        env: The world, or any other name that `Config.env` takes.
        action_dim: Width of its actions.
        planning: The published planning, which is that of LeWorldModel too: CEM with 300 samples, 30 elites and 30
            iterations, 5 blocks, of which all are executed.
        evaluation: How success is measured.
    """
    encoder = Dinov2Encoder()
    frame_size = 14 * encoder.patch  # released: pictures of 224 pixels are shown to the encoder with 196
    patches = (frame_size // encoder.patch) ** 2
    return Config(
        recipe="dino-wm",
        env=env,
        model=Model(
            frame_size=frame_size,
            fit="crop",
            frameskip=5,
            action_dim=action_dim,
            latent=patches * encoder.width,
            projector_hidden=None,
            encoder=FrozenEncoder(weights=DINOV2, output="embedding", encoder=encoder),
            predictor=PatchesPredictor(patches=patches),
            action_embedder=LINEAR,
        ),
        objective=PredictionObjective(),
        training=Training(
            epochs=10,  # stable-worldmodel's; the released config has 100
            batch_size=32,
            learning_rate=5e-4,
            weight_decay=0.0,
            gradient_clip=1.0,  # the released code has none
            warmup=0.01,  # the released code keeps the rate as it is
            held_out=0.1,
            precision="bf16",  # the released code has half precision
            seed=3072,
            log_every=50,
            evaluate_every=1000,
            checkpoint_every=1000,
        ),
        planning=planning,
        evaluation=evaluation,
    )


def small(env: str, action_dim: int, history: int, evaluation: Evaluation) -> Config:
    """A predictor over the 16 patches that EfficientNet-Lite0 has of 64 px frames, for two CPU cores.

    Args:
        env: The world, or any other name that `Config.env` takes.
        action_dim: Width of its actions.
        history: Latents that the predictor sees.
        evaluation: How success is measured.
    """
    encoder, frame_size = EfficientnetEncoder(normalised=True), 64
    latent, patches = encoder.width_at(frame_size), (frame_size // 16) ** 2
    return Config(
        recipe="dino-wm-small",
        env=env,
        model=Model(
            frame_size=frame_size,
            fit="crop",
            frameskip=5,
            action_dim=action_dim,
            latent=latent,
            projector_hidden=None,
            encoder=FrozenEncoder(weights="efficientnet-lite0", output="embedding", encoder=encoder),
            # No dropout, as in the small recipe's predictors. Width, depth and steps are such that training and
            # planning take minutes on one core; they were tried in Two-Room alone, each with one seed.
            predictor=PatchesPredictor(
                history=history, patches=patches, depth=2, heads=4, head_dim=16, mlp=256, dropout=0.0
            ),
            action_embedder=LINEAR,
        ),
        objective=PredictionObjective(),
        training=Training(
            steps=3000,
            batch_size=64,
            learning_rate=1e-3,
            weight_decay=0.0,
            gradient_clip=1.0,
            warmup=0.05,
            held_out=0.1,
            precision="fp32",
            seed=3072,
            log_every=10,
            evaluate_every=300,
            checkpoint_every=600,
        ),
        # Each candidate costs 16 tokens a block: iCEM has a sixth of the candidates of the small recipe's CEM.
        planning=Planning(planner=Icem(), cost=LastCost(), horizon=5, execute=1),
        evaluation=evaluation,
    )
