#!/usr/bin/env bash
# Makes the accuracy numbers of docs/results.md on full Fashion-MNIST: for each network one float stage, then the bit widths.
#
#     scripts/results.sh DIR [SEED] [PRESET...]
#
# DIR receives the run folders; the images come from the Debian package dataset-fashion-mnist, or from DATA=FOLDER.
set -euo pipefail
out=${1:?usage: scripts/results.sh DIR [SEED] [PRESET...]}
seed=${2:-0}
presets=("${@:3}")
data=${DATA:-/usr/share/datasets/fashion-mnist}
cd "$(dirname "$0")/.."
cargo build --release --workspace
train() { target/release/hardgrad train qat --data "$data" --seed "$seed" "$@"; }
for preset in "${presets[@]:-conv_net}"; do
    float="$out/float-$preset-seed$seed"
    train --out "$float" --set "model.preset=$preset" --set training.quantized_epochs=0
    for bits in 8 4 2; do
        run="$out/w${bits}a${bits}-$preset-seed$seed"
        train --out "$run" --init "$float" --set "model.preset=$preset" \
            --set "quantization.weight_bits=$bits" --set "quantization.activation_bits=$bits"
        # The same file on fewer threads and with fewer vector instructions.
        for level in avx2 portable; do
            for threads in 1 2; do
                RAYON_NUM_THREADS=$threads HARDGRAD_SIMD=$level target/release/hardgrad export "$run" --out "$run.$level.$threads"
                cmp "$run/model.packed.safetensors" "$run.$level.$threads"
            done
        done
    done
done
