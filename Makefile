# Two commands set everything up on a fresh machine with Python >= 3.11 and make:
#   make quickstart   from data to a page of pictures, quickstart/index.html; says how to go on
#   make test         the checks and the tests
# make worlds runs another world's small recipe from data to a page: make worlds WORLD=reacher
# make ablation and make baselines compare methods with their uncertainty: lewm compare --help
# On a quiet machine, make bench measures everything but these comparisons again, and rewrites the tables.
# docs/gpu.md is about machines with a GPU: make gpu-wheels downloads what they may lack, make gpu-pass and make
# gpu-train run there.

PYTHON ?= python3
VENV ?= .venv
SWM_VENV ?= .venv-stable-worldmodel
BIN := $(VENV)/bin
HOME_DIR := $(CURDIR)/.lewm/quickstart
WORLD ?= push-t
# The data that the small recipe of a world was measured with, where that is not what lewm collect does by itself
DATA_push-t := --episodes 4000
DATA_cube := --detail coarse
# Where the search solves few tasks, a policy acts
POLICY_ACTS := cube

.PHONY: quickstart worlds ablation baselines test check stable-worldmodel verdicts soak fuzz bench gpu-wheels gpu-pass gpu-train clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

quickstart: export LEWM_HOME := $(HOME_DIR)
quickstart: $(VENV)/installed
	rm -rf "$(HOME_DIR)"
	$(BIN)/lewm collect
	$(BIN)/lewm train
	$(BIN)/lewm decode
	$(BIN)/lewm plan --horizon 5 --video mp4 --imagine
	$(BIN)/lewm probe
	$(BIN)/lewm surprise --suite two-room
	$(BIN)/lewm surprise "$(HOME_DIR)"/runs/two-room-small/surprise-suite-*/agent-teleported.mp4 \
		--out-video "$(HOME_DIR)/runs/two-room-small/annotated.mp4"
	$(BIN)/lewm report --out quickstart
	@echo 'quickstart/index.html shows what was made. To go on with it, type these two lines:'
	@echo '    source "$(BIN)/activate"'
	@echo '    export LEWM_HOME="$(HOME_DIR)"'

worlds: export LEWM_HOME := $(CURDIR)/.lewm/worlds/$(WORLD)
worlds: $(VENV)/installed
	@echo 'Collecting and training in $(WORLD): README.md says how long each takes on two cores.'
	rm -rf "$(LEWM_HOME)"
	$(BIN)/lewm collect --env $(WORLD) $(DATA_$(WORLD))
	$(BIN)/lewm train
	$(if $(filter $(WORLD),$(POLICY_ACTS)),$(BIN)/lewm train-policy)
	$(BIN)/lewm plan --video mp4 $(if $(filter $(WORLD),$(POLICY_ACTS)),--agent idm)
	$(BIN)/lewm probe
	$(BIN)/lewm report --out worlds/$(WORLD)
	@echo 'worlds/$(WORLD)/index.html shows what was made.'

# Comparisons of methods; each continues where it was interrupted, and they share what both need
ablation baselines: export LEWM_HOME := $(CURDIR)/.lewm/comparisons
ablation baselines: $(VENV)/installed
	$(BIN)/lewm compare $@ --jobs 2

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A process of tests on every core, at most eight for the sake of memory, in contiguous parts; who is done takes over.
test: check
	$(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal

# The tests in stable-worldmodel, which `make test` skips: it is large, and needs a virtual environment of its own.
$(SWM_VENV)/installed: pyproject.toml constraints.txt tests/stable-worldmodel.txt
	$(PYTHON) -m venv $(SWM_VENV)
	$(SWM_VENV)/bin/pip install --quiet -c constraints.txt -r tests/stable-worldmodel.txt -e ".[push-t]"
	touch $@

stable-worldmodel: $(SWM_VENV)/installed
	$(SWM_VENV)/bin/pytest tests/lewm/test_stable_worldmodel.py tests/lewm/test_in_stable_worldmodel.py

$(VENV)/gymnasium-worlds: $(VENV)/installed benchmarks/gymnasium-worlds.txt
	$(BIN)/pip install --quiet -c constraints.txt -r benchmarks/gymnasium-worlds.txt -e ".[box2d]"
	touch $@

# In which Gymnasium environments states tell success
verdicts: $(VENV)/gymnasium-worlds
	$(BIN)/python benchmarks/bench_verdicts.py --json benchmarks/results/verdicts-cpu.json
	$(BIN)/python benchmarks/tables.py

# The long campaigns: commands killed at every moment, and spoilt inputs for every reader
soak fuzz: $(VENV)/installed
	$(BIN)/python tests/campaigns/$@.py

bench: $(VENV)/installed verdicts
	$(BIN)/python benchmarks/bench_two_room.py --json benchmarks/results/two_room-cpu.json
	$(BIN)/python benchmarks/bench_collect.py --json benchmarks/results/collect-cpu.json
	$(BIN)/python benchmarks/bench_drawing.py --json benchmarks/results/drawing-cpu.json
	$(BIN)/python benchmarks/bench_reader.py --json benchmarks/results/reader-cpu.json
	$(BIN)/python benchmarks/bench_convert.py --json benchmarks/results/convert-cpu.json
	$(BIN)/python benchmarks/bench_sigreg.py --shapes paper small wide large --threads 2 1 --compile \
		--json benchmarks/results/sigreg-cpu.json
	$(BIN)/python benchmarks/bench_planning.py --threads 2 --turns 3 \
		--paths reference reference-compiled stable-worldmodel lewm \
		--json benchmarks/results/planning-cpu.json
	$(BIN)/python benchmarks/bench_patches.py --threads 2 --json benchmarks/results/patches-cpu.json
	$(BIN)/python benchmarks/bench_philox.py --threads 2 1 --json benchmarks/results/philox-cpu.json
	$(BIN)/python benchmarks/bench_quickstart.py --seeds 0 1 2 3 4 --json benchmarks/results/quickstart-cpu.json
	for world in two-room push-t reacher cube; do \
		$(BIN)/python benchmarks/bench_worlds.py $$world --json benchmarks/results/world-$$world-cpu.json || exit 1; \
	done
	for world in two-room push-t reacher; do \
		$(BIN)/python benchmarks/bench_worlds.py $$world --curve --seeds 0 --oracle-set planning.planner.samples=100 \
			--json lewm/curves/$$world.json || exit 1; \
	done
	$(BIN)/python benchmarks/bench_worlds.py cube --curve --seeds 0 --oracle-tasks 0 --json lewm/curves/cube.json
	$(BIN)/python benchmarks/draw_curves.py
	for world in two-room push-t reacher cube; do \
		$(BIN)/python benchmarks/bench_data.py $$world --json benchmarks/results/data-$$world-cpu.json || exit 1; \
	done
	for world in two-room push-t; do \
		$(BIN)/python benchmarks/bench_far.py $$world --json benchmarks/results/far-$$world-cpu.json || exit 1; \
	done
	$(BIN)/python benchmarks/bench_far.py cube --goals 25 --only 0 6 12 --seeds 0 1 2 \
		--json benchmarks/results/far-cube-cpu.json
	$(BIN)/python benchmarks/bench_surprise.py --json benchmarks/results/surprise-cpu.json
	$(BIN)/python benchmarks/bench_sigreg_exact.py --json benchmarks/results/sigreg-exact-cpu.json
	for world in two-room push-t; do \
		$(BIN)/python benchmarks/bench_planners.py $$world --json benchmarks/results/planners-$$world-cpu.json || exit 1; \
	done
	$(BIN)/python benchmarks/bench_objectives.py two-room --seeds 3072 7 8 \
		--json benchmarks/results/objectives-two-room-cpu.json
	$(BIN)/python benchmarks/tables.py

# For Python 3.12, whatever Python is here
gpu-wheels:
	$(PYTHON) -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		$(foreach glibc,2_28 2_27 2_17,--platform manylinux_$(glibc)_x86_64) --platform manylinux2014_x86_64 \
		--requirement benchmarks/gpu-wheels.txt --dest .lewm/gpu-wheels

# With the packages of PYTHON, and those of .lewm/gpu-wheels where that is there
gpu-pass gpu-train:
	PYTHON=$(PYTHON) bash benchmarks/$(subst -,_,$@).sh $(wildcard .lewm/gpu-wheels)

clean:
	rm -rf $(VENV) $(SWM_VENV) .lewm quickstart worlds build dist *.egg-info
