#!/usr/bin/env bash
# Makes the test-only key pairs of this folder anew. The pairs are public: see README.md.
set -euo pipefail
cd "$(dirname "$0")"
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa2048.pem
openssl rsa -in rsa2048.pem -traditional -out rsa2048.pkcs1.pem 2>/dev/null
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa2048-other.pem
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa1024-too-small.pem
for curve in 256 384 521; do
  openssl genpkey -quiet -algorithm EC -pkeyopt "ec_paramgen_curve:P-$curve" -out "p$curve.pem"
done
# SEC1 with the EC PARAMETERS block in front, as `openssl ecparam -genkey` writes it.
openssl ecparam -name prime256v1 -genkey -out p256.sec1.pem 2>/dev/null
openssl genpkey -quiet -algorithm ED25519 -out ed25519-unsupported.pem
for key in rsa2048 rsa2048-other p256 p384 p521; do
  openssl pkey -in "$key.pem" -pubout -out "$key.pub.pem"
done
# An X.509 certificate carries a public key too; --service-account-key-file accepts it.
openssl req -x509 -key rsa2048.pem -subj "/CN=tokensmith test only" -days 36500 -out rsa2048.crt.pem
chmod 0644 ./*.pem
