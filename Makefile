# What a developer does here; "make test" is what continuous integration runs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test test-gpu lint docs bench bench-long bench-gpu bench-forecasting bench-peers clean
demo: .venv/extra-plot
	$(BIN)/python examples/plot_01_forecast.py

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-gpu: .venv/extra-test
	$(BIN)/python -c "import torch; assert torch.cuda.is_available(), 'there is no CUDA device'"
	$(BIN)/python -m pytest -m gpu tests/test_gpu.py

lint: .venv/extra-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/extra-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# Ratios to alternatives that are measured in the same run; the tables go into docs/benchmarks/.
bench: .venv/extra-bench
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/run.py cpu

bench-long: .venv/extra-bench
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/run.py long

bench-gpu: .venv/extra-bench
	$(BIN)/python benchmarks/run.py gpu

# Hours; what is recorded in benchmarks/results is not run again. DATA names the data folder.
RIDGES := $(foreach kind,shared channel all,ridge-$(kind) ridge-$(kind)-last)
NETWORKS := NLinear DLinear TSMixer iTransformer NHITS TiDE PatchTST
bench-forecasting: export PYTHONPATH := .:benchmarks
bench-forecasting: .venv/extra-bench
	test -x .venv-forecasting/bin/python || $(PYTHON) -m venv .venv-forecasting
	.venv-forecasting/bin/python -m pip install --quiet -r benchmarks/forecasting/requirements.txt
	$(BIN)/python -m forecasting --data $(DATA) --systems naive $(RIDGES) DeepDIVE DeepDIVE-tuned
	.venv-forecasting/bin/python -m forecasting --systems LightGBM $(NETWORKS)
	$(BIN)/python -m forecasting --table

# Each in an environment of its own: their requirements exclude each other.
bench-peers: bench-neuralforecast bench-darts
bench-%:
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	grep -E '^(torch|skorch)==' constraints.txt > .venv-$*/constraints.txt
	.venv-$*/bin/python -m pip install --quiet -c .venv-$*/constraints.txt -e . $(if $(filter darts,$*),'u8darts[torch]',$*)
	OMP_NUM_THREADS=2 .venv-$*/bin/python benchmarks/run.py $*

# One .venv, which grows by the extra that a target wants and follows the pinned versions.
.venv/extra-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	touch $@

clean:
	rm -rf .venv .venv-* docs/_build docs/auto_examples .mypy_cache .pytest_cache .ruff_cache
