"""What the worlds that MuJoCo simulates and draws share."""
