# One image for every part: docker run IMAGE api, docker run IMAGE worker, or docker run IMAGE up for all in one.
# To have torch without CUDA, pass PyTorch's CPU index: --build-arg PIP_EXTRA_INDEX_URL=…
FROM python:3.12-slim AS build
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_EXTRA_INDEX_URL=$PIP_EXTRA_INDEX_URL PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/faceter
COPY constraints.txt ./
RUN /opt/faceter/bin/pip install -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY faceter ./faceter
COPY app ./app
COPY workers ./workers
RUN /opt/faceter/bin/pip install -c constraints.txt ".[server,worker,export,cli,otel,s3]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home faceter && install -d -o faceter -g faceter /data
COPY --from=build /opt/faceter /opt/faceter
# HOME: libraries write caches there, and the root file system may be read-only.
ENV PATH=/opt/faceter/bin:$PATH \
    HOME=/tmp \
    FACETER_DATA_DIR=/data \
    FACETER_HOST=0.0.0.0 \
    FACETER_LOG_FORMAT=json
USER faceter
WORKDIR /home/faceter
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["faceter", "health"]
ENTRYPOINT ["faceter"]
CMD ["up"]
