#!/bin/bash
# From images to an audit: decode in an array, train on four GPUs, predict and audit, each when the one before has succeeded.
# Run on the login node, in this folder; it makes the bundle and submits the rest:
#   EXPERIMENT=chexnet SPLIT=chexnet FIT=crop bash chain.sh
# The catalog is $CXRDATA_CATALOG or ./cxr-catalog and has the split (cxrdata train EXPERIMENT --show says how it is made);
# where the images are, $CXRDATA_ROOT says. SIZE and FIT are those of the experiment.
set -euo pipefail

: "${EXPERIMENT:?name an experiment}" "${SPLIT:?name a split}"
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export EXPERIMENT SPLIT
export BUNDLE="${BUNDLE:-bundles/$EXPERIMENT}" STORE="${STORE:-stores/$EXPERIMENT}" OUT="${OUT:-runs/$EXPERIMENT}"
export RUN="$OUT"
TASKS="${TASKS:-32}"

cxrdata train "$EXPERIMENT" --split "$SPLIT" --prepare "$BUNDLE" --quiet
images=$(sbatch --parsable --array="1-$TASKS" "$HERE/images.sh" --size "${SIZE:-224}" --fit "${FIT:-squash}")
training=$(sbatch --parsable --dependency="afterok:$images" "$HERE/one_node.sh" --split "$SPLIT")
audit=$(sbatch --parsable --dependency="afterok:$training" "$HERE/predict_audit.sh")
echo "images $images, training $training, audit $audit"
