# Every target sets up .venv first and reuses it until requirements.txt or pyproject.toml change.
#   make demo           generate data, train, validate and draw predictions (ARCHITECTURE=solov2 too)
#   make test           all tests; make fast leaves out the slow ones
#   make check          what CI checks before the slow tests: format, lint, types, fast tests
#   make format         format the code and apply the safe lint fixes
#   make docs           build the documentation into site/
#   make requirements   compile the pinned versions again, the same for every Python

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo demo-solov2 test fast slow check lint format docs requirements

setup: $(READY)

# requirements.txt only constrains the versions, so a CPU build of torch leaves the CUDA wheels out.
# pip stands in where uv cannot reach its index: it reads the mirrors of pip.conf, which uv does not.
INSTALL := --constraint requirements.txt --editable '.[dev]'

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "error: crispmask needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv || true
	PATH="$$PATH:$(CURDIR)/$(BIN)" uv pip install --python $(BIN)/python $(INSTALL) || $(BIN)/python -m pip install $(INSTALL)
	@touch $(READY)

ARCHITECTURE ?= rtmdet-ins
DEMO := demo/$(ARCHITECTURE)
DEMO_SAMPLE := --images 160 --imgsz 320
DEMO_TRAIN_rtmdet-ins := --model tiny --epochs 24 --batch 8 --imgsz 256 --val-interval 4
DEMO_TRAIN_solov2 := --model nano --epochs 36 --batch 8 --imgsz 160 --grids 12,12,10,8,6 --val-interval 18 --optimizer adamw --lr 0.0004 --warmup-epochs 2 --mosaic 0 --scale 0.2 --translate 0.05 --degrees 0

demo: $(READY)
	rm -rf demo/data $(DEMO)
	$(BIN)/crispmask sample --out demo/data $(DEMO_SAMPLE)
	$(BIN)/crispmask train --data demo/data/data.yaml --architecture $(ARCHITECTURE) --weights none $(DEMO_TRAIN_$(ARCHITECTURE)) --work-dir $(DEMO)
	$(BIN)/crispmask predict --weights $(DEMO)/weights/best.pt --source demo/data/images/val --conf 0.4 --out $(DEMO)/predictions
	@echo
	@echo "run folder    $(DEMO)"
	@echo "checkpoint    $(DEMO)/weights/best.pt"
	@echo "metrics       $(DEMO)/metrics.json"
	@echo "predictions   $(DEMO)/predictions"

demo-solov2:
	@$(MAKE) demo ARCHITECTURE=solov2

# Tests on real images run where CRISPMASK_DATA names their folder, GPU tests by pytest -m gpu.
DESELECT := and not gpu$(if $(CRISPMASK_DATA),, and not real)
# Two workers with a thread each: most tests wait for a process, or compute too little for two threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

fast: $(READY)
	$(PYTEST) -m "not slow $(DESELECT)" --session-timeout=360

slow: $(READY)
	$(PYTEST) -m "slow $(DESELECT)" --timeout=900 --session-timeout=1500

test: fast
	@$(MAKE) slow

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint
	@$(MAKE) fast

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.venv/.docs: $(READY)
	PATH="$$PATH:$(CURDIR)/$(BIN)" uv pip install --python $(BIN)/python --constraint requirements.txt --editable '.[dev,docs]' || $(BIN)/python -m pip install --constraint requirements.txt --editable '.[dev,docs]'
	@touch .venv/.docs

requirements:
	uv pip compile pyproject.toml --extra dev --extra docs --universal --fork-strategy fewest --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade --quiet -o requirements.txt
