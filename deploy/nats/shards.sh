#!/bin/sh
# Prints nats-server.conf for another number of shards: shards.sh 8 > nats-server.conf
set -eu
shards=${1:?usage: shards.sh NUMBER}
case $shards in *[!0-9]* | 0*) echo "shards.sh: $shards is not a number of shards" >&2; exit 2 ;; esac
awk -v n="$shards" '
  !/# shard [0-9]+$/ { print; next }
  /# shard 0$/ {
    for (i = 0; i < n; i++) {
      line = $0
      sub(/_0/, "_" i, line)
      sub(/# shard 0$/, "# shard " i, line)
      print line
    }
  }' "$(dirname "$0")/nats-server.conf"
