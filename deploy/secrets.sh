#!/bin/sh
# Writes .env with random passwords for compose.yaml, unless it is there: `secrets.sh [FILE]`.
set -eu
file=${1:-$(dirname "$0")/.env}
if [ -e "$file" ]; then
  echo "secrets.sh: $file is there already and stays as it is" >&2
  exit 0
fi
# A letter first: NATS would read digits alone as a number.
word() { printf 'k%s' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"; }
umask 077
{
  for user in ADMIN INGESTER ENRICHER INDEXER QUERY APP; do echo "MILLRACE_NATS_${user}_PASSWORD=$(word)"; done
  for user in WRITER READER MIGRATOR; do echo "MILLRACE_CLICKHOUSE_${user}_PASSWORD=$(word)"; done
  echo "MILLRACE_WRITE_KEYS=web:$(word)"
  echo "MILLRACE_API_KEYS=$(word)"
  echo "MILLRACE_GRAFANA_PASSWORD=$(word)"
} > "$file.new"
mv "$file.new" "$file"
