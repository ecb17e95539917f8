#!/bin/sh
# Creates and updates both of Temporal's databases; safe to run again.
set -eu
for database in temporal:temporal temporal_visibility:visibility; do
  name=${database%%:*}
  schema=/etc/temporal/schema/postgresql/v12/${database##*:}/versioned
  tool="temporal-sql-tool --plugin postgres12 --endpoint temporal-db --port 5432 --user temporal --database $name"
  $tool create
  $tool setup-schema --version 0.0 || true # refuses when the schema is there already; the update below tells
  $tool update-schema --schema-dir "$schema"
done
