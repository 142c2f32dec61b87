# Everything runs in .venv, which the first target to need it builds. DEMO_FLAGS and PYTEST_FLAGS are passed on.
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
# Processes that share the files of tests; 0 runs all in one, for a debugger.
WORKERS ?= 2
DEVICES_FLAGS ?=
# Of `make fuzz`: seconds for each parser, and how many parsers at a time, a core each.
FUZZ_SECONDS ?= 600
FUZZ_WORKERS ?= 1
FUZZ_FLAGS ?=
BIN := .venv/bin

.PHONY: help venv demo test lint types unit format clean fuzz test-survival test-long test-devices test-postgres deb test-packaging test-amd64 test-arm64 test-armhf test-vm

help:
	@echo 'make demo    train, measure, search, export and roll out on this machine (DEMO_FLAGS="--quick")'
	@echo 'make test    lint + types + unit'
	@echo 'make test-long  the longest of a plain run: processes that train together, a run killed again and again, the demo'
	@echo 'make test-survival  every fault against the real daemon, on every broker that is installed (half an hour)'
	@echo 'make test-devices  the device suite in environments like those of boards (DEVICES_FLAGS="3.11-tflite-runtime")'
	@echo 'make test-postgres  everything that is kept in the database, on a PostgreSQL server (PYTEST_FLAGS="-k audit")'
	@echo 'make fuzz    ten minutes of coverage-guided fuzzing for every parser: eight hours of a core, goes on where it was killed'
	@echo '             (FUZZ_WORKERS=2 parsers at a time, FUZZ_SECONDS=30 for each, FUZZ_FLAGS="--only plan-file --results DIR")'
	@echo 'make lint    ruff, formatting included'
	@echo 'make types   mypy, strict'
	@echo 'make unit    pytest (PYTEST_FLAGS="-k wire", WORKERS=0 for a debugger)'
	@echo 'make format  let ruff format and mend what it can'
	@echo 'make venv    the environment only; quick when nothing changed'
	@echo 'make deb     Debian packages of the device in build/deb (ARCH="arm64 armhf amd64" PY="310 311 312 313")'
	@echo 'make test-packaging  units, installer, enrolment and packages, as far as that needs no root'
	@echo 'make test-arm64  install and use the package in an emulated Debian (needs root, qemu-user); also test-armhf, test-amd64'
	@echo 'make test-vm boot a whole emulated machine and use the package there (needs root, qemu-system-arm)'
	@echo 'make clean   delete the environment, caches and the demo folder'

venv:
	@sh scripts/make-venv.sh

demo: venv
	$(BIN)/edgenas demo $(DEMO_FLAGS)

test: lint types unit

# Half an hour: kills at every durable change, disks, networks, clocks, hostile candidates and messages. Root adds real full disks.
test-survival: venv
	$(BIN)/pytest -m "survival or not survival" tests/survival $(PYTEST_FLAGS)

# Minutes: what a plain run leaves out.
test-long: venv
	$(BIN)/pytest -m long $(PYTEST_FLAGS)

# Minutes: builds the wheel and runs the device suite on Python 3.10 to 3.13, with each runtime.
test-devices: venv
	sh scripts/test-devices.sh $(DEVICES_FLAGS)

# Two minutes: a server of its own in a temporary folder; as root installs Debian's packages first, where there are none.
test-postgres: venv
	@sh scripts/test-postgres.sh $(PYTEST_FLAGS)

# Hours: every parser of what comes from outside, by atheris in an environment of its own. Killed, it goes on with the same command.
fuzz: venv
	@sh scripts/fuzz.sh --seconds $(FUZZ_SECONDS) --workers $(FUZZ_WORKERS) $(FUZZ_FLAGS)

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# The device side is checked as the oldest Python that boards have, the rest as the oldest that the host needs.
types: venv
	$(BIN)/mypy --python-version 3.10 firmware_bridge
	$(BIN)/mypy

unit: venv
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-bootstrap .pytest_cache .mypy_cache .ruff_cache .hypothesis edgenas-demo build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Packages of the device. Nothing of another architecture is executed, and no root is needed.
deb:
	@ARCH="$(ARCH)" PY="$(PY)" sh scripts/build-deb.sh

test-packaging: venv
	$(BIN)/pytest tests/packaging tests/firmware_bridge/test_enroll.py $(PYTEST_FLAGS)

# A package put to use where it will live: in an emulated Debian, or in a whole emulated machine. Skipped with the reason
# where a tool is missing. Debian roots are made once and kept below build/roots.
test-amd64 test-arm64 test-armhf: test-%: venv
	@ARCH=$* PY=311 sh scripts/build-deb.sh
	EDGENAS_PACKAGE_ARCH=$* $(BIN)/pytest tests/packaging/test_installed.py $(PYTEST_FLAGS)

test-vm: venv
	@ARCH=arm64 PY=311 sh scripts/build-deb.sh
	EDGENAS_PACKAGE_VM=1 $(BIN)/pytest tests/packaging/test_machine.py $(PYTEST_FLAGS)
