# Two commands set everything up on a fresh machine with Python >= 3.11 and make:
#   make quickstart   collect, train, plan; pictures in .lewm/quickstart
#   make test         the checks and the tests
# On a quiet machine, make bench measures everything again and rewrites the tables.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOME_DIR := $(CURDIR)/.lewm/quickstart

.PHONY: quickstart test check bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

quickstart: $(VENV)/installed
	rm -rf $(HOME_DIR)
	LEWM_HOME=$(HOME_DIR) $(BIN)/lewm collect
	LEWM_HOME=$(HOME_DIR) $(BIN)/lewm train
	LEWM_HOME=$(HOME_DIR) $(BIN)/lewm plan --horizon 5 --video mp4
	@echo "Look at $(HOME_DIR)/runs/two-room-small: training.png, and the videos beside plan-*.json"

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest

bench: $(VENV)/installed
	$(BIN)/python benchmarks/bench_two_room.py --json benchmarks/results/two_room-cpu.json
	$(BIN)/python benchmarks/bench_reader.py --json benchmarks/results/reader-cpu.json
	$(BIN)/python benchmarks/bench_sigreg.py --threads 2 1 --json benchmarks/results/sigreg-cpu.json
	$(BIN)/python benchmarks/bench_philox.py --threads 2 1 --json benchmarks/results/philox-cpu.json
	$(BIN)/python benchmarks/bench_quickstart.py --seeds 0 1 2 3 4 --json benchmarks/results/quickstart-cpu.json
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf $(VENV) .lewm build dist *.egg-info
