"""The command line: each command parses, calls the library once, and shows the result. Only this package prints."""
