"""A network for the tests of losses."""


class Given:
    """A network whose embeddings are given, and whose prediction is the latent plus the block's first number."""

    def __init__(self, latents):
        self.latents = latents

    def encode(self, frames):
        return self.latents

    def predict(self, latents, actions):
        return latents + actions[..., :1]
