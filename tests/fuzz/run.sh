#!/usr/bin/env bash
# Feeds one reader for some seconds: fails on a crash, a sanitizer's finding, more than 1 GiB of memory or an input
# that takes 10 s, and leaves that input beside the seeds. It must accept its seeds, else it would test refusals alone.
# Usage: run.sh BINARY TARGET FOLDER SECONDS
set -euo pipefail
binary=$1 target=$2 folder=$3 seconds=$4

"$(dirname "$0")/seeds.py" "$folder"
mkdir -p "$folder/$target.found"
GRADWIRE_FUZZ_ACCEPT=1 "$binary" "$folder/$target"/seed*
"$binary" "$folder/$target.found" "$folder/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
  -rss_limit_mb=1024 -malloc_limit_mb=512 -use_value_profile=1 -verbosity=0 \
  -artifact_prefix="$folder/$target."
