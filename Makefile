# Two commands: `make demo` shows what Fireworks does, `make test` runs every check.

VENV   := .venv
PYTHON := $(VENV)/bin/python
PIP    := $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test servers check format bench clean

demo: $(VENV)/installed-examples
	$(PYTHON) examples/digits.py

test: $(VENV)/installed-test servers check

# Everything that CI runs, in the order in which mistakes are cheapest to find.
check:
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/pyright
	$(VENV)/bin/pyright --project tests
	$(VENV)/bin/pytest --numprocesses=2 --dist=loadscope --cov --cov-report=term:skip-covered

# PostgreSQL, MariaDB and Chromium, which tests start.
servers:
	@.ci/install-servers

format: $(VENV)/installed-test
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(VENV)/installed-bench
	for script in benchmarks/*.py; do $(PYTHON) $$script --short || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage

$(VENV)/installed-%: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing Fireworks with its extra [$*] into $(VENV); the first time takes minutes"
	@$(PIP) --editable '.[$*]'
	@touch $@

# Visdom builds only with an old setuptools, which constraints.txt pins, and only beside it.
$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing Fireworks with its extra [test] into $(VENV); the first time takes minutes"
	@$(PIP) --editable '.[test]' setuptools
	@$(PIP) --no-build-isolation visdom tornado
	@touch $@

# Debian and Ubuntu ship Python without the part of venv that installs pip.
$(VENV)/bin/pip:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Fireworks needs Python 3.11 or newer; this is $$(python3 --version)." >&2; exit 1; }
	@python3 -m venv $(VENV) 2>/dev/null || { \
		rm -rf $(VENV); \
		echo "Installing python3-venv, which Python needs to make a virtual environment"; \
		as_root=$$([ $$(id -u) = 0 ] || echo sudo); \
		$$as_root apt-get update -qq && $$as_root apt-get install -qq -y python3-venv && \
		python3 -m venv $(VENV); }
