#!/bin/sh
# Makes a component of margin_apart.py with its interpreter; `querist plugin build` calls this. Later versions of
# componentize-py may import WASI, which the sandbox refuses; COMPONENTIZE_PY names one that is there already.
# The last line names what was made.
set -eu
cd "$(dirname "$0")"
if [ -z "${COMPONENTIZE_PY:-}" ]; then
  [ -d environment ] || python3 -m venv environment
  environment/bin/pip install --quiet componentize-py==0.17.2
fi
componentize() { "${COMPONENTIZE_PY:-environment/bin/componentize-py}" -q -d wit -w plugin "$@"; }
rm -rf bindings
componentize bindings bindings
componentize componentize --stub-wasi -p . -p bindings margin_apart -o margin_apart.wasm
echo margin_apart.wasm
