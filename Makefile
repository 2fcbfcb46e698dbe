# Needs python3 (3.11 or newer) and make; everything else goes into .venv, from locked files, on first use.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

# Without bytecode every process of the demo would compile pandas and scikit-learn anew, 2 s each.
unexport PYTHONDONTWRITEBYTECODE

define HELP
See it work
  make demo               real flights, a real model, a fault in it that the console names (Ctrl-C ends it)
  make demo ARGS="..."    the same with flags: --speed 120, --incident none, --headless, --duration 60, --port 8800

Work on it
  make test               all tests but the slow ones, and the examples in the docstrings
  make test ARGS="..."    the same with flags of pytest: -k drift, -x, tests/test_bins.py
  make test-slow          the slow ones
  make test-integrations  the tests with the newest releases of everything, in .venv-newest
  make lint               ruff, mypy --strict, the order of modules; make format mends what can be mended
  make types              mypy --strict alone
  make bench              the benchmarks, beside their peers
  make bench-alarms       false alarms of ordinary months, and how soon faults are found (docs/alarms.md)
  make bench-flights      every alarm of a year of real flights, and what happened (docs/flights.md)
  make bench-detectors    the same months through PSI, KS, mean ± 3 sd, Evidently, NannyML (docs/detectors.md)
  make drill              fire drills on the demo's models, into docs/drills.md

Keep it
  make lock               renew requirements/*.txt; ARGS=--upgrade takes newer releases
  make clean              remove all that make has made

Set BAROGRAPH_DATA to a folder of real data sets for the tests that read them, PYTHON to choose an interpreter.
endef

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-integrations lint types format bench bench-alarms bench-flights bench-detectors drill lock clean

help:
	$(info $(HELP))
	@:

.venv/.%: requirements/%.txt requirements/build.txt pyproject.toml tools/venv.py \
		hatch_build.py $(wildcard src/barograph/_compiled*.c)
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the path: barograph needs Python 3.11 or newer."; exit 2; }
	@$(PYTHON) tools/venv.py $*

demo: .venv/.demo
	@$(BIN)/barograph demo $(ARGS)

test: .venv/.test
	@sh tools/debian.sh
	$(BIN)/pytest -m "not slow" -n 2 --dist loadgroup $(ARGS)
ifeq ($(strip $(ARGS)),)
	@echo "The same in pure Python, where what is compiled has a twin:"
	@BAROGRAPH_PURE_PYTHON=1 $(BIN)/pytest -q tests/test_compiled.py tests/test_rows.py tests/test_monitor.py tests/test_profile.py
endif

test-slow: .venv/.test
	@sh tools/debian.sh
	$(BIN)/pytest -m slow -o faulthandler_timeout=1200 $(ARGS)

test-integrations:
	@$(PYTHON) tools/venv.py newest
	.venv-newest/bin/pytest -m "not slow and not browser and not demo" -n 2 --dist loadgroup $(ARGS)

lint: .venv/.test types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

types: .venv/.test
	$(BIN)/mypy

format: .venv/.test
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: .venv/.test
	$(BIN)/python -m benchmarks $(ARGS)

drill: .venv/.test
	$(BIN)/barograph drill --demo --output build/drills $(ARGS)
	$(BIN)/python tools/drills.py build/drills

bench-flights: .venv/.test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.flights $(ARGS)

bench-alarms: .venv/.test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.alarms $(ARGS)

bench-detectors: .venv/.test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.detectors $(ARGS)

LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
	--no-emit-index-url --generate-hashes --custom-compile-command "make lock" $(ARGS)

# Each is held to what the ones before it chose.
lock: .venv/.test
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) pyproject.toml --extra demo -c requirements/build.txt -o requirements/demo.txt
	$(LOCK) pyproject.toml --extra demo --group dev -c requirements/demo.txt -o requirements/test.txt

clean:
	rm -rf .venv .venv-newest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf $$(find src tests tools benchmarks -name __pycache__)
