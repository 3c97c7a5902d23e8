# make demo: the main job on real text; make test: the test suite. Both build .venv first.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test test-slow lint clean

demo: .venv/.demo
	$(BIN)/python run.py -m +experiment=demo

test: .venv/.test
	$(BIN)/python -m pytest -n 3 --dist worksteal -rs --durations=40

test-slow: .venv/.test
	$(BIN)/python -m pytest -m slow

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "compress needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv

# Stamps: installed again whenever the requirements change.
.venv/.demo: .venv/bin/python $(SOURCES)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[offline,onnxruntime,openvino]'
	touch $@

.venv/.test: .venv/bin/python $(SOURCES)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[offline,test]'
	touch $@
