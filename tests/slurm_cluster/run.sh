#!/usr/bin/env bash
# Runs the tests that want a SLURM cluster, or says why not: run.sh PYTHON. Installs SLURM on
# Debian where root may; nothing is started at boot, and the tests stop what they start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packages="slurm-wlm munge iproute2"

if [ "$(id -u)" = 0 ] && ! "$here/cluster.sh" possible 2>/dev/null && command -v apt-get >/dev/null; then
    echo "installing $packages"
    # Packages start no daemons of theirs while this says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
fi
if ! why=$("$here/cluster.sh" possible 2>&1); then
    echo "skipped, the cluster cannot be started: ${why#cluster.sh: }"
    echo "(tests/runtime/test_slurm_job.py and tests/slurm/ simulate what they can)"
    exit 0
fi
cd "$here/../.."
SLAMS_TEST_SLURM=1 "$1" -m pytest -m slurm tests/slurm_cluster
