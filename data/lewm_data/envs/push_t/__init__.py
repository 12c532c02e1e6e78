"""Push-T: a disc has to push a T-shaped block to a pose."""
