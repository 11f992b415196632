# Nothing but Python 3.11 or newer and make is needed; everything is installed into $(VENV). `make help` lists the targets.
PYTHON = python3
VENV = .venv
JOBS = 2
OUT = out
FUZZ = 10000
PHOTO =
BEFORE =
ARGS =

BIN = $(VENV)/bin
SOURCES = src tests examples docs benchmarks tools

.PHONY: help demo test browser fuzz lint format docs same bench constraints
.DELETE_ON_ERROR:

help:
	@echo 'make demo     install into $(VENV), segment a sample photo, write the results into $(OUT)/'
	@echo '              (make demo PHOTO=mine.jpg OUT=folder for another photo and folder)'
	@echo 'make test     install into $(VENV) with the tools for development (as root also chromium), run all tests'
	@echo '              (make test ARGS="tests/formats -k coco" for some of them; JOBS=4 for more at a time)'
	@echo 'make fuzz     read $(FUZZ) damaged files (make fuzz FUZZ=100000 for more)'
	@echo 'make lint     check style, formatting and types'
	@echo 'make format   put style and formatting right where that can be done by itself'
	@echo 'make docs     build the documentation into docs/_build/html'
	@echo 'make bench    run the short benchmarks and say what is slower than recorded (make bench ARGS=mean_shift)'
	@echo 'make same BEFORE=folder    compare what this checkout does with what another one does, byte for byte'
	@echo 'Another Python: make test PYTHON=python3.12 VENV=.venv-3.12'

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py $(if $(PHOTO),"$(PHOTO)") --output "$(OUT)"

# tests run side by side, so each computes on one core
test: $(VENV)/.installed-dev browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# some tests drive a real browser: Debian's, which root can install; without it they are skipped and say so
browser:
	@command -v chromium > /dev/null || test -n "$$UPSEG_BROWSER" \
	  || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && echo 'installing chromium for the tests' \
	       && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null; } \
	  || echo 'there is no chromium, and only root can install it: tests of the page will be skipped'

fuzz: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run $(FUZZ) $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# whether this checkout behaves as another one does, byte for byte
same: $(VENV)/.installed-dev
	$(BIN)/python tools/same_behaviour.py "$(BEFORE)" . --cache "$(OUT)/behaviour"

# what became slower than benchmarks/results says, by more than 20 %
bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench.py $(ARGS)

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo 'The documentation is in docs/_build/html/index.html'

# the newest of everything; packages for GPUs are left out, because not every platform has them
constraints:
	rm -rf build/newest
	: > constraints.txt
	$(MAKE) VENV=build/newest build/newest/.installed-dev
	build/newest/bin/uv pip freeze --python build/newest/bin/python \
	  | grep -E '^[A-Za-z0-9._-]+==' | grep -vE '^(pip|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==' > constraints.txt

# uv does not read pip's configuration; what that says about where packages are is handed on, with pip's rule for
# several indexes. What is set for uv itself wins.
pip_says = $(BIN)/python -m pip config list | sed -n "s/^[^=]*\.$(1)='\(.*\)'\$$/\1/p" | sed 's/\\n/ /g; s/^ *//; 1q'
install = \
	export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX-$$($(call pip_says,index-url))}"; \
	export UV_INDEX="$${UV_INDEX-$$($(call pip_says,extra-index-url))}"; \
	export UV_INDEX_STRATEGY="$${UV_INDEX_STRATEGY-unsafe-best-match}"; \
	export UV_FIND_LINKS="$${UV_FIND_LINKS-$$($(call pip_says,find-links) | tr -s ' ' ',')}"; \
	export UV_INSECURE_HOST="$${UV_INSECURE_HOST-$$($(call pip_says,trusted-host))}"; \
	certificates="$${SSL_CERT_FILE-$$($(call pip_says,cert))}"; \
	if [ -n "$$certificates" ]; then export SSL_CERT_FILE="$$certificates"; fi; \
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { $(PYTHON) --version; echo 'upseg needs Python 3.11 or newer; name another: make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

# a stamp is newer than what it was made from, so that a second make installs nothing
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/uv
	$(install) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/uv
	$(install) --editable '.[dev]'
	@touch $(VENV)/.installed $@
