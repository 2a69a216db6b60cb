#!/usr/bin/env bash
# Runs a command beside a fresh server that speaks AWS, and tells it where in EDDY_AWS_ENDPOINT:
#
#   local/localstack/ministack.sh go test ./local/localstack -run TestDeployed -v
#
# The server is ministack, which runs Lambdas as plain processes and needs no Docker. It is installed once for each
# version, outside the checkout. It listens on loopback only, keeps what it stores in a folder that goes with it, and
# sees nothing of this shell's environment; the command sees credentials that are good for nothing else.
set -euo pipefail

version=1.5.33
home=${XDG_CACHE_HOME:-$HOME/.cache}/eddy/ministack/$version
python=$home/bin/python

if (($# == 0)); then
	echo "usage: $0 COMMAND [ARGUMENT]…" >&2
	exit 2
fi

if [[ ! -x $home/bin/ministack ]]; then
	echo "installing ministack $version into $home: once" >&2
	python3 -m venv --clear "$home"
	"$python" -m pip install --quiet --disable-pip-version-check "ministack==$version"
fi

state=$(mktemp -d)
mkdir "$state/state" "$state/s3" "$state/tmp"
port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
endpoint=http://127.0.0.1:$port

env -i PATH="$PATH" HOME="$state" TMPDIR="$state/tmp" STATE_DIR="$state/state" S3_DATA_DIR="$state/s3" \
	GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 AWS_ENDPOINT_URL="$endpoint" DOCKER_HOST=unix:///nonexistent.sock \
	"$home/bin/ministack" >"$state/log" 2>&1 &
server=$!

finish() {
	local status=$?
	kill "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	if ((status != 0)); then
		printf '\nthe end of what the server said:\n' >&2
		tail -n 40 "$state/log" >&2
	fi
	rm -rf "$state"
	exit "$status"
}
trap finish EXIT

healthy() { "$python" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2)' "$endpoint/_ministack/health"; }
for ((tries = 0; ; tries++)); do
	healthy 2>/dev/null && break
	if ! kill -0 "$server" 2>/dev/null || ((tries == 100)); then
		echo "ministack does not serve at $endpoint" >&2
		exit 1
	fi
	sleep 0.2
done

env -u AWS_PROFILE -u AWS_SESSION_TOKEN EDDY_AWS_ENDPOINT="$endpoint" AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 \
	AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true \
	AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null "$@"
