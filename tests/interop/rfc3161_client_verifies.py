"""Asks with requests, judges with rfc3161-client: strict DER, SET order, status 0, nonce, policy, chain."""

import os
from pathlib import Path

import requests
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

URL, CA, CERT, KEY = (os.environ[f"PECHAT_{name}"] for name in ("URL", "CA", "CERT", "KEY"))
MESSAGE = b"a decision of the land register"
POLICY = ObjectIdentifier("0.4.0.2023.1.1")
root = x509.load_pem_x509_certificate(Path(CA).read_bytes())


def answered(query):
    """What the appliance answers, decoded."""
    answer = requests.post(
        f"{URL}/tsa",
        data=query.as_bytes(),
        headers={"Content-Type": "application/timestamp-query"},
        cert=(CERT, KEY),
        verify=CA,
        timeout=40,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/timestamp-reply"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    return decode_timestamp_response(answer.content)


def refuses(verifier, reply, message):
    """Whether the verifier refuses."""
    try:
        verifier.verify_message(reply, message)
    except VerificationError:
        return True
    return False


verified = 0
for hash_algorithm in (HashAlgorithm.SHA256, HashAlgorithm.SHA512):
    for nonce in (True, False):
        builder = TimestampRequestBuilder(data=MESSAGE).hash_algorithm(hash_algorithm)
        query = builder.nonce(nonce=nonce).cert_request(cert_request=True).build()
        reply = answered(query)
        verifier = VerifierBuilder.from_request(query).policy_id(POLICY).add_root_certificate(root).build()
        assert verifier.verify_message(reply, MESSAGE)
        info = reply.tst_info
        assert (reply.status, info.nonce, info.policy) == (0, query.nonce, POLICY)
        assert (query.nonce is not None) == nonce
        assert info.accuracy.millis or info.accuracy.seconds
        assert refuses(verifier, reply, b"another decision")
        other = VerifierBuilder.from_request(query).policy_id(ObjectIdentifier("1.2.3.4"))
        assert refuses(other.add_root_certificate(root).build(), reply, MESSAGE)
        if nonce:
            later = VerifierBuilder(nonce=query.nonce + 1).add_root_certificate(root).build()
            assert refuses(later, reply, MESSAGE)
        verified += 1

try:
    requests.post(f"{URL}/tsa", data=b"", verify=CA, timeout=40)
except requests.exceptions.RequestException as error:
    assert "CERTIFICATE_REQUIRED" in str(error), error
else:
    raise AssertionError("answered without a certificate")

print(verified, "tokens verified")
