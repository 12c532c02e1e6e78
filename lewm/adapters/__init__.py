"""Models of this project in frameworks of others, which are not imported here."""
