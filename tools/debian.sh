#!/bin/sh
# Gets the Debian packages that some tests drive, where that needs no question: root, and apt-get. It never fails: without
# them those tests skip, and say so.
missing=
command -v promtool >/dev/null && command -v prometheus >/dev/null || missing="$missing prometheus"
command -v amtool >/dev/null && command -v prometheus-alertmanager >/dev/null || missing="$missing prometheus-alertmanager"
command -v victoria-metrics >/dev/null || missing="$missing victoria-metrics"
command -v docker-compose >/dev/null || missing="$missing docker-compose"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v chromium >/dev/null || missing="$missing chromium"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not on this machine:$missing. The tests that need it will skip."
    exit 0
fi
echo "Getting$missing from Debian."
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
export SYSTEMD_OFFLINE=1 # a Prometheus for tests starts no service of the system
apt-get update -qq </dev/null >"$log" 2>&1
for package in $missing; do
    if ! apt-get install -qq --no-install-recommends "$package" </dev/null >"$log" 2>&1; then
        echo "$package could not be installed; the tests that need it will skip. apt-get said:"
        tail -n 3 "$log"
    fi
done
rm -f "$log"
