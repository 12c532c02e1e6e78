"""One static page of what a run left: its numbers, pictures and videos."""
