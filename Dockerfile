# ttt on NVIDIA's PyTorch image, which brings torch, NCCL and DALI built for each other.
#   docker build -t ttt .
#   docker run --rm --gpus all --ipc=host -v "$PWD/runs:/work/runs" ttt run launcher=torchrun
ARG BASE=nvcr.io/nvidia/pytorch:25.09-py3
FROM ${BASE}

WORKDIR /opt/ttt
COPY pyproject.toml constraints.txt README.md LICENSE Dockerfile ./
COPY ttt ttt
COPY conf conf
COPY slurm slurm
# The image's own torch and numpy stay; everything else is what ttt was tested with.
RUN grep -vE '^(torch|numpy)==' constraints.txt > /tmp/constraints.txt \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt '.[digits,text,energy,report,wandb]'

WORKDIR /work
ENTRYPOINT ["ttt"]
CMD ["run", "launcher=torchrun"]
