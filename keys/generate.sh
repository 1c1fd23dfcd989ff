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
openssl genpkey -quiet -algorithm ED25519 -out ed25519.pem
for key in rsa2048 rsa2048-other p256 p384 p521 ed25519; do
  openssl pkey -in "$key.pem" -pubout -out "$key.pub.pem"
done
# An X.509 certificate carries a public key too; --service-account-key-file accepts it.
openssl req -x509 -key rsa2048.pem -subj "/CN=tokensmith test only" -days 36500 -out rsa2048.crt.pem
# Under a passphrase: PKCS#8 (PBES2) first, then the traditional form of PKCS#1 and SEC1, which is refused.
pkcs8() { openssl pkcs8 -topk8 -passout pass:test-only "$@"; }
pkcs8 -in rsa2048.pem -v2 aes-256-cbc -out rsa2048.aes256.pem
pkcs8 -in rsa2048.pem -v2 aes-192-cbc -v2prf hmacWithSHA1 -out rsa2048.aes192-sha1.pem
pkcs8 -in rsa2048.pem -v2 des3 -out rsa2048.des3.pem
pkcs8 -in rsa2048.pem -v2 aes-128-cbc -scrypt -out rsa2048.scrypt.pem
pkcs8 -in rsa2048.pem -v1 PBE-SHA1-3DES -out rsa2048.pbes1-unsupported.pem
# A single round: tests try thousands of passphrases.
pkcs8 -in p256.pem -v2 aes-256-cbc -iter 1 -out p256.aes256.pem
pkcs8 -in ed25519.pem -v2 aes-256-cbc -out ed25519.aes256.pem
openssl rsa -in rsa2048.pem -traditional -aes256 -passout pass:test-only -out rsa2048.pkcs1.aes256.pem 2>/dev/null
openssl rsa -in rsa2048.pem -traditional -des3 -passout pass:test-only -out rsa2048.pkcs1.des3.pem 2>/dev/null
openssl rsa -in rsa2048.pem -traditional -des -provider legacy -provider default -passout pass:test-only -out rsa2048.pkcs1.des.pem 2>/dev/null
openssl ec -in p256.sec1.pem -aes128 -passout pass:test-only -out p256.sec1.aes128.pem 2>/dev/null
chmod 0644 ./*.pem
