#!/usr/bin/env bash
# Makes the checkpoint that the package ships: tools/train_default.sh [OUT]
#
# Needs ../shared/data/hc18 and ../shared/weights; takes about an hour on one core. One thread,
# so that the result does not depend on how many cores the machine has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${1:-lfusion/weights/fetal_head.safetensors}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

.venv/bin/lfusion phantom --out "$work/phantoms" --n 150 --seed 2024
.venv/bin/lfusion train ../shared/data/hc18 "$work/phantoms" --label "fetal head" \
    --out "$work/trained.safetensors" \
    --encoder timm:mobilenetv2_100 --encoder-option pad_type=same \
    --encoder-mean 0.5 --encoder-std 0.5 \
    --encoder-weights ../shared/weights/mobilenetv2_100.imagenet.safetensors \
    --steps 2000 --batch-size 8 --learning-rate 1e-3 --validate-every 200 --patience 100 --seed 0

# What is usual is learned from real scans alone: to the shipped model phantoms are unusual.
.venv/bin/lfusion calibrate "$work/trained.safetensors" ../shared/data/hc18 --label "fetal head" \
    --encoder-weights ../shared/weights/mobilenetv2_100.imagenet.safetensors --out "$out"
