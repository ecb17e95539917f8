#!/bin/sh
# The namespace workers use; the retention outlasts what people want to look up in the Web UI.
set -eu
temporal operator namespace describe --namespace default >/dev/null 2>&1 ||
  temporal operator namespace create --namespace default --retention 720h
