#!/bin/sh
# Makes a library of largest_norm.c; `querist plugin build` calls this. The last line names what was made.
set -eu
cd "$(dirname "$0")"
${CC:-cc} -shared -fPIC -O2 -I include largest_norm.c -o largest_norm.so -lm
echo largest_norm.so
