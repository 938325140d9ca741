"""py-spiffe behind standard input: one question as JSON in, one verdict as JSON out, as test/judges/main.go has it."""

import json
import queue
import sys

from spiffe import JwtBundle, JwtSvid, TrustDomain, WorkloadApiClient, X509Bundle, X509Svid

# Seconds for each call of a Workload API, and for an update.
patience = 20


def svids(context):
    return ", ".join(f"{svid.spiffe_id} {svid.leaf.serial_number:x}" for svid in context.x509_svids)


def domains(bundle_set):
    return " ".join(sorted(bundle.trust_domain.name for bundle in bundle_set.bundles))


def ask_workload_api(client, audience):
    context = client.fetch_x509_context()
    tokens = client.fetch_jwt_svids({audience})
    bundles = client.fetch_jwt_bundles()
    for token in tokens:
        domain = token.spiffe_id.trust_domain
        JwtSvid.parse_and_validate(token.token, bundles.get_bundle_for_trust_domain(domain), {audience})
    return {
        "x509": svids(context),
        "x509-bundles": domains(context.x509_bundle_set),
        "fetched-bundles": domains(client.fetch_x509_bundles()),
        "jwt": ", ".join(str(token.spiffe_id) for token in tokens),
        "jwt-bundles": domains(bundles),
        "validated": str(client.validate_jwt_svid(tokens[0].token, audience).spiffe_id),
    }


def watch(client):
    """The first X.509 context of a stream, and the next one."""
    seen = queue.Queue()
    stream = client.stream_x509_contexts(seen.put, seen.put)
    try:
        contexts = [seen.get(timeout=patience), seen.get(timeout=patience)]
    finally:
        stream.cancel()
    for context in contexts:
        if isinstance(context, Exception):
            raise context
    return {"first": svids(contexts[0]), "next": svids(contexts[1])}


def judge_x509(question):
    """The certificates of a pod, with the key before them, and the roots beside them. py-spiffe verifies no chain."""
    key, end, chain = question["credentials"].partition("-----END PRIVATE KEY-----\n")
    svid = X509Svid.parse(chain.encode(), (key + end).encode())
    bundle = X509Bundle.parse(TrustDomain(question["trustDomain"]), question["roots"].encode())
    return {"id": str(svid.spiffe_id), "roots": str(len(bundle.x509_authorities))}


def judge(question):
    if "workloadApi" in question:
        with WorkloadApiClient(question["workloadApi"], default_timeout=patience) as client:
            if "audience" in question:
                return ask_workload_api(client, question["audience"])
            return watch(client)
    if "credentials" in question:
        return judge_x509(question)
    bundle = JwtBundle.parse(TrustDomain(question["trustDomain"]), question["jwks"].encode())
    facts = {"kids": " ".join(sorted(bundle.jwt_authorities))}
    if "token" in question:
        svid = JwtSvid.parse_and_validate(question["token"], bundle, {question["audience"]})
        facts["id"] = str(svid.spiffe_id)
        facts["audience"] = " ".join(sorted(svid.audience))
    return facts


try:
    print(json.dumps({"ok": True, "facts": judge(json.load(sys.stdin))}))
except Exception as error:  # whatever it raises is its verdict
    print(json.dumps({"ok": False, "errors": [f"{type(error).__name__}: {error}"]}))
