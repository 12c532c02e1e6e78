"""The world model: encoder, action embedder, predictor."""
