#!/usr/bin/env bash
# Makes the accuracy numbers of docs/results.md: the default network on full Fashion-MNIST at three bit widths.
#
#     scripts/results.sh DIR [SEED]
#
# DIR receives the run folders; the images come from the Debian package dataset-fashion-mnist, or from DATA=FOLDER.
set -euo pipefail
out=${1:?usage: scripts/results.sh DIR [SEED]}
seed=${2:-0}
data=${DATA:-/usr/share/datasets/fashion-mnist}
cd "$(dirname "$0")/.."
cargo build --release --workspace
# One float network for all.
float="$out/float-seed$seed"
target/release/hardgrad train qat --data "$data" --seed "$seed" --out "$float" --set training.quantized_epochs=0
for bits in 8 4 2; do
    target/release/hardgrad train qat --data "$data" --seed "$seed" --out "$out/w${bits}a${bits}-seed$seed" --init "$float" \
        --set "quantization.weight_bits=$bits" --set "quantization.activation_bits=$bits"
done
