#!/usr/bin/env bash
# The numbers of docs/guidance.md: gradient methods and surrogates on MNIST. Takes about two hours on two cores.
# usage: scripts/guidance.sh FOLDER_WITH_MNIST OUT [PART]...      parts: equal_time perceptron surrogates alignment cost
set -euo pipefail
data=$1 out=$2
shift 2
parts=${*:-cost equal_time perceptron surrogates alignment}
cd "$(dirname "$0")/.."
hardgrad=${HARDGRAD:-target/release/hardgrad}

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
                child=$! peak=0
                while [ -r /proc/$child/status ] && kill -0 $child 2>/dev/null; do
                    peak=$(awk '/VmHWM/ {print $2}' /proc/$child/status 2>/dev/null || true)
                    [ -n "$peak" ] && last=$peak
                    sleep 0.01
                done
                wait $child
                echo "$workload: peak of ${last:-0} kB in 20 steps"
            done
        done | tee "$out/memory.txt"
        ;;
    equal_time)
        for network in two_bit_mlp binary_mlp two_bit_lenet two_bit_transformer; do
            case $network in
            *_mlp) pace=('learning_rates=[0.003,0.01,0.03]' steps=6000) ;;
            *) pace=('learning_rates=[0.001,0.003,0.01]' steps=3000) ;;
            esac
            run "equal_time_$network" guidance network=$network optimizer=adam equal_time=true "${pace[@]}" \
                'methods=["straight_through","fogzo"]' 'noise=[0.01,1]' 'begin=[0.7,0.95]'
        done
        ;;
    perceptron)
        grid=('learning_rates=[0.01,0.03,0.1,0.3]' 'noise=[0.01,0.1,1,10]' 'begin=[0,0.7]')
        run perceptron_sgd guidance optimizer=sgd "${grid[@]}"
        run perceptron_adam guidance optimizer=adam "${grid[@]}" 'learning_rates=[0.001,0.003,0.01,0.03]'
        run perceptron_large_rate guidance optimizer=sgd schedule=constant steps=9380 'learning_rates=[0.3]' \
            'methods=["straight_through","fogzo"]' 'noise=[1]' 'begin=[0]'
        run perceptron_long guidance optimizer=sgd steps=18760 'methods=["straight_through","fogzo"]' \
            'learning_rates=[0.003,0.01,0.03,0.1]' 'noise=[0.1,1]' 'begin=[0,0.7]'
        run perceptron_n_spsa guidance optimizer=sgd steps=300 'methods=["straight_through","spsa@7960","fogzo","fogzo@10"]' \
            'learning_rates=[0.03,0.1,0.3]' 'noise=[1]' 'begin=[0]' seeds=2
        run perceptron_batch_2048 guidance optimizer=sgd batch_size=2048 steps=600 "${grid[@]}" 'noise=[0.1,1,10]' \
            'methods=["straight_through","fogzo"]'
        run perceptron_full_batch guidance optimizer=sgd batch_size=0 steps=150 'methods=["straight_through","fogzo"]' \
            'learning_rates=[0.1,0.3,1]' 'noise=[1,10]' 'begin=[0,0.7]'
        ;;
    surrogates) run surrogates surrogates epochs=20 instability_epochs=5 ;;
    alignment) run alignment alignment ;;
    *)
        echo "unknown part $part" >&2
        exit 2
        ;;
    esac
done
