#!/usr/bin/env bash
# Makes the numbers of docs/guidance.md: gradient methods and surrogates on MNIST, cost of guidance.
#
#     scripts/guidance.sh MNIST DIR [PART]...
#
# MNIST is the folder with the four IDX files; DIR receives tables and pictures. Parts: cost probes equal_time large_rate blends
# perceptron surrogates alignment; all of them take about two hours on two idle cores.
set -euo pipefail
data=${1:?usage: scripts/guidance.sh MNIST DIR [PART]...}
out=${2:?usage: scripts/guidance.sh MNIST DIR [PART]...}
shift 2
parts=${*:-cost probes equal_time large_rate blends perceptron surrogates alignment}
cd "$(dirname "$0")/.."
cargo build --release --workspace
hardgrad=target/release/hardgrad

# run FOLDER NAME [SETTING]...
run() {
    local folder=$1 name=$2
    shift 2
    local settings=()
    for setting in "$@"; do settings+=(--set "$setting"); done
    echo "== $folder"
    "$hardgrad" experiment "$name" --data "$data" --out "$out/$folder" "${settings[@]}" | tee "$out/$folder.txt"
}

mkdir -p "$out"
for part in $parts; do
    case $part in
    cost)
        for network in mlp lenet resnet20 vit; do "$hardgrad" bench --only "$network"_w4a4; done | tee "$out/cost.txt"
        for network in mlp lenet resnet20 vit; do
            for workload in train/${network}_w4a4 guided/${network}_w4a4_fogzo; do
                "$hardgrad" bench --only "$workload" --steps 20 &
                child=$! last=0
                while [ -r /proc/$child/status ] && kill -0 $child 2>/dev/null; do
                    peak=$(awk '/VmHWM/ {print $2}' /proc/$child/status 2>/dev/null || true)
                    last=${peak:-$last}
                    sleep 0.01
                done
                wait $child
                echo "$workload: peak of $last kB in 20 steps"
            done
        done | tee "$out/memory.txt"
        ;;
    probes)
        for network in perceptron two_bit_mlp; do
            run "probes_$network" probes network=$network
            run "probes_${network}_batch_2048" probes network=$network batch_size=2048
        done
        ;;
    equal_time)
        for network in two_bit_mlp binary_mlp two_bit_lenet two_bit_transformer; do
            case $network in
            *_mlp) pace=('learning_rates=[0.003,0.01,0.03]' steps=6000) ;;
            *) pace=('learning_rates=[0.001,0.003,0.01]' steps=3000) ;;
            esac
            run "equal_time_$network" guidance network=$network optimizer=adam equal_time=true "${pace[@]}" \
                'methods=["straight_through","fogzo"]' 'noise=[0.01,1]' 'begin=[0.7,0.95]'
            run "equal_time_${network}_bias_correction" guidance network=$network optimizer=adam equal_time=true "${pace[@]}" \
                'methods=["straight_through","bias_correction"]' 'weight=[0.001,0.01]' 'begin=[0.7,0.95]'
        done
        ;;
    large_rate)
        run large_rate_perceptron guidance optimizer=sgd schedule=constant steps=9380 'learning_rates=[0.3]' \
            'methods=["straight_through","fogzo"]' 'noise=[1]' 'begin=[0]'
        run large_rate_binary_mlp guidance network=binary_mlp optimizer=adam schedule=constant steps=1500 \
            'learning_rates=[0.3]' 'methods=["straight_through","fogzo"]' 'noise=[1]' 'begin=[0]' equal_time=true
        ;;
    blends)
        run blends guidance network=two_bit_mlp optimizer=adam steps=2000 'learning_rates=[0.001,0.003,0.01]' 'noise=[1]' \
            'methods=["straight_through","fogzo","weighted_average","bias_correction","adaptive"]' \
            'begin=[0,0.7]' 'weight=[0.00001,0.001]' seeds=3
        ;;
    perceptron)
        grid=('learning_rates=[0.01,0.03,0.1,0.3]' 'noise=[0.01,0.1,1,10]' 'begin=[0,0.7]')
        run perceptron_sgd guidance optimizer=sgd "${grid[@]}"
        run perceptron_adam guidance optimizer=adam "${grid[@]}" 'learning_rates=[0.001,0.003,0.01,0.03]'
        run perceptron_long guidance optimizer=sgd steps=18760 'methods=["straight_through","fogzo"]' \
            'learning_rates=[0.003,0.01,0.03,0.1]' 'noise=[0.1,1]' 'begin=[0,0.7]'
        run perceptron_n_spsa guidance optimizer=sgd steps=150 'methods=["straight_through","spsa@7960","fogzo","fogzo@10"]' \
            'learning_rates=[0.03,0.1]' 'noise=[1]' 'begin=[0]' seeds=2
        run perceptron_batch_2048 guidance optimizer=sgd batch_size=2048 steps=600 "${grid[@]}" 'noise=[0.1,1,10]' \
            'methods=["straight_through","fogzo"]'
        run perceptron_full_batch guidance optimizer=sgd batch_size=0 steps=150 'methods=["straight_through","fogzo"]' \
            'learning_rates=[0.1,0.3,1]' 'noise=[1]' 'begin=[0,0.7]' seeds=3
        ;;
    surrogates) run surrogates surrogates epochs=20 instability_epochs=5 'instability_rates=[0.00001,0.001]' ;;
    alignment) run alignment alignment ;;
    *)
        echo "unknown part $part" >&2
        exit 2
        ;;
    esac
done
