"""Tasks, success rates and their intervals."""
