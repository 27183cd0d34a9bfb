#!/bin/bash
# Predict a part of the bundle with a run, and audit the predictions by group.
#   RUN=runs/chexnet BUNDLE=bundles/chexnet STORE=stores/chexnet BY=sex sbatch predict_audit.sh
# What stands after predict_audit.sh goes to `cxrdata audit`, such as --threshold fpr=0.2.
# A node without the catalog predicts; the audit needs it ($CXRDATA_CATALOG), or --truth-from FILE.
#SBATCH --job-name=cxrdata-audit
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=02:00:00
#SBATCH --requeue
set -euo pipefail

: "${RUN:?name a run}" "${BUNDLE:?name its bundle}" "${STORE:?name an image store}"
PART="${PART:-test}"

srun cxrdata predict "$RUN" --bundle "$BUNDLE:$PART" --store "$STORE" --out "$RUN/predictions.$PART.parquet" --quiet
srun cxrdata audit "$RUN/predictions.$PART.parquet" --by "${BY:-sex}" --out "$RUN/audit.$PART.csv" --quiet "$@"
