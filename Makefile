# Every target sets up what it needs: a virtual environment in $(VENV), made again only when
# pyproject.toml or the constraints have changed. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
# The pair of torch and torchvision for CPU machines; on a GPU machine: make install CONSTRAINTS=
CONSTRAINTS ?= constraints/cpu.txt
# Recipe of prepare, train-vae, train-score, assimilate, report and simulate.
CONFIG ?= experiments/demo.yaml
# Overrides, for example ARGS="assimilation.members=32 resume=overwrite"
ARGS ?=
# Options of `make slurm-submit`, for example SUBMIT="--nodes 2 --gpus-per-node 4 --time 12:00:00"
SUBMIT ?=
# Directory whose tracking store `make mlflow-ui` shows: the key `runs` of the recipe.
RUNS ?= runs
# The demo's trained model, which `make demo` exports and the tutorials of `make docs` load.
MODEL ?= runs/demo/model

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
SLAMS := $(BIN)/slams
DEMO := experiments/demo.yaml

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help install demo test test-slow test-gpu test-faults test-headers test-e2e test-slurm lint format prepare train-vae \
	train-score train-filter filter assimilate ablate compare report bench mlflow-ui simulate docs clean \
	slurm-submit slurm-sweep slurm-show

help: ## List the targets
	@echo 'make TARGET [CONFIG=recipe.yaml] [ARGS="key=value ..."]'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make the virtual environment and install the package in it

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@echo "installing into $(VENV) (some minutes and gigabytes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[test,dev]'
	@touch $@

demo: install ## Embedded sample -> VAE -> score -> assimilation with baselines -> report
	$(SLAMS) prepare $(DEMO) $(ARGS)
	$(SLAMS) train vae $(DEMO) $(ARGS)
	$(SLAMS) train score $(DEMO) $(ARGS)
	$(SLAMS) assimilate $(DEMO) $(ARGS)
	@rm -rf $(MODEL)
	$(SLAMS) export runs/demo/assimilation --output $(MODEL)

test: install ## Run the tests, but for the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not e2e and not slurm and not gpu"

test-e2e: install ## Open MLflow's page and the report in a headless browser
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } || \
		echo "no browser here and none could be installed: the tests will say that they skip"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m e2e

test-gpu: install ## Hold training and analyses on a GPU against the CPU's (minutes; skips without one)
	@$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || \
		echo "no GPU that torch can use on this machine: the tests will skip"
	$(BIN)/python -m pytest -m gpu tests/gpu

test-slow: install ## Run the slow tests: training, several processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

test-faults: install ## Kill commands, damage files, change headers, and compare how they end (an hour)
	$(BIN)/python -m tests.faults.kills $(ARGS)
	$(BIN)/python -m tests.faults.mutations
	$(BIN)/python -m tests.faults.headers

test-headers: install ## Read 500 files with random headers, ARGS="--seed 7 --count 100" for others (3 minutes)
	$(BIN)/python -m tests.faults.headers $(ARGS)

test-slurm: install ## Stop, crash and requeue runs on a SLURM cluster of our own (Debian, root)
	@OMP_NUM_THREADS=1 tests/slurm_cluster/run.sh $(BIN)/python

lint: install ## Check style, format, and that imports between rooms point one way
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: install ## Repair style and format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

prepare: install ## Turn the recipe's source into its training store
	$(SLAMS) prepare $(CONFIG) $(ARGS)

train-vae: install ## Train the autoencoder; continues where it was killed
	$(SLAMS) train vae $(CONFIG) $(ARGS)

train-score: install ## Train the latent score; continues where it was killed
	$(SLAMS) train score $(CONFIG) $(ARGS)

train-filter: install ## Train the learned filter; continues where it was killed
	$(SLAMS) train filter $(CONFIG) $(ARGS)

filter: install ## Forecast every day from the observations before
	$(SLAMS) filter $(CONFIG) $(ARGS)

assimilate: install ## Analyse the test period with every method and score the analyses
	$(SLAMS) assimilate $(CONFIG) $(ARGS)

ablate: install ## Run the settings of a recipe's sweep that have not finished
	$(SLAMS) ablate $(CONFIG) $(ARGS)

compare: install ## Hold the settings of a sweep against one another: tables and figures
	$(SLAMS) compare $(CONFIG) $(ARGS)

report: install ## Make the figures and the HTML report
	$(SLAMS) report $(CONFIG) $(ARGS)

bench: install ## Hold guidance and samplers to known posteriors (two minutes)
	OMP_NUM_THREADS=1 $(SLAMS) bench posterior $(ARGS)

slurm-submit: install ## Submit the stages that have not finished, each after the one before
	$(SLAMS) submit $(CONFIG) $(SUBMIT) $(ARGS)

slurm-sweep: install ## Submit the settings of the recipe's sweep as a job array
	$(SLAMS) submit $(CONFIG) --sweep $(SUBMIT) $(ARGS)

slurm-show: install ## Print the batch scripts of a recipe, submit nothing
	$(SLAMS) submit $(CONFIG) --dry-run $(SUBMIT) $(ARGS)

mlflow-ui: install ## Show the tracked runs in a browser
	@$(BIN)/python -c 'import pathlib, sys; from slams.tracking.moves import follow_move; \
	follow_move(pathlib.Path(sys.argv[1]))' "$(RUNS)/mlflow.db"
	@echo 'scores as columns: http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=slams-scores'
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///$(abspath $(RUNS))/mlflow.db

simulate: $(VENV)/.simulate ## Make a nature run with jcm (installs the extra `simulate`)
	$(SLAMS) simulate $(CONFIG) $(ARGS)

$(VENV)/.simulate: $(VENV)/.installed
	$(PIP) -e '.[simulate]'
	@touch $@

docs: $(VENV)/.docs ## Build the site in site/, and run its tutorials with the model of `make demo`
	@test -d $(MODEL) || echo "no $(MODEL): tutorials that load it are shown without output"
	NO_MKDOCS_2_WARNING=1 MODEL=$(MODEL) OMP_NUM_THREADS=1 $(BIN)/mkdocs build --quiet
	@echo "open $(CURDIR)/site/index.html"

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) -e '.[docs]'
	@touch $@

clean: ## Remove caches and builds; runs/, stores/ and the environment are kept
	rm -rf build dist site .pytest_cache .ruff_cache .import_linter_cache
	find src data_modules tests -name __pycache__ -type d -prune -exec rm -rf {} +
