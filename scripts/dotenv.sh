# shellcheck shell=bash
# What .env says to the scripts themselves. Everything else in it is read by llmo and by Compose; nothing of it is run.

for name in LLMO_MODE LLMO_LANG LLMO_START_TIMEOUT LLMO_SETTLE_SECONDS LLMO_RUN_DIR LLMO_BIN_DIR LLMO_IMAGE SECRETS_DIR COMPOSE_PROJECT_NAME; do
    if [ -n "${!name:-}" ] || [ ! -r "$ROOT/.env" ]; then continue; fi
    value=$(sed -nE "s/^$name=[\"']?([^\"']*)[\"']?[[:space:]]*\$/\1/p" "$ROOT/.env" | tail -n 1)
    [ -z "$value" ] || export "$name=$value"
done
unset name value
