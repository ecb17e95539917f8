# Workers of Syndic. The embedded servers stay out: a container finds its servers by address.
FROM python:3.11.14-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY workers workers
COPY workflows workflows
COPY activities activities
COPY agents agents
COPY ledger ledger
COPY examples examples
RUN UV_PROJECT_ENVIRONMENT=/opt/syndic uv sync --locked --no-default-groups --no-editable

FROM python:3.11.14-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 syndic \
    && install --directory --owner syndic /var/lib/syndic
COPY --from=build /opt/syndic /opt/syndic
ENV PATH=/opt/syndic/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
USER syndic
VOLUME /var/lib/syndic
ENTRYPOINT ["syndic"]
CMD ["doctor"]
