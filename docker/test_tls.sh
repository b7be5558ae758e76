#!/usr/bin/env bash
# Certificates of one's own in containers: at Traefik, and at the gateway without it; a renewal is taken over without a restart.
#
#   docker/test_tls.sh        (after ./run_microservices.sh test --docker, which makes the image). The simulator answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=docker/testing.sh
. docker/testing.sh tls
export LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim TLS_CERT=$work/chain.pem TLS_KEY=$work/key.pem

certificate() { # NAME: signed by itself
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=$1" -addext "subjectAltName=DNS:localhost" \
        -keyout "$TLS_KEY" -out "$TLS_CERT" 2>/dev/null
    # Nobody but its owner may read a key.
    chmod 600 "$TLS_KEY"
}
served() { openssl s_client -connect "127.0.0.1:$HTTPS_PORT" -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -subject | grep -q "$1"; }
answers() { curl -s -m 60 --cacert "$TLS_CERT" "https://localhost:$HTTPS_PORT/v1/completions" -d '{"prompt": "a", "max_tokens": 4}' | grep -q '"text":'; }
leads_to_tls() { [ "$(curl -s -m 10 -o /dev/null -w '%{http_code} %{redirect_url}' "http://localhost:$API_PORT/v1/models?a=b")" = "301 https://localhost:$HTTPS_PORT/v1/models?a=b" ]; }
plain_is_closed() { ! curl -s -m 5 -o /dev/null "http://localhost:$API_PORT/livez"; }
same_containers() { [ "$(running_ids)" = "$before" ]; }
doctor_is_content() { ./run_microservices.sh doctor --only services,ports,containers; }

ensure_engine
for options in --traefik ''; do
    say "${options:-without Traefik}"
    certificate first
    # shellcheck disable=SC2086  # none, or one word
    ./run_microservices.sh run $options | sed 's/^/    /'
    verdict "the certificate is served" served first
    verdict "the API answers over TLS" answers
    if [ -n "$options" ]; then verdict "the plain port leads there" leads_to_tls; else verdict "there is no plain port" plain_is_closed; fi
    verdict "test --smoke asks over TLS" ./run_microservices.sh test --smoke
    verdict "doctor finds no problem" doctor_is_content
    certificate second
    before=$(running_ids)
    ./run_microservices.sh run $options >/dev/null
    verdict "a renewed certificate is taken over" within 20 served second
    verdict "by the same containers" same_containers
    ./run_microservices.sh stop | sed 's/^/    /'
done
verdicts tls
