# Two commands are enough: `make app` and `make test`. Each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STREAMLIT_FLAGS ?= --browser.gatherUsageStats=false
CASES ?= 180
RUNS ?= 1000
MUTANTS ?= 10000
WORK ?= runs/demo

.PHONY: app test lint coverage mutants demo-models screenshots clean
app: $(READY)
	@exec $(BIN)/python -m streamlit run app.py $(STREAMLIT_FLAGS)

test: $(READY)
	@$(BIN)/python -m tests.needs_chromium
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Do 95 % intervals cover? 1,000 simulated studies for each method; about two minutes on a free core.
coverage: $(READY)
	@$(BIN)/python -m training.bench.coverage --runs $(RUNS)

# 10,000 damaged files, five times as many as `make test` reads; some minutes.
mutants: $(READY)
	@BMCORE_MUTANTS=$(MUTANTS) $(BIN)/python -m pytest tests/test_mutants.py

demo-models: $(READY)
	@$(BIN)/python -m training.demo_models --out models/demo --work $(WORK) --cases $(CASES)

screenshots: $(READY)
	@BMCORE_SCREENSHOTS=1 $(BIN)/python -m pytest -m browser

# Rebuilt only when the pinned list changes; made under another name first, so that a set-up that was
# stopped half-way starts over.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bmcore needs Python 3.11 or newer; try: make PYTHON=python3.11 app")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	@touch $(READY)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
