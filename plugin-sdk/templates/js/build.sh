#!/bin/sh
# Makes a component of margin_apart.js with its interpreter; `querist plugin build` calls this. The last line names what
# was made.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm install --no-audit --no-fund --silent >&2
node component.mjs >&2
echo margin_apart.wasm
