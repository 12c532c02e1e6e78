"""One static page with the numbers, pictures and videos that a run holds."""
