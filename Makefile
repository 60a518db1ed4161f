# Each of these sets up everything it needs in .venv: no root, nothing but Python and make.
# PYTHON=... chooses the interpreter; else the first of these that is new enough and can make environments.
PYTHON ?= python3.13 python3.12 python3.11 python3.14 python3 python
VENV := .venv
BIN := $(VENV)/bin
# One more than two cores: some tests wait for a device to answer.
JOBS ?= 3
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

.PHONY: demo wakeword classify test test-long mutants lint docs figures wheel-test clean

demo: $(VENV)/.demo
	$(BIN)/tinygen demo

wakeword: $(VENV)/.wakeword
	$(BIN)/tinygen demo wakeword

classify: $(VENV)/.classify
	$(BIN)/tinygen demo classify

test: lint
	$(PYTEST)

test-long: $(VENV)/.dev
	$(PYTEST) -m long

# Breaks tinygen in one place after the other (tests/mutants): which default test notices? Takes an hour and more.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --jobs $(JOBS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

# The pages, as a site in out/site; a link that leads nowhere is an error.
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

# Holds the figures of README and docs/ to the commands named beside them, those that take less than a minute.
figures: $(VENV)/.dev
	$(BIN)/python -m tests.docs.figures

# Builds the wheel and does the main job from it, in an empty environment outside the checkout.
wheel-test: $(VENV)/.dev
	$(BIN)/python -m tests.packaging.wheel_job

# Each candidate is run, not only looked up: a name on PATH may be a shim with nothing behind it.
$(VENV)/bin/python:
	@newest=; for candidate in $(PYTHON); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		newest=$$candidate; \
		"$$candidate" -c 'import ensurepip, venv' 2>/dev/null || continue; \
		"$$candidate" -m venv $(VENV) && exit 0; \
		rm -rf $(VENV); \
	done; \
	if [ -n "$$newest" ]; then \
		echo "$$newest cannot make a virtual environment: its venv or ensurepip is missing" \
			"(Debian, Ubuntu: apt install python3-venv), or its output above says why." >&2; \
	else \
		echo "Python 3.11 or newer is needed and none of these is: $(PYTHON)." \
			"Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.wakeword: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,audio]'
	@touch $@ $(VENV)/.demo

# With this torch, pip finds wheels for the CPU alone.
$(VENV)/.classify: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,classify]' torch==2.13.0
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.wakeword $(VENV)/.classify

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis
