# What to type. Each target first makes the environment, which costs nothing when it
# is there. All paths are relative: make can't have spaces in its own.
#
# make reports any failure as 2. For run's exit codes (1 component failed, 2 wrong
# command, 3 data refused, 4 model not blessed) call `.venv/bin/python run_local.py`.

.DEFAULT_GOAL := help
.PHONY: help env airflow-env run test test-fast lint format bench bench-ingestion notebooks tensorboard lock clean distclean
# A plain `make -j` must not run clean beside test.
.NOTPARALLEL:

PYTHON_HERE := .venv/bin/python
# Groups of tests in the order of tests/conftest.py, each on one core.
ON_ALL_CORES := -n auto --dist loadgroup --no-loadscope-reorder
# Flags for the command a target runs, such as ARGS="--train-steps 200".
ARGS ?=

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo '  ARGS="..." passes flags on: make run ARGS="--train-steps 200"'

env: ## make .venv and nothing else
	@./bootstrap

airflow-env: env ## make .venv-airflow2 and .venv-airflow3, for the tests
	@environments/airflow

run: env ## run the pipeline here
	@$(PYTHON_HERE) run_local.py $(ARGS)

test: env ## run every test, with coverage; ARGS="-m 'not e2e'" for the quick ones
	@rm -f .coverage .coverage.*
	@$(PYTHON_HERE) -m pytest --cov $(ON_ALL_CORES) $(ARGS)

test-fast: env ## run the tests that need no whole pipeline, without coverage
	@$(PYTHON_HERE) -m pytest -m "not e2e" $(ON_ALL_CORES) $(ARGS)

lint: env ## check style, format and types
	@$(PYTHON_HERE) -m ruff check $(ARGS)
	@$(PYTHON_HERE) -m ruff format --check
	@$(PYTHON_HERE) -m mypy

format: env ## rewrite the code in the house format
	@$(PYTHON_HERE) -m ruff check --fix-only $(ARGS)
	@$(PYTHON_HERE) -m ruff format

bench: env ## measure against TFX's template and a plain script; ROWS=15002,300000
	@$(PYTHON_HERE) -m benchmarks pipeline $(if $(ROWS),--rows $(ROWS)) $(ARGS)

bench-ingestion: env ## measure ingestion against TFX's CsvExampleGen
	@$(PYTHON_HERE) -m benchmarks ingestion $(ARGS)

notebooks: env ## read artifacts in JupyterLab, in a browser
	@$(PYTHON_HERE) -m jupyterlab notebooks $(ARGS)

tensorboard: env ## show the training logs of all runs, in a browser
	@$(PYTHON_HERE) -m tensorboard.main \
	  --logdir output/artifacts/Trainer/model_run $(ARGS)

lock: ## resolve requirements.lock anew from setup.py; ARGS="--upgrade" for the newest
	@./bootstrap --lock $(ARGS)

clean: ## remove output/ and the tools' caches
	rm -rf output build dist htmlcov .pytest_cache .mypy_cache .ruff_cache
	rm -rf .coverage .coverage.* *.egg-info
	find . -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf .venv .venv-airflow2 .venv-airflow3
