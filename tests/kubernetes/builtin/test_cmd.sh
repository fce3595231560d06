#!/bin/bash
# kubectl's own test scripts (test/cmd of Kubernetes' source) against an API server and controllers of ours.
#
#   tests/kubernetes/builtin/test_cmd.sh KUBERNETES_SOURCE KUBECTL FOLDER [function...]
#
# Starts a member of the store, an API server and the controllers with the flags of hack/make-rules/test-cmd.sh, and runs what that runs, or the
# functions named (run_pod_tests ...). FOLDER is made anew and keeps logs. PYTHON says which Python has the project.
source_root=$1 kubectl=$2 folder=$3
shift 3
python=${PYTHON:-python3}
repository=${REPOSITORY:-$(cd "$(dirname "$0")/../../.." && pwd)}
rm -rf "$folder"
mkdir -p "$folder"/home/.kube "$folder"/store "$folder"/junit "$folder"/bin
ln -s "$kubectl" "$folder/bin/kubectl"
export TMPDIR=$folder KUBE_JUNIT_REPORT_DIR=$folder/junit ALLOW_SKEW=1 PYTHONPATH=$repository
store=21379 peer=21380
export SECURE_API_PORT=21463 API_PORT=0 SECURE_CTLRMGR_PORT=21457 ETCD_PORT=$store API_HOST=127.0.0.1
cd "$source_root" || exit 1
source hack/lib/init.sh
source hack/lib/test.sh
export KUBE_OUTPUT_HOSTBIN=$folder/bin THIS_PLATFORM_BIN=$folder/bin PATH=$folder/bin:$PATH
set +o errexit
source test/cmd/legacy-script.sh
trap - ERR
set +o errexit +o nounset +o errtrace
export HOME=$folder/home KUBE_TEMP=$folder
trap 'stop-proxy; kill $(cat "$folder"/*.pid) 2>/dev/null; wait' EXIT
openssl genrsa -out "$folder/sa.key" 2048 2>/dev/null

begin() { # name, command...
    local name=$1
    shift
    setsid "$@" >"$folder/$name.log" 2>&1 </dev/null &
    echo $! >"$folder/$name.pid"
}

url=http://127.0.0.1
begin store "$python" -m kvstore.server.main --name=m1 --data-dir="$folder/store" --listen-client-urls=$url:$store \
    --advertise-client-urls=$url:$store --listen-peer-urls=$url:$peer --initial-advertise-peer-urls=$url:$peer --initial-cluster=m1=$url:$peer
begin apiserver "$python" -m apiserver.main --bind-address=127.0.0.1 --secure-port=$SECURE_API_PORT --authorization-mode=RBAC,AlwaysAllow \
    --enable-admission-plugins=LimitRanger,ResourceQuota --etcd-servers=$url:$store --cert-dir="$folder" --service-cluster-ip-range=10.0.0.0/24 \
    --disable-admission-plugins=ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,StorageObjectInUseProtection \
    --service-account-key-file="$folder/sa.key" --service-account-signing-key-file="$folder/sa.key" --service-account-issuer=https://kubernetes.default.svc \
    --client-ca-file=hack/testdata/ca.crt --token-auth-file=hack/testdata/auth-tokens.csv
for _ in $(seq 300); do
    curl -sk -H 'Authorization: Bearer admin-token' https://127.0.0.1:$SECURE_API_PORT/readyz | grep -q ok && break
    sleep .3
done
CONTEXT=test
kubectl config set-credentials test-admin --token admin-token
kubectl config set-cluster local --insecure-skip-tls-verify --server https://127.0.0.1:$SECURE_API_PORT
kubectl config set-context $CONTEXT --user test-admin --cluster local
kubectl config use-context $CONTEXT
begin controllers "$python" -m agents.controllers.main --kubeconfig="$HOME/.kube/config" --secure-port=$SECURE_CTLRMGR_PORT
kubectl create -f - <<NODE
{"kind": "Node", "apiVersion": "v1", "metadata": {"name": "127.0.0.1", "annotations": {"save-managers": "true"}}, "status": {"capacity": {"memory": "1Gi"}}}
NODE
export SUPPORTED_RESOURCES=("*")
if [ $# -gt 0 ]; then
    only=" $* "
    eval "$(declare -f record_command | sed '1s/record_command/recorded/')"
    record_command() { [[ $only != *" $1 "* ]] || recorded "$@"; }
fi
runTests
echo "FAILED: ${foundError:-nothing}"
