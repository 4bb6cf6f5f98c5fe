override PYTHON := $(shell command -v $(or $(PYTHON),python3))

# Recipes use .venv and nothing else, whatever environment make was called from: commands in dvc.yaml
# say plain `python`. PYTHON, found before this, is the one that .venv is made from.
BIN := $(or $(FORMWORK_VENV),$(CURDIR)/.venv)/bin
export PATH := $(BIN):$(PATH)
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
export DVC_NO_ANALYTICS := 1

# Processes that run tests: one more than there are cores, as most tests wait for processes of their own now and then.
WORKERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

.DEFAULT_GOAL := help
.PHONY: help setup run compare verify diff sweep continue recipe evaluate-on label-errors doctor pack split preview tune repack report predict export bench docs test test-fast fuzz check check-code check-checkout lock clean

help:  ## List the targets; tools take options, as in make tune ARGS="--budget 20GB"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup:  ## Install what is missing into .venv (FORMWORK_TORCH=cpu: PyTorch without CUDA)
	@"$(PYTHON)" src/install.py

run: setup  ## Make what is out of date (data, betons, model, metrics) and say what came of it
	@"$(BIN)/dvc" repro
	@"$(BIN)/python" src/summary.py

compare: setup  ## Compare settings, or the loaders: train what is missing (ARGS="-S train.lr=0.1 -S train.lr=0.01")
	@"$(BIN)/dvc" repro convert weights
	@"$(BIN)/python" src/compare.py $(ARGS)

verify: setup  ## Run the last commit from nothing in a clean clone, beside dvc.lock; ARGS=--check: the certificate alone
	@"$(BIN)/python" src/verify.py $(ARGS)

diff: setup  ## Show which images changed between two revisions of the data (ARGS="v1 main": docs/diff.md)
	@"$(BIN)/python" src/diff.py $(ARGS)

evaluate-on: setup  ## Measure the model on another dataset with its classes, or a group of them: docs/evaluation.md
	@"$(BIN)/python" src/evaluate_on.py $(ARGS)

sweep: setup  ## Search the best values of params with Optuna, as sweep.yaml says (docs/sweeps.md)
	@"$(BIN)/dvc" repro convert weights
	@"$(BIN)/python" src/sweep.py $(ARGS)

continue: setup  ## Train on from an experiment, as a new one (ARGS="EXPERIMENT --epochs 10": docs/training.md)
	@"$(BIN)/python" src/continue.py $(ARGS)

recipe: setup  ## Set the params of a ready recipe (ARGS=cifar10-resnet18; alone: list them: docs/recipes.md)
	@"$(BIN)/python" src/recipe.py $(ARGS)

label-errors: setup  ## Show images whose label is likely wrong, and list them: docs/label-errors.md
	@"$(BIN)/python" src/label_errors.py $(ARGS)

doctor:  ## Say what would stop a run or slow it down, and the command that mends it
	@python3 src/doctor.py $(ARGS)

pack: setup  ## Put a folder of images into tars, as DVC likes them (ARGS="~/photos data/raw/photos": docs/tars.md)
	@"$(BIN)/python" src/pack.py $(ARGS)

split: setup  ## Write the split of each image into a file for git, which then decides (docs/splits.md)
	@"$(BIN)/python" src/split.py $(ARGS)

preview: setup  ## Draw what the model is given, by each loader and by class: results/preview.png, results/preview/
	@"$(BIN)/python" src/preview.py results/preview.png $(ARGS)

tune: setup  ## Measure ways to store the dataset, and pick one: results/tune/
	@"$(BIN)/python" src/tune.py results/tune $(ARGS)

repack: setup  ## Write betons that are in parts without what no image needs any more: docs/betons.md
	@"$(BIN)/python" src/repack.py

predict: setup  ## Predict images (ARGS="models/best.pt ~/photos --output photos.csv"): docs/using.md
	@"$(BIN)/python" src/predict.py $(ARGS)

export: setup  ## Write a model for other programs (ARGS="models/best.pt --output out/best.onnx"): docs/export.md
	@"$(BIN)/python" src/export.py $(ARGS)

report: setup  ## Build one HTML page of data, training, mistakes, experiments and params, and a model card: results/
	@"$(BIN)/python" src/report.py results/report.html $(ARGS)

bench: setup  ## Measure the loaders beside others, in 40 minutes: docs/benchmarks.md
	@"$(BIN)/python" benchmarks/run.py loader $(ARGS)

docs: setup  ## Write docs/parameters.md from the descriptions in src/formwork/params
	@"$(BIN)/python" src/docs.py

test: setup  ## Run the tests of the code, all of them (ARGS="-k loader tests/beton": some)
	@"$(BIN)/pytest" --numprocesses $(WORKERS) --dist worksteal -m "not checkout" $(ARGS)

test-fast: setup  ## Run the tests that need neither a pipeline nor seconds
	@"$(BIN)/pytest" --numprocesses $(WORKERS) --dist worksteal -m "not checkout and not pipeline and not slow" $(ARGS)

fuzz: setup  ## Feed random input to the code that reads files (ARGS="images --count 10000 --seed 0"): docs/robustness.md
	@"$(BIN)/python" -m tests.fuzz $(ARGS)

check: check-code check-checkout  ## Check style, types, spelling, and that docs and dvc.lock belong to this code

check-code: setup
	@"$(BIN)/ruff" check
	@"$(BIN)/ruff" format --check
	@"$(BIN)/mypy"
	@"$(BIN)/codespell"

check-checkout: setup
	@"$(BIN)/pytest" -m checkout

lock: setup  ## Compile pyproject.toml into requirements.txt (newer versions: delete it first)
	@"$(BIN)/uv" pip compile --quiet pyproject.toml --extra ffcv --extra cluster --extra sweep --extra export \
		--extra loggers --extra dev --output-file requirements.txt --universal \
		--python-version 3.10 --annotation-style line --custom-compile-command "make lock"

clean:  ## Remove caches, never data
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .coverage .coverage.* dvc_plots build src/*.egg-info
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
