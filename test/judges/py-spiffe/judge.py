"""py-spiffe behind standard input: one question as JSON in, one verdict as JSON out, as test/judges/main.go has it."""

import json
import sys

from spiffe import JwtBundle, JwtSvid, TrustDomain


def judge(question):
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
