#!/bin/sh
# Makes a package of largest_norm.c, and checks it in a process that can reach nothing.
set -eu
cd "$(dirname "$0")"
${CC:-cc} -shared -fPIC -O2 -I include largest_norm.c -o largest_norm.so -lm
querist plugin pack --allow-native largest_norm.so
querist plugin check --isolate plugins/largest-norm
