"""Which physical quantities a frozen latent space holds, and what shape that space has."""
