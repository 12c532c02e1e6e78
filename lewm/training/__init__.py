"""Training: the objective, the loop, the health of the latent space."""
