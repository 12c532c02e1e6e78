"""What a world model has learnt in the course of its training, and what limits it."""
