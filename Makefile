# Everything a developer does, and all that CI does.  `make` alone lists it.

# The first Python that is new enough; `make PYTHON=/path/to/python setup` takes another.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
BIN := .venv/bin
# Processes that test at the same time: on two cores three, since those with an API server (three at most) wait a good part of their time.
JOBS ?= 3
# Which of the long tests `make soak` runs: 2/8 is every eighth of them from the second on.
PART ?= 1/1
# What `make image` calls it.
IMAGE ?= groundplane:dev
# Which of the Containerfile's it builds: operator or standin.
TARGET ?= operator
READY := .venv/.ready
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml

# Where it is set, each of the hundred processes that the tests start would compile all modules anew, and pytest rewrite all of its own.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup lock map check test soak scenarios e2e up demo cluster crds chart image pin-bases check-bases image-check kind-up kind-down bench fuzz clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## install everything into .venv: pinned, with hashes

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; name one: make PYTHON=/path/to/python setup" >&2; exit 1; }
	@echo "installing into .venv what requirements-dev.lock pins: a minute or two, once for each change of it"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: $(READY)  ## pin the dependencies anew: requirements*.lock from pyproject.toml (UPGRADE=1: to the newest)
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra cel --extra functions --extra templates --extra traces -o requirements.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) --constraint requirements.lock --extra cel --extra demo --extra functions --extra templates --extra traces -o requirements-demo.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) --constraint requirements.lock --extra cel --extra demo --extra functions --extra templates --extra traces --group dev -o requirements-dev.lock

map: $(READY)  ## every module of the operator, and what it is for (ARGS=webhook: those that speak of it)
	@$(BIN)/python -m tests.module_map $(ARGS)

check: $(READY)  ## lint, formatting, types, imports, and that crds/ and the chart are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@fresh=$$(mktemp -d) && trap 'rm -r "$$fresh"' EXIT && $(BIN)/groundplane crds --output "$$fresh" >/dev/null \
		&& diff -r crds "$$fresh" || { echo "crds/ is stale: run make crds" >&2; exit 1; }
	$(BIN)/python -m tests.chart.generate --check

test: $(READY)  ## every test; brings its own API server and AWS (ARGS="-k words")
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(READY)  ## the tests that take long and break rarely (PART=2/8: every eighth from the second on)
	$(BIN)/python -m pytest -n $(JOBS) --dist load --soak $(PART) $(ARGS)

scenarios: $(READY)  ## what people do with v2 manifests, by the specification; and what was recorded from Crossplane, if it lies beside (ARGS=--fast: a third)
	$(BIN)/python -m tests.scenarios $(ARGS)

e2e: $(READY)  ## only the whole product on a real API server
	$(BIN)/python -m pytest tests/e2e $(ARGS)

up: $(READY)  ## a control plane on this machine: make up ARGS="my-manifests/"
	$(BIN)/groundplane up $(ARGS)

demo: $(READY)  ## from nothing to a database with its Secret, and back, in half a minute
	$(BIN)/groundplane demo $(ARGS)

cluster: $(READY)  ## a real API server with the operator and AWS's stand-in, for kubectl; Ctrl-C ends it
	$(BIN)/python -m tests.cluster.person $(ARGS)

crds: $(READY)  ## write crds/ from core/ and aws/kinds/
	$(BIN)/groundplane crds --output crds

chart: $(READY)  ## write what of charts/groundplane and docs/ is made from the code: rights, settings, tables, the AWS kinds
	$(BIN)/python -m tests.chart.generate

image:  ## build the image with docker, podman or buildah, whichever works here (IMAGE=registry/groundplane:tag)
	@for each in docker podman buildah; do \
		$$each info >/dev/null 2>&1 || continue; \
		BUILDX_NO_DEFAULT_ATTESTATIONS=1 exec $$each build -f Containerfile --target "$(TARGET)" -t "$(IMAGE)" \
			--build-arg SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" --build-arg REVISION="$$(git rev-parse HEAD)" \
			$$(sh image/bases.sh print) \
			--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/groundplane/__init__.py)" .; \
	done; echo "make image needs docker (with its daemon running), podman or buildah; make image-check tries what is in it without any" >&2; exit 1

pin-bases:  ## write the digests of the image's bases to image/bases.lock, which make image heeds; needs skopeo or docker
	@sh image/bases.sh pin

check-bases:  ## are the bases pinned, and to what their tags stand for today?
	@sh image/bases.sh check

image-check: $(READY)  ## what the image consists of, without a container runtime: size, the same bytes twice, and a database
	$(BIN)/python -m pytest tests/e2e/test_image.py --soak 1/1 $(ARGS)

kind-up:  ## a cluster in Docker with the image, the chart and AWS's stand-in; again: with what you have changed
	@sh image/kind.sh up

kind-down:  ## delete that cluster
	@sh image/kind.sh down

fuzz: $(READY)  ## hostile input for the pure core, for minutes (ARGS="--seconds 120"); without ARGS, then random properties
	$(BIN)/python -m tests.fuzz $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=random)

bench: $(READY)  ## measure what design.md promises
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove what was built, measured or tried out here
	rm -rf build dist operator/*.egg-info .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find operator tests -name __pycache__ -prune -exec rm -r {} +
