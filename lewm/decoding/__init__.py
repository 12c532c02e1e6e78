"""Looking inside the latent space: a decoder trained on frozen latents, and what it shows."""
