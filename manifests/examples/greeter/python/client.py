"""Asks the greeter at SERVER, whose SPIFFE ID must be SERVER_ID, for a greeting.

Its own identity is that of the Workload API at SPIFFE_ENDPOINT_SOCKET, which py-spiffe asks. gRPC comes from grpclib:
grpcio accepts a server only by a DNS name or an IP address, and SPIFFE IDs are URIs.
"""

import asyncio
import os
import ssl
import tempfile

from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.client import Channel, UnaryUnaryMethod
from spiffe import SpiffeId, X509Source

SERVER_ID = SpiffeId(os.environ["SERVER_ID"])


class ServerIsExpected(ssl.SSLObject):
    """Ends the handshake unless the server has the SPIFFE ID. OpenSSL has verified its chain by then."""

    def do_handshake(self):
        super().do_handshake()
        ids = [value for kind, value in self.getpeercert()["subjectAltName"] if kind == "URI"]
        if ids != [str(SERVER_ID)]:
            raise ssl.SSLCertVerificationError(f"the server is {ids}, not {SERVER_ID}")


def tls_context(source):
    """What a connection is made with: the newest certificate, and the roots of the trust domain of the server alone."""
    own = source.get_x509_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.sslobject_class = ServerIsExpected
    context.set_alpn_protocols(["h2"])
    with tempfile.TemporaryDirectory() as folder:
        chain, key, roots = (os.path.join(folder, name) for name in ("chain.pem", "key.pem", "roots.pem"))
        own.default_svid.save(chain, key, Encoding.PEM)
        own.x509_bundle_set.get_bundle_for_trust_domain(SERVER_ID.trust_domain).save(roots, Encoding.PEM)
        context.load_cert_chain(chain, key)
        context.load_verify_locations(roots)
    return context


async def greet():
    host, _, port = os.environ["SERVER"].rpartition(":")
    with X509Source(timeout_in_seconds=30) as source:
        async with Channel(host, int(port), ssl=tls_context(source)) as channel:
            # HelloRequest and HelloReply have one field, as StringValue has: no generated code is needed for them.
            say_hello = UnaryUnaryMethod(channel, "/helloworld.Greeter/SayHello", StringValue, StringValue)
            reply = await say_hello(StringValue(value="Python"), timeout=10)
        own_id = source.get_x509_context().default_svid.spiffe_id
        print(f"{SERVER_ID} answered {own_id}: {reply.value}")


asyncio.run(greet())
