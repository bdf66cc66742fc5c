# Commands for development. Targets first create the environment, which costs nothing if
# it exists. All paths are relative, because make doesn't support spaces in paths.
#
# make reports every failure as 2. For the exit codes of a run (1 node failed, 2 wrong
# command, 3 data rejected, 4 model not blessed) call `.venv/bin/python run_local.py`.

.DEFAULT_GOAL := help
.PHONY: help env dev airflow-env run test test-fast test-clusters test-containers coverage lint format demo bench bench-ingestion notebooks tensorboard image lock clean distclean
# `make -j` must not run targets such as clean and test at the same time.
.NOTPARALLEL:

PYTHON_HERE := .venv/bin/python
# Groups of tests, in the order of tests/conftest.py, each group on one core.
ON_ALL_CORES := -n auto --dist loadgroup --no-loadscope-reorder
# Extra flags for the command of a target, such as ARGS="--train-steps 200".
ARGS ?=

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo '  ARGS="..." passes flags on: make run ARGS="--train-steps 200"'

env: ## create .venv with what running needs, and nothing else
	@./bootstrap

dev: ## add to .venv what tests, checks and notebooks need
	@./bootstrap --dev

airflow-env: dev ## create .venv-airflow2 and .venv-airflow3, for the tests
	@environments/airflow

run: env ## run the pipeline on this machine
	@$(PYTHON_HERE) run_local.py $(ARGS)

test: dev ## run every test; ARGS="-m 'not e2e'" for the quick ones
	@$(PYTHON_HERE) -m pytest $(ON_ALL_CORES) $(ARGS)

test-fast: dev ## run all but the end-to-end tests
	@$(PYTHON_HERE) -m pytest -m "not e2e" $(ON_ALL_CORES) $(ARGS)

test-clusters: dev ## run the pipeline on Flink and Spark on this machine, and kill a worker
	@$(PYTHON_HERE) -m pytest tests/clusters $(ARGS)

test-containers: dev ## build the images, and run a package for Kubeflow in them
	@$(PYTHON_HERE) -m pytest tests/containers $(ARGS)

# Only on request: tests of TensorFlow and Beam take two thirds more processor time.
coverage: dev ## run every test and list the lines that none of them runs
	@rm -f .coverage .coverage.*
	@$(PYTHON_HERE) -m pytest --cov $(ON_ALL_CORES) $(ARGS)

lint: dev ## check style, format and types
	@$(PYTHON_HERE) -m ruff check $(ARGS)
	@$(PYTHON_HERE) -m ruff format --check
	@$(PYTHON_HERE) -m mypy

format: dev ## format the code, and fix what ruff can fix
	@$(PYTHON_HERE) -m ruff check --fix-only $(ARGS)
	@$(PYTHON_HERE) -m ruff format

demo: env ## a day in production in two minutes: serve, watch, train again, refuse
	@$(PYTHON_HERE) -m demo $(ARGS)

bench: dev ## measure against TFX's template and a plain script; ROWS=15002,300000
	@$(PYTHON_HERE) -m benchmarks pipeline $(if $(ROWS),--rows $(ROWS)) $(ARGS)

bench-ingestion: dev ## measure ingestion against TFX's CsvExampleGen
	@$(PYTHON_HERE) -m benchmarks ingestion $(ARGS)

notebooks: dev ## read artifacts in JupyterLab, in a browser
	@$(PYTHON_HERE) -m jupyterlab notebooks $(ARGS)

tensorboard: env ## show the training logs of all runs, in a browser
	@$(PYTHON_HERE) -m tensorboard.main \
	  --logdir output/artifacts/Trainer/model_run $(ARGS)

image: ## build the image of the nodes; IMAGE=REGISTRY/throughline:1 BASE=... DOCKER=podman
	@IMAGE="$(IMAGE)" BASE="$(BASE)" DOCKER="$(DOCKER)" environments/image $(ARGS)

lock: ## resolve requirements.lock again from setup.py; ARGS="--upgrade" for the newest
	@./bootstrap --lock $(ARGS)

clean: ## remove output/, output-demo/ and the tools' caches
	rm -rf output output-demo build dist htmlcov .pytest_cache .mypy_cache .ruff_cache
	rm -rf .coverage .coverage.* *.egg-info
	find . -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf .venv .venv-airflow2 .venv-airflow3
