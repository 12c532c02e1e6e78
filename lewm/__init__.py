"""LeWorldModel."""
