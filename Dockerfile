# ttt on NVIDIA's PyTorch image, which brings torch, NCCL and DALI built for each other.
#   docker build -t ttt .
#   mkdir -p runs && docker run --rm --gpus all --ipc=host --user "$(id -u):$(id -g)" \
#       -v "$PWD/runs:/work/runs" ttt run launcher=torchrun
# The container runs without root. With --user the runs belong to the user who types this. Without
# --user the container runs as user 10001, who must be allowed to write to the mounted folder:
# sudo chown 10001 runs. If the folder is missing, Docker makes it for root alone, hence mkdir.
# Our tests lint this file and run its awk program. They do not build the image: none of our machines can.
# NVIDIA may move a tag; --build-arg BASE=nvcr.io/nvidia/pytorch@sha256:... always names the same image.
ARG BASE=nvcr.io/nvidia/pytorch:25.09-py3
FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

WORKDIR /opt/ttt
COPY pyproject.toml constraints.txt README.md LICENSE Dockerfile ./
COPY ttt ttt
COPY conf conf
COPY slurm slurm
# The packages of the image stay as they are. All other packages, and those that pip builds with, get
# the versions that ttt was tested with. The image's own constraints, in PIP_CONSTRAINT, hold as well.
# hadolint ignore=DL3013
RUN pip list --format=freeze | awk -F '[ =@]' ' \
        { name = tolower($1); gsub("[-_.]+", "-", name) } \
        NR == FNR { present[name]; next } \
        !(name in present)' - constraints.txt > /tmp/constraints.txt \
    && export PIP_BUILD_CONSTRAINT="/tmp/constraints.txt ${PIP_CONSTRAINT:-}" \
    && export PIP_CONSTRAINT="$PIP_BUILD_CONSTRAINT" \
    && pip install --no-cache-dir '.[digits,text,energy,report,wandb]' \
    && chmod -R a+rX /opt/ttt

# The user that --user names may write here, and needs no entry in /etc/passwd.
WORKDIR /work
RUN mkdir runs && chmod 1777 . runs
ENV HOME=/work USER=ttt
USER 10001:10001
ENTRYPOINT ["ttt"]
CMD ["run", "launcher=torchrun"]
