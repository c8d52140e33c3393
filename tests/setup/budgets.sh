#!/usr/bin/env bash
# Prints files above 500 lines and crates above 2,500, tests not counted. Guidance: it never fails.
set -euo pipefail
lines() { awk '/^#\[cfg\(test\)\]/ {exit} {print}' "$1" | wc -l; }
for crate in crates/*/; do
  total=0
  while IFS= read -r -d '' file; do
    count=$(lines "$file")
    total=$((total + count))
    [ "$count" -le 500 ] || echo "budget: file over 500 lines: $file $count"
  done < <(find "$crate"src -name '*.rs' ! -name 'tests.rs' -print0)
  [ "$total" -le 2500 ] || echo "budget: crate over 2500 lines: $crate $total"
done
