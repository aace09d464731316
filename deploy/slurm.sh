#!/bin/bash
# Several machines under Slurm: sbatch deploy/slurm.sh STORE RUN. Slurm sends SIGUSR1 two minutes before the time is up, the run is
# saved and put back into the queue, where --resume goes on; the number of machines may be another by then.
#SBATCH --job-name=alexnet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
set -euo pipefail
store=$1 run=$2
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --kill-on-bad-exit=1 torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29500" \
    -m alexnet train "$store" --out "$run" --resume &
trap 'scancel --signal=TERM "$SLURM_JOB_ID.0"; wait; scontrol requeue "$SLURM_JOB_ID"' USR1
wait
