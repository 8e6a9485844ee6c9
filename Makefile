# make demo | test | check | test-torch | test-engine | notebooks | lint | bench: each makes its environment.
# Needs only Python 3.11 to 3.13, make and git. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
ENVS ?= .
PYTEST_ARGS ?= -n auto

APP := $(ENVS)/.venv
TEST := $(ENVS)/.venv-test
TORCH := $(ENVS)/.venv-torch
ENGINE := $(ENVS)/.venv-engine
LINT := $(ENVS)/.venv-lint
NOTEBOOKS := $(ENVS)/.venv-notebooks
# Enough to see that every cell runs; opened by a reader, a notebook takes its own number.
NOTEBOOK_SEEDS ?= 4
# Tests with PyTorch run on the CPU: another build of it, make test-torch TORCH_SPEC=torch
TORCH_SPEC ?= torch==2.13.0
FIGURE := out/saber-compare.png

.PHONY: help demo test check test-torch test-engine notebooks lint bench format clean python
.DEFAULT_GOAL := help

help:
	@echo "make demo        compare SABER with ten static batch sizes; writes $(FIGURE)"
	@echo "make test        run the tests"
	@echo "make check       the regression gate: six scenarios against tests/golden's baseline"
	@echo "make test-torch  run the tests of the measuring modules, with PyTorch (a large download)"
	@echo "make test-engine run the tests against a real engine, vLLM on the CPU (Linux; a large download)"
	@echo "make notebooks   execute every notebook, with few seeds"
	@echo "make lint        ruff, mypy --strict, import-linter"
	@echo "make bench       measure the simulator's speed"
	@echo "make format      let ruff format the code"
	@echo "make clean       remove the virtual environments and what was built"

demo: $(APP)/.done
	$(APP)/bin/saber compare --figure $(FIGURE)
	@echo "The figure is $(FIGURE). Next: $(APP)/bin/saber --help"

test: $(TEST)/.done
	$(TEST)/bin/python -m pytest $(PYTEST_ARGS)

check: $(APP)/.done
	$(APP)/bin/saber check tests/golden/suite.toml

# One after the other: these tests take times, and neighbours would be measured with them.
test-torch: $(TORCH)/.done
	$(TORCH)/bin/python -m pytest -p no:xdist tests/with_torch

test-engine: $(ENGINE)/.done
	$(ENGINE)/bin/python -m pytest -p no:xdist tests/with_engine

notebooks: $(NOTEBOOKS)/.done
	SABER_SEEDS=$(NOTEBOOK_SEEDS) $(NOTEBOOKS)/bin/python -m pytest --nbmake -n auto notebooks/*.ipynb

lint: $(LINT)/.done
	$(LINT)/bin/ruff check
	$(LINT)/bin/ruff format --check
	$(LINT)/bin/mypy
	$(LINT)/bin/lint-imports

bench: $(APP)/.done
	$(APP)/bin/python tests/bench.py

format: $(LINT)/.done
	$(LINT)/bin/ruff check --fix
	$(LINT)/bin/ruff format

clean:
	rm -rf $(APP) $(TEST) $(TORCH) $(ENGINE) $(NOTEBOOKS) $(LINT) build dist out *.egg-info

# A stamp, so that a second call installs nothing unless the dependencies changed.
$(APP)/.done: EXTRAS :=
$(TEST)/.done: EXTRAS := [test]
$(NOTEBOOKS)/.done: EXTRAS := [notebooks]
$(LINT)/.done: EXTRAS := [lint]
$(APP)/.done $(TEST)/.done $(NOTEBOOKS)/.done $(LINT)/.done: pyproject.toml | python
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check --editable '.$(EXTRAS)'
	@touch $@

# In two steps, because measuring must work with no more than torch, numpy and scipy.
$(TORCH)/.done: pyproject.toml | python
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check '$(TORCH_SPEC)' numpy scipy
	$(@D)/bin/python -m calibrate --model tiny --device cpu --quick --out $(@D)/offline.json
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[test-gpu]'
	@touch $@

ENGINE_FILES := tests/with_engine/install.sh tests/with_engine/requirements.txt
$(ENGINE)/.done: pyproject.toml $(ENGINE_FILES) | python
	PYTHON=$(PYTHON) sh tests/with_engine/install.sh $(@D) '$(TORCH_SPEC)'
	$(@D)/bin/python -m pip install -qq --disable-pip-version-check --no-compile --editable '.[test]'
	@touch $@

python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	sys.exit(None if ok else "sabersim needs Python 3.11 to 3.13, but $(PYTHON) is %d.%d; \
	name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:2])'
