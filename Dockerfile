# syntax=docker/dockerfile:1

# The newest patch of go.mod's version; a test keeps the two together.
ARG GO_VERSION=1.26

FROM golang:${GO_VERSION}-bookworm AS build
WORKDIR /src
ENV GOMODCACHE=/cache/mod GOCACHE=/cache/build GOTOOLCHAIN=local CGO_ENABLED=0

COPY . .
ARG VERSION=unknown
# The cache mount keeps modules and objects between builds. `go mod download` would also fetch the tools' modules.
RUN --mount=type=cache,target=/cache \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/archon ./cmd/archon
# An empty folder to copy: the last stage has no shell to make one, and a volume takes its owner from it.
RUN mkdir -p /out/data

# Certificates, time zones and an unprivileged user; no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/archon /archon
COPY --from=build --chown=65532:65532 /out/data /var/lib/archon

USER 65532:65532
# In a container the loopback address would reach nobody.
ENV ARCHON_HTTP_ADDR=0.0.0.0:8080 ARCHON_DATA_DIR=/var/lib/archon
EXPOSE 8080
VOLUME /var/lib/archon
STOPSIGNAL SIGTERM
# There is no curl in here, so Archon asks itself. It waits up to 5 s for the answer.
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=6 CMD ["/archon", "health"]
ENTRYPOINT ["/archon"]
CMD ["serve", "--roles", "api,projector,worker"]
