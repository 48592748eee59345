# Two commands for a newcomer: make demo, make test. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint clean

help:
	@echo "make demo   set up, then draw pictures with the built-in model into demo/"
	@echo "make test   set up, then run the whole default test suite"
	@echo "make lint   set up, then check style and types"
	@echo "make clean  remove the virtual environment and what demo wrote"

demo: $(READY)
	@echo "Drawing eight red mugs and one of everything (about 30 s on two cores) ..."
	$(BIN)/python -m backend.prior.sample "a red mug" --n 8 --out demo/mugs.png
	$(BIN)/python -m backend.prior.sample --everything --out demo/everything.png

test: $(READY)
	@echo "Running the default test suite (about two minutes on two cores) ..."
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo

$(READY): pyproject.toml requirements.lock
	@echo "Creating $(VENV) and installing the pinned packages (a few minutes the first time) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e ".[dev]"
	@touch $@
