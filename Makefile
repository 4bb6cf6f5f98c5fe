override PYTHON := $(shell command -v $(or $(PYTHON),python3))

# Recipes use .venv and nothing else, whatever environment make was called from: commands in dvc.yaml
# say plain `python`. PYTHON, found before this, is the one that .venv is made from.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help setup run compare doctor preview tune report bench docs test test-fast check lock clean

help:  ## List the targets; tools take options, as in make tune ARGS="--budget 20GB"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

setup:  ## Install the system libraries and .venv, where anything is missing
	@"$(PYTHON)" src/install.py

run: setup  ## Make what is out of date (data, betons, model, metrics) and say what came of it
	@.venv/bin/dvc repro
	@.venv/bin/python src/summary.py

compare: setup  ## Compare FFCV with PyTorch: train what is missing, show both (ARGS="--repeat 3": the spread, too)
	@.venv/bin/dvc repro convert
	@.venv/bin/python src/compare.py $(ARGS)

doctor:  ## Say what would stop a run or slow it down, and the command that mends it
	@python3 src/doctor.py $(ARGS)

preview: setup  ## Draw what the model is given, by each loader and by class: results/preview.png, results/preview/
	@.venv/bin/python src/preview.py results/preview.png $(ARGS)

tune: setup  ## Measure ways to store the dataset, and pick one: results/tune/
	@.venv/bin/python src/tune.py results/tune $(ARGS)

report: setup  ## Build one HTML page of data, training, mistakes, experiments and params: results/report.html
	@.venv/bin/python src/report.py results/report.html $(ARGS)

bench: setup  ## Measure the loaders beside others, in 40 minutes: docs/benchmarks.md
	@.venv/bin/python benchmarks/run.py loader $(ARGS)

docs: setup  ## Write docs/parameters.md from the descriptions in src/formwork/params
	@.venv/bin/python src/docs.py

test: setup  ## Run the tests of the code, all of them (ARGS="-k loader tests/beton": some)
	@.venv/bin/pytest --numprocesses logical --dist worksteal -m "not checkout" $(ARGS)

test-fast: setup  ## Run the tests that need neither a pipeline nor seconds
	@.venv/bin/pytest --numprocesses logical --dist worksteal -m "not checkout and not pipeline and not slow" $(ARGS)

check: setup  ## Check style, types, spelling, and that docs and dvc.lock belong to this code
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/codespell
	@.venv/bin/pytest -m checkout

lock: setup  ## Compile requirements.in into requirements.txt (newer versions: delete it first)
	@.venv/bin/uv pip compile --quiet requirements.in --output-file requirements.txt

clean:  ## Remove caches, never data
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .coverage .coverage.* dvc_plots build *.egg-info
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
