# ttt on NVIDIA's PyTorch image, which brings torch, NCCL and DALI built for each other: 26.07 has
# Python 3.12, CUDA 13.3 and torch 2.13.0a0; ttt is tested with 2.13.0. We have not seen the number of its
# DALI. The build prints the versions of both, and stops if one is missing or would be replaced.
#   docker build -t ttt .
#   mkdir -p runs && docker run --rm --gpus all --ipc=host --user "$(id -u):$(id -g)" \
#       -v "$PWD/runs:/work/runs" ttt run launcher=torchrun
# The container runs without root. With --user the runs belong to the user who types this. Without
# --user the container runs as user 10001, who must be allowed to write to the mounted folder:
# sudo chown 10001 runs. If the folder is missing, Docker makes it for root alone, hence mkdir.
# Our tests lint this file and run its awk program. They do not build the image: none of our machines can.
# NVIDIA may move a tag; --build-arg BASE=nvcr.io/nvidia/pytorch@sha256:... always names the same image.
ARG BASE=nvcr.io/nvidia/pytorch:26.07-py3
FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

WORKDIR /opt/ttt
COPY pyproject.toml constraints.txt README.md LICENSE Dockerfile ./
COPY ttt ttt
COPY conf conf
COPY slurm slurm
# The image sets PIP_CONSTRAINT to a file that pins every package of its own build, tools included
# (release notes, since 25.03), and pip cannot satisfy it and constraints.txt at once. It is set anew here:
# - What the image has compiled for its GPUs, or against it, stays as it is: pip must fail rather than
#   bring another torch, DALI or numpy. No extra of ttt asks for one: `dali` and `dev` are left out.
# - Other packages of the image stay, too, unless a package of ttt needs a newer one.
# - All that the image lacks, and what pip builds with, gets the version that ttt was tested with.
# hadolint ignore=DL3013
RUN pip list --format=freeze > /tmp/image.txt \
    && awk -F '[ =@]' ' \
        { name = tolower($1); gsub("[-_.]+", "-", name) } \
        NR == FNR { present[name] } \
        NR == FNR && name ~ /^(torch|triton|pytorch-triton|nvidia-|cuda-|numpy$)/ { print } \
        NR != FNR && !(name in present) { print }' /tmp/image.txt constraints.txt > /tmp/constraints.txt \
    && export PIP_CONSTRAINT=/tmp/constraints.txt PIP_BUILD_CONSTRAINT=/tmp/constraints.txt \
    && pip install --no-cache-dir '.[digits,text,energy,report,wandb]' \
    && python -c 'import nvidia.dali, torch; print("torch", torch.__version__, "DALI", nvidia.dali.__version__)' \
    && chmod -R a+rX /opt/ttt

# The user that --user names may write here, and needs no entry in /etc/passwd.
WORKDIR /work
RUN mkdir runs && chmod 1777 . runs
ENV HOME=/work USER=ttt
USER 10001:10001
ENTRYPOINT ["ttt"]
CMD ["run", "launcher=torchrun"]
