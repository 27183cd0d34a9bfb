#!/bin/bash
# One node, four GPUs: one process each, the batch of the experiment shared among them.
#   EXPERIMENT=chexnet BUNDLE=bundles/chexnet STORE=stores/chexnet sbatch one_node.sh
# The bundle is made where the catalog is: cxrdata train chexnet --prepare bundles/chexnet
# What stands after one_node.sh goes to `cxrdata train`, such as --set optim.lr=1e-4. Add your own --account and --partition.
#SBATCH --job-name=cxrdata-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue
# Like Ctrl-C, two minutes before the time is over: the checkpoint is kept, and the same job again goes on from it.
#SBATCH --signal=INT@120
set -euo pipefail

: "${EXPERIMENT:?name an experiment}" "${BUNDLE:?name a bundle}" "${STORE:?name an image store}"
OUT="${OUT:-runs/$EXPERIMENT}"

srun torchrun --standalone --nproc-per-node "${SLURM_GPUS_ON_NODE:-4}" -m cxrdata train "$EXPERIMENT" \
  --bundle "$BUNDLE" --store "$STORE" --out "$OUT" --quiet "$@"
