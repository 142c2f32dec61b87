# Everything runs in .venv, which the first target to need it builds. DEMO_FLAGS and PYTEST_FLAGS are passed on.
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
BIN := .venv/bin

.PHONY: help venv demo test lint types unit format clean

help:
	@echo 'make demo    train, measure, search, export and roll out on this machine (DEMO_FLAGS="--quick")'
	@echo 'make test    lint + types + unit'
	@echo 'make lint    ruff, formatting included'
	@echo 'make types   mypy, strict'
	@echo 'make unit    pytest (PYTEST_FLAGS="-k wire")'
	@echo 'make format  let ruff format and mend what it can'
	@echo 'make venv    the environment only; quick when nothing changed'
	@echo 'make clean   delete the environment, caches and the demo folder'

venv:
	@sh scripts/make-venv.sh

demo: venv
	$(BIN)/edgenas demo $(DEMO_FLAGS)

test: lint types unit

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# The device side is checked as the oldest Python that boards have, the rest as the oldest that the host needs.
types: venv
	$(BIN)/mypy --python-version 3.10 firmware_bridge
	$(BIN)/mypy

unit: venv
	$(BIN)/pytest $(PYTEST_FLAGS)

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-bootstrap .pytest_cache .mypy_cache .ruff_cache .hypothesis edgenas-demo build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
