# A static binary on an empty image: no shell, no user database, read-only root.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev cmake make gcc g++ perl linux-headers
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tokensmith && cp target/release/tokensmith /tokensmith
RUN mkdir -p /empty/data && chown 65532:65532 /empty/data

FROM scratch
COPY --from=build /tokensmith /tokensmith
# The volume's mount point belongs to the user that writes to it.
COPY --from=build --chown=65532:65532 /empty/data /data
USER 65532:65532
WORKDIR /data
ENV TOKENSMITH_DATA_DIR=/data
EXPOSE 6443
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["/tokensmith", "healthcheck"]
ENTRYPOINT ["/tokensmith"]
CMD ["serve", "--bind-address=0.0.0.0"]
