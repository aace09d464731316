# Two commands are all the set-up there is: `make demo` and `make test`. Both use the one .venv, built on first need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow lint clean
demo: .venv/ready
	$(BIN)/alexnet demo

test: .venv/ready
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

slow: .venv/ready
	$(BIN)/python -m pytest -m slow

lint: .venv/ready
	$(BIN)/python -m pip install -q ruff && $(BIN)/ruff check alexnet tests benches experiments

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@

clean:
	rm -rf .venv demo-run
