#!/usr/bin/env bash
# Checks what the build and the tests need, and installs what is missing where that is allowed. `build` leaves out what only
# tests need.
set -euo pipefail

needed=()
has() { command -v "$1" >/dev/null 2>&1; }
want() { has "$1" || needed+=("$2"); }

want clang++ clang
want ccache ccache
want pkg-config pkg-config
want make make
if [ "${1:-all}" != build ]; then
  want mvn maven
  want promtool prometheus
  want docker-compose docker-compose
  want python3 python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || needed+=(python3-venv)
  # Kafka 4 needs Java 17 or newer.
  java_version=$({ java -version 2>&1 || true; } | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -1)
  [ "${java_version:-0}" -ge 17 ] || needed+=(default-jre-headless)
fi
ldconfig -p 2>/dev/null | grep -q 'libclang' || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || needed+=(libclang-dev)
pkg-config --exists openssl 2>/dev/null || needed+=(libssl-dev)
pkg-config --exists zlib 2>/dev/null || needed+=(zlib1g-dev)

if ! has cargo; then
  echo "The Rust toolchain is missing. Install it (1.89 or newer) and run this again." >&2
  exit 1
fi

if [ ${#needed[@]} -gt 0 ]; then
  echo "Installing: ${needed[*]}"
  if [ "$(id -u)" = 0 ]; then
    run=()
  elif has sudo; then
    run=(sudo)
  else
    echo "Neither root nor sudo here. Run as root: apt-get install -y ${needed[*]}" >&2
    exit 1
  fi
  "${run[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq "${needed[@]}" >/dev/null
fi
