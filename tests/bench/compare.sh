#!/usr/bin/env bash
# Measures cscf beside Kamailio's IMS modules: builds, installs what is missing (Debian), runs, prints tables.
# tests/bench/compare.sh --help tells what can be chosen; docs/performance.md has the last results.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v kamailio >/dev/null; then
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "Kamailio with its IMS modules is needed (Debian: kamailio kamailio-ims-modules kamailio-presence-modules)" >&2
    exit 2
  fi
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends kamailio kamailio-ims-modules kamailio-presence-modules >/dev/null
fi
tests/bench/profiled.sh
cargo build --release --locked --package cscf-tests --example compare
# Short runs go before other work of this session; without the right to, they go with it.
{ echo -15 >/proc/self/autogroup; } 2>/dev/null || true
exec nice -n -15 target/release/examples/compare "$@"
