# Two commands for a newcomer: make demo, make test. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Blender comes as a package that needs Python 3.11 and an older numpy, so it gets an environment of its own.
BLENDER := .venv-bpy
BLENDER_READY := $(BLENDER)/.ready
# The next generation of Blender wants Python 3.13, from the PATH or from pyenv.
PYTHON313 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13) python3.13)
BLENDER52 := .venv-bpy52
BLENDER52_READY := $(BLENDER52)/.ready
# Chromium, with which tests open pages: too large for all who only want to make objects.
BROWSER_READY := $(VENV)/.browser
PROMPT ?= a red mushroom
PRESET ?= standard

# Threads that spin for long while they wait starve each other where other programs use the cores too.
export GOMP_SPINCOUNT ?= 5000

.PHONY: help demo compare test test-all faults cluster gpu-check lint clean

help:
	@echo "make demo     set up, make an object from PROMPT=\"$(PROMPT)\" with the add-on in Blender: demo/"
	@echo "make compare  the same PROMPT by time_prior and by uniform timesteps, side by side: demo/compare/"
	@echo "make test     set up, then run the default test suite"
	@echo "make test-all the same with the tests that take long (installations, faults, many prompts) or a browser"
	@echo "make faults   break the service on purpose, at length (about half an hour), and count what is lost"
	@echo "make cluster  install Ray, and kill machines of a cluster, at length (about half an hour)"
	@echo "make gpu-check  try an NVIDIA card by all that it is for, offline, in nine minutes: gpu-check.json"
	@echo "make lint     set up, then check style and types"
	@echo "make clean    remove the virtual environments and what demo wrote"

demo: $(READY) $(BLENDER_READY)
	@mkdir -p demo
	@if [ -x $(BLENDER)/bin/python ]; then \
		echo "Making \"$(PROMPT)\" through a backend and the add-on in real Blender (some minutes on two cores) ..."; \
		$(BLENDER)/bin/python blender_addon/demo.py $(BIN)/python "$(PROMPT)" $(PRESET) demo > demo/blender.log || \
			{ tail demo/blender.log; exit 1; }; \
		echo "wrote demo/scene.blend, demo/render.png, demo/mesh.glb and demo/turntable.gif"; \
	else \
		echo "Making \"$(PROMPT)\" (some minutes on two cores) ..."; \
		$(BIN)/python -m backend generate "$(PROMPT)" --preset $(PRESET) --out demo; \
	fi

compare: $(READY)
	@echo "Making \"$(PROMPT)\" twice (some minutes on two cores) ..."
	$(BIN)/python -m backend compare "$(PROMPT)" --preset $(PRESET) --out demo/compare

test: CHOSEN := -m "not long"
test: DURATION := ten minutes to half an hour
test-all: DURATION := a quarter of an hour or much longer
test-all: $(BROWSER_READY)
# A process for each core, each with one thread: most tests wait for other processes rather than for torch.
test test-all: export OMP_NUM_THREADS := 1
test test-all: $(READY) $(BLENDER_READY) $(BLENDER52_READY)
	@echo "Running the tests (about $(DURATION) on two cores) ..."
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(CHOSEN)
	@echo "Checking that the tests of shared/ reach every branch of it ..."
	$(BIN)/python -m pytest tests/shared --quiet --durations=0 --durations-min=60 \
		--cov=shared --cov-branch --cov-report= --cov-fail-under=100

faults: $(READY)
	$(BIN)/python tests/faults/malformed.py --inputs 10000000 --seed 1
	$(BIN)/python tests/faults/flood.py --messages 100000 --seed 1
	$(BIN)/python tests/faults/strangers.py --tries 1000
	$(BIN)/python tests/faults/nemesis.py --faults 5000 --seed 1

cluster: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[dev,ray]"
	$(BIN)/python tests/faults/flock.py --jobs 2000 --clients 20 --strict
	$(BIN)/python tests/faults/cluster.py --kills 100 --server-kills 10 --seed 1
	$(BIN)/python tests/faults/many_machines.py strangers
	$(BIN)/python tests/faults/many_machines.py two
	$(BIN)/python tests/faults/many_machines.py head
	$(BIN)/python tests/faults/many_machines.py real
	$(BIN)/python tests/faults/many_machines.py throughput

gpu-check: $(READY)
	$(BIN)/python -m backend bench --gpu-check

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(BLENDER) $(BLENDER52) demo

$(READY): pyproject.toml requirements.lock
	@echo "Creating $(VENV) and installing the pinned packages (a few minutes the first time) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[dev]"
	@touch $@

$(BROWSER_READY): $(READY)
	@echo "Installing a browser for the tests (210 MB the first time) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[dev,browser]"
	@touch $@

$(BLENDER_READY): requirements-bpy.lock
	@mkdir -p $(BLENDER)
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
		echo "Creating $(BLENDER) with Blender as a package (370 MB the first time) ..."; \
		$(PYTHON) -m venv $(BLENDER) && \
		$(BLENDER)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bpy.lock && \
		touch $@; \
	else \
		echo "Blender's package needs Python 3.11 (make PYTHON=python3.11); going on without Blender."; \
	fi

$(BLENDER52_READY): requirements-bpy52.lock
	@mkdir -p $(BLENDER52)
	@if $(PYTHON313) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then \
		echo "Creating $(BLENDER52) with Blender 5.2 as a package (400 MB the first time) ..."; \
		$(PYTHON313) -m venv $(BLENDER52) && \
		$(BLENDER52)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bpy52.lock && \
		touch $@; \
	else \
		echo "Blender 5.2's package needs Python 3.13 (make PYTHON313=...); going on without Blender 5.2."; \
	fi
