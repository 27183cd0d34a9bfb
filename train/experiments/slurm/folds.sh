#!/bin/bash
# An array over the folds of a split, a GPU each: fold k is validated in task k, the others are trained on.
#   EXPERIMENT=chexnet BUNDLE=bundles/chexnet STORE=stores/chexnet sbatch --array=1-5 folds.sh
# The split has the folds: cxrdata split … --folds 5 --name NAME, and for the bundle
#   cxrdata train chexnet --split NAME --prepare bundles/chexnet
#SBATCH --job-name=cxrdata-folds
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --array=1-5
#SBATCH --requeue
#SBATCH --signal=INT@120
set -euo pipefail

: "${EXPERIMENT:?name an experiment}" "${BUNDLE:?name a bundle}" "${STORE:?name an image store}"
: "${SLURM_ARRAY_TASK_ID:?submit it as an array: sbatch --array=1-5 folds.sh}"
FOLDS="${SLURM_ARRAY_TASK_MAX:-$SLURM_ARRAY_TASK_COUNT}"
OUT="${OUT:-runs/$EXPERIMENT}-fold$SLURM_ARRAY_TASK_ID"

srun cxrdata train "$EXPERIMENT" --fold "$SLURM_ARRAY_TASK_ID/$FOLDS" \
  --bundle "$BUNDLE" --store "$STORE" --out "$OUT" --quiet "$@"
