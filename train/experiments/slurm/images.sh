#!/bin/bash
# An array that decodes the images of a split into an image store; whichever task finishes last writes the index.
#   SPLIT=chexnet STORE=stores/chexnet sbatch --array=1-32 images.sh --size 224 --fit crop
# What stands after images.sh goes to `cxrdata images build`: size and fit are those of the experiment
# (cxrdata train EXPERIMENT --show), --root nih=FOLDER says where the images are.
#SBATCH --job-name=cxrdata-images
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --array=1-32
#SBATCH --requeue
set -euo pipefail

: "${SPLIT:?name a split}" "${STORE:?name the folder of the image store}"
: "${SLURM_ARRAY_TASK_ID:?submit it as an array: sbatch --array=1-32 images.sh}"
SHARDS="${SLURM_ARRAY_TASK_MAX:-$SLURM_ARRAY_TASK_COUNT}"

srun cxrdata images build --split "$SPLIT" --out "$STORE" --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" \
  --workers "${SLURM_CPUS_PER_TASK:-8}" --quiet "$@"
