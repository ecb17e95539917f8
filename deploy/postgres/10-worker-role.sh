#!/bin/sh
# The role that workers log in with. It owns nothing; `syndic migrate` grants it what the group role holds.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$SYNDIC_DB_PASSWORD" <<'SQL'
CREATE ROLE syndic_worker NOLOGIN;
CREATE ROLE syndic LOGIN PASSWORD :'password' IN ROLE syndic_worker;
SQL
