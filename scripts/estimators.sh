#!/usr/bin/env bash
# Makes the estimator tables of docs/results.md: the polynomial benchmark, the toys, and diagnoses.
#
#     scripts/estimators.sh DIR
#
# DIR receives a folder for each experiment with its tables (CSV, JSON) and pictures (SVG); two of the pictures are in docs/plots.
set -euo pipefail
out=${1:?usage: scripts/estimators.sh DIR}
cd "$(dirname "$0")/.."
cargo build --release --workspace
hardgrad=target/release/hardgrad
for p in 1.5 2 3; do
    # The published budget: 40 epochs of 200 steps with 64 rows.
    $hardgrad compare --objective polynomial:p=$p --steps 8000 --seeds 5 --out "$out/polynomial-$p"
done
for t in 0.45 0.499; do
    $hardgrad compare --objective rebar_toy:t=$t --steps 8000 --learning-rate 0.01 --seeds 5 --out "$out/rebar-toy-$t"
done
$hardgrad compare --objective quadratic --steps 4000 --seeds 5 --learning-rate 0.01 --out "$out/quadratic"
$hardgrad compare --objective digits --variables 32 --steps 4000 --seeds 5 --out "$out/digits"
$hardgrad diagnose --objective quadratic --temperatures 0.25,0.5,1,2,4 --out "$out/diagnose-quadratic"
$hardgrad diagnose --objective digits --temperatures 0.25,0.5,1,2,4 --out "$out/diagnose-digits"
$hardgrad diagnose --objective polynomial:p=3 --temperatures 0.25,0.5,1,2,4 --samples 5000 --out "$out/diagnose-polynomial-3"
$hardgrad diagnose --objective digits --variables 40 --methods straight_through,gumbel_softmax_hard,gumbel_rao,reinmax,disarm,relax \
    --samples 5000 --out "$out/diagnose-digits-40"
$hardgrad diagnose --objective quadratic --samples 2000 \
    --methods sign_identity,sign_clipped,sign_relu,sign_approx_sign,sign_tanh,sign_swish_sign,sign_ede,sign_arctan,fake_quant_clipped,fake_quant_identity \
    --out "$out/diagnose-operators"
