"""Collection: policies play episodes in environments, which become a dataset."""
