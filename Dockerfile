# syntax=docker/dockerfile:1
# docker build -t smart-gateway .
# docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8080:8080 -v ./gateway.yaml:/etc/smart-gateway/gateway.yaml:ro smart-gateway
# In a container `server.listen` must be 0.0.0.0:8080 (its loopback is its own); `server.management` may stay on 127.0.0.1 for HEALTHCHECK.

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/smart-gateway
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY smart_gateway ./smart_gateway
RUN /opt/smart-gateway/bin/pip install '.[redis]' && /opt/smart-gateway/bin/python -m compileall -q /opt/smart-gateway/lib

FROM python:3.12-slim-bookworm
# Nothing is written at run time: the root file system may be read-only, and no shell account exists for this uid.
ENV PATH=/opt/smart-gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SMART_GATEWAY_CONFIG=/etc/smart-gateway/gateway.yaml
COPY --from=build /opt/smart-gateway /opt/smart-gateway
USER 10001:10001
WORKDIR /etc/smart-gateway
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["smart-gateway", "healthcheck"]
ENTRYPOINT ["smart-gateway"]
CMD ["serve"]
