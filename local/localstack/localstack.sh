#!/usr/bin/env bash
# Runs a command beside LocalStack (compose.yaml), and tells it where in EDDY_AWS_ENDPOINT:
#
#   local/localstack/localstack.sh go test ./local/localstack -run TestDeployed -v
#
# It wants Docker and a token of LocalStack's: WebSocket APIs are in its Base plan. What is missing is said, all of it.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
if ! command -v docker >/dev/null; then
	missing+=("docker: https://docs.docker.com/engine/install/")
elif ! docker info >/dev/null 2>&1; then
	missing+=("a Docker engine that answers: \`docker info\` fails")
elif ! docker compose version >/dev/null 2>&1; then
	missing+=("the compose plugin of Docker: \`docker compose version\` fails")
fi
[[ -n ${LOCALSTACK_AUTH_TOKEN:-} ]] || missing+=("LOCALSTACK_AUTH_TOKEN: https://app.localstack.cloud/workspace/auth-token")
[[ -x infra/node_modules/.bin/cdk ]] || missing+=("the command line of the CDK: npm ci --prefix infra")
if ((${#missing[@]})); then
	echo "LocalStack cannot be used here. Missing:" >&2
	printf '  %s\n' "${missing[@]}" >&2
	exit 1
fi
if (($# == 0)); then
	echo "usage: $0 COMMAND [ARGUMENT]…" >&2
	exit 2
fi

compose() { docker compose --file local/localstack/compose.yaml "$@"; }

finish() {
	local status=$?
	((status == 0)) || compose logs --tail 40 >&2 || true
	compose down --volumes >&2 || true
	exit "$status"
}
trap finish EXIT
compose up --detach --wait >&2

env -u AWS_PROFILE -u AWS_SESSION_TOKEN EDDY_AWS_ENDPOINT=http://127.0.0.1:4566 AWS_REGION=us-east-1 \
	AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true \
	AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null "$@"
