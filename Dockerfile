# A static binary on an empty image: no shell, a read-only root. `tests/image/layout.py` builds the same without a daemon.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache ca-certificates musl-dev cmake make gcc g++ perl linux-headers
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tokensmith && cp target/release/tokensmith /tokensmith
RUN mkdir -p /empty/data /empty/tmp /empty/etc && chown 65532:65532 /empty/data && chmod 1777 /empty/tmp \
 && printf 'root:x:0:0:root:/:/sbin/nologin\ntokensmith:x:65532:65532:tokensmith:/data:/sbin/nologin\n' >/empty/etc/passwd \
 && printf 'root:x:0:\ntokensmith:x:65532:\n' >/empty/etc/group

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tokensmith" \
      org.opencontainers.image.description="A Kubernetes service-account token issuer in one binary" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /tokensmith /tokensmith
# Public CAs, for verifying the tokens of issuers elsewhere.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /empty/etc /etc
COPY --from=build /empty/tmp /tmp
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
