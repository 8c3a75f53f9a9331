# Two commands set everything up on a fresh machine: `make demo` and `make test`.
# --no-compile: only what is really imported is compiled, at its first import: the demo begins sooner.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test torture check big bench-dispatch bench-cadence lock schema clean

demo: $(VENV)/.runtime
	$(BIN)/renderdrop demo

test: check
	$(BIN)/pytest

# 2 GB up and 2 GB down, its memory watched: a minute or two, and 5 GB of disk for that long.
big: $(VENV)/.dev
	RENDERDROP_BIG=1 $(BIN)/pytest -n 0 --timeout 900 tests/system/test_big_files.py

# The proofs of the three promises at their whole size, with their table at the end. Needs root, strace, fuse3 and
# libfaketime (Debian's packages strace, fuse3, faketime), and an hour on two cores.
torture: $(VENV)/.dev
	RENDERDROP_TORTURE=1 $(BIN)/pytest -n 6 --dist load --timeout 3600 tests/torture

# Clusters and looks at tasks, simulated with the product's own decisions: the README's tables from one run. Two cores
# need five minutes. BENCH_DISPATCH and BENCH_CADENCE hand on options (`--help`; `--plot FILE` draws the picture).
bench-dispatch: $(VENV)/.dev
	PYTHONPATH=.:daemon $(BIN)/python -m bench.dispatch $(BENCH_DISPATCH)
	PYTHONPATH=.:daemon $(BIN)/python -m bench.cadence $(BENCH_CADENCE)

bench-cadence: $(VENV)/.dev
	PYTHONPATH=.:daemon $(BIN)/python -m bench.cadence $(BENCH_CADENCE)

check: $(VENV)/.dev
	$(BIN)/ruff check daemon tests bench
	$(BIN)/ruff format --check daemon tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

# The example's schema, written from the settings models (a test holds the two in step).
schema: $(VENV)/.dev
	$(BIN)/renderdrop schema settings > config/renderdrop.schema.json

# Versions and hashes only: which registry they come from is the machine's business.
COMPILE := $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

lock:
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	$(COMPILE) --upgrade --group build -o .ci/build.lock
	$(COMPILE) --upgrade pyproject.toml -o .ci/runtime.lock
	$(COMPILE) --upgrade pyproject.toml --extra publish -o .ci/publish.lock
	$(COMPILE) --upgrade pyproject.toml --extra publish --group dev -o .ci/dev.lock

$(VENV)/.runtime: pyproject.toml .ci/runtime.lock .ci/build.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --require-hashes -r .ci/build.lock -r .ci/runtime.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime .ci/dev.lock
	$(BIN)/pip install --quiet --no-compile --require-hashes -r .ci/dev.lock
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
