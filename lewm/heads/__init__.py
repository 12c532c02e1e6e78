"""What is learnt on the frozen latents of a run: the steps between two moments, and a policy."""
