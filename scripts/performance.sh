#!/usr/bin/env bash
# Makes hardgrad's side of docs/performance.md: times, profiles, growth with size, share of a plain matrix product.
#
#     scripts/performance.sh DIR
#
# DIR receives tables and the picture scaling.svg. Run it on an idle machine: about four minutes on two cores.
set -euo pipefail
out=${1:?usage: scripts/performance.sh DIR}
mkdir -p "$out"
cd "$(dirname "$0")/.."
cargo build --release --workspace
hardgrad=target/release/hardgrad
$hardgrad bench --json "$out/times.json"
$hardgrad bench --only train/ --profile | tee "$out/profile.txt"
$hardgrad bench --scaling "$out"
cargo bench --workspace --bench limit | tee "$out/limit.txt"
