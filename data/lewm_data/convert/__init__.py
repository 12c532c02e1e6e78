"""Other people's data made into datasets: one module a format, which `formats` lists."""
