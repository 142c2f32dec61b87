#!/bin/sh
# `make deb`: builds the Debian packages of the device into build/deb. ARCH and PY choose among them (space-separated;
# default all). The tools live in an environment of their own, so that nothing of the host's .venv is needed.
set -eu
cd "$(dirname "$0")/.."

tools=build/deb-tools
if ! "$tools/bin/python" -c 'import packaging, pip' 2>/dev/null; then
    python=$(sh scripts/find-python.sh)
    "$python" -m venv --clear "$tools" || {
        echo "make deb: expected '$python -m venv' to work; on Debian install python3-venv" >&2
        exit 1
    }
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check packaging
fi

set --
for arch in ${ARCH:-}; do set -- "$@" --arch "$arch"; done
for python in ${PY:-}; do set -- "$@" --python "$python"; done
exec "$tools/bin/python" -m scripts.deb.build "$@"
