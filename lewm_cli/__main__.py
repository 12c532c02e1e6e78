"""`python -m lewm_cli` is `lewm`, also from a source tree that is not installed."""

from lewm_cli.main import main

main()
