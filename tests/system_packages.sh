#!/usr/bin/env bash
# What the tests need of the system: a C compiler (the fake driver), Prometheus, Alertmanager,
# VictoriaMetrics, Chromium and a font with Japanese for it.
set -euo pipefail
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing+=(prometheus)
command -v prometheus-alertmanager >/dev/null || missing+=(prometheus-alertmanager)
command -v victoria-metrics >/dev/null || missing+=(victoria-metrics)
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
[ -n "$(fc-list :lang=ja family 2>/dev/null)" ] || missing+=(fonts-ipafont-gothic)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "The tests need ${missing[*]} (Debian's names); install their like on this system." >&2
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  echo "The tests need these packages; install them and call again:" >&2
  echo "  sudo apt-get install ${missing[*]}" >&2
  exit 2
fi
echo "Installing ${missing[*]} …"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
