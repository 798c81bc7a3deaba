# crispmask in a container:
#   docker build --tag crispmask .
#   docker run --gpus all --ipc host --user "$(id -u):$(id -g)" -v "$PWD:/data" crispmask \
#       train --data data.yaml --architecture rtmdet-ins --model tiny
# The CUDA libraries come with PyTorch; the host needs the driver and the NVIDIA container toolkit.
# For a machine without GPU: docker build --build-arg TORCH=cpu, which is 5 GB smaller.
FROM python:3.12-slim

# auto takes what the package index offers: CUDA. cpu and cu128 are other values of uv.
ARG TORCH=auto

RUN pip install --no-cache-dir uv
WORKDIR /opt/crispmask
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY crispmask crispmask
RUN backend="" \
    && if [ "$TORCH" != auto ]; then backend="--torch-backend=$TORCH"; fi \
    && uv pip install --system --no-cache $backend --constraint requirements.txt '.[export]'

# Caches and settings go where any user may write: the one of `docker run --user` has no home.
RUN install --directory --mode=1777 /caches
ENV HOME=/caches CRISPMASK_CACHE=/caches/crispmask HF_HOME=/caches/huggingface
WORKDIR /data
ENTRYPOINT ["crispmask"]
CMD ["--help"]
