#!/usr/bin/env bash
# Trains nano from the exported weights on, in one go on one GPU, and exports what it made:
#
#   scripts/train_nano.sh STATE TO [PIECE]     PIECE: autoencoder (default), denoiser, distil or beside
#
# It starts at PIECE and runs all that come after it. STATE keeps checkpoints and log.jsonl; each piece's own lines are
# in STATE/PIECE.log. TO receives nano/ (weights), controlnet/, loras/, upscale/ and sheets/. The times are for an H200
# with 16 cores, half an hour in all; set DENOISER=… and so on (seconds) for others, RATE=… for a denoiser
# that only goes on (1.6e-3), PYTHON=… for an interpreter and MORE=… for what each piece is given besides; without a GPU,
# to see that all runs: MORE="--no-compile --batch 2", and a few seconds each.
set -u
state=${1:?where checkpoints go} to=${2:?where exports go} first=${3:-autoencoder}
cd "$(dirname "$0")/.."
mkdir -p "$state" "$to/sheets"
begun=$(date +%s)
say() { echo "[$(($(date +%s) - begun)) s] $*" | tee -a "$state/train.log"; }
piece() { # NAME SECONDS WORKERS [more]
  local name=$1 seconds=$2 workers=$3
  shift 3
  OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 "${PYTHON:-python3}" -m zimage_kit.nano.train "$name" --state "$state" \
    --seconds "$seconds" --workers "$workers" "$@" ${MORE:-} >"$state/$name.log" 2>&1
  local ended=$?
  say "$name ended with $ended: $(tail -n 1 "$state/$name.log")"
  return $ended
}
other() { # NAME FOLDER [more]
  local name=$1 folder=$2
  shift 2
  mkdir -p "$folder"
  OMP_NUM_THREADS=2 "${PYTHON:-python3}" -m zimage_kit.nano.train "$name" --state "$state" --to "$folder" "$@" \
    >"$state/$name.log" 2>&1
  local ended=$?
  say "$name ended with $ended: $(tail -n 1 "$state/$name.log")"
  return $ended
}

if ! [ -e "$state/denoiser.pt" ]; then
  other begin zimage_kit/nano/weights || exit
fi
case $first in autoencoder)
  piece judge "${JUDGE:-250}" 7 &
  piece autoencoder "${AUTOENCODER:-130}" 8 || exit
  wait
  ;;
esac
case $first in autoencoder | denoiser)
  piece denoiser "${DENOISER:-700}" 13 --rate "${RATE:-2.2e-3}" || exit
  other export "$to/base"
  ;;
esac
case $first in autoencoder | denoiser | distil)
  piece distil "${DISTIL:-200}" 14 || exit
  ;;
esac
# what is made for the finished weights, side by side
piece controlnet "${CONTROLNET:-200}" 6 &
piece joints "${JOINTS:-100}" 4 &
(piece lora "${LORA:-60}" 3 && other export-lora "$to/loras" && other check-lora "$to/sheets") &
(piece upscaler "${UPSCALER:-90}" 3 && other export-upscaler "$to/upscale") &
other export "$to/nano"
other check "$to/sheets" --pictures 256
wait
other export-pose "$to/controlnet"
other check-pose "$to/sheets" --pictures 96
say "done"
