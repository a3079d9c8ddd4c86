# One image for all of Ampswarm; the command chooses what a container is:
#
#   docker run ampswarm central-system [options]
#   docker run ampswarm locust-master  [Locust's options]
#   docker run ampswarm locust-worker --master-host MASTER [Locust's options]
#   docker run ampswarm locust         [Locust's options]     one process with everything

FROM python:3.13-slim AS build
WORKDIR /build
RUN python3 -m venv /opt/ampswarm
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN /opt/ampswarm/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements/runtime.txt
# The build tools stay behind in this stage.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY ampswarm ampswarm
COPY server server
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /tmp \
    && /opt/ampswarm/bin/pip install --no-cache-dir --no-compile --no-deps /tmp/ampswarm-*.whl \
    && /opt/ampswarm/bin/pip uninstall --yes --quiet pip \
    && find /opt/ampswarm -name tests -type d -prune -exec rm -rf {} +

FROM python:3.13-slim
# A volume that is mounted at /reports begins with its owner.
RUN useradd --create-home --uid 10001 ampswarm && install --directory --owner ampswarm --group ampswarm /reports
COPY --from=build /opt/ampswarm /opt/ampswarm
COPY docker-entrypoint docker-healthcheck /usr/local/bin/
COPY locustfiles /locustfiles
ENV PATH=/opt/ampswarm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER ampswarm
WORKDIR /home/ampswarm
# Central system: charge points, the same over TLS, operators; Locust's web UI; Locust's master.
EXPOSE 8080 8443 8081 8089 5557
# A central system that stands still for two minutes; nothing else is ended by Docker.
HEALTHCHECK --interval=10s --timeout=10s --retries=12 --start-period=20s CMD ["docker-healthcheck"]
ENTRYPOINT ["docker-entrypoint"]
CMD ["central-system"]
