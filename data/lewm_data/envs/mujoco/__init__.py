"""The common parts of the worlds that MuJoCo simulates and draws."""
