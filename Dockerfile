# upseg on the CPU: docker build -t upseg . && docker run --rm -v "$PWD:/data" upseg segment photo.jpg
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md constraints.txt ./
COPY src src
COPY configs configs
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.12-slim
# where PyTorch's small builds for the CPU are, as its own page says; without it the large ones for GPUs are taken
ARG TORCH_INDEX=
RUN pip install --no-cache-dir torch torchvision ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
RUN useradd --create-home upseg
USER upseg
WORKDIR /data
ENTRYPOINT ["upseg"]
CMD ["--help"]
