"""A time-stamping authority over plain HTTP/1.1 that hands every body to `openssl ts -reply`.

Usage: openssl_tsa.py DIRECTORY. Makes keys and certificates there, prints its port, serves until killed.
"""

import http.server
import pathlib
import subprocess
import sys
import threading

where = pathlib.Path(sys.argv[1])
one_at_a_time = threading.Lock()

CONFIG = """
[tsa]
default_tsa = unit
[unit]
dir = .
serial = serial
signer_cert = unit.pem
certs = issuing.pem
signer_key = unit.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha1, sha256, sha384, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[tsu]
extendedKeyUsage = critical,timeStamping
[req]
distinguished_name = dn
[dn]
"""


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], cwd=where, input=data, capture_output=True, check=False)


def certify(name, subject, section, issuer=None):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
    signer = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key"] if issuer else []
    done = openssl("req", "-x509", "-config", "tsa.cnf", "-extensions", section, "-subj", subject, "-days", "30",
                   *key, *signer, "-out", f"{name}.pem")
    if done.returncode:
        sys.exit(done.stderr.decode())


class Tsa(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with one_at_a_time:
            (where / "q.tsq").write_bytes(body)
            (where / "r.tsr").unlink(missing_ok=True)
            openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q.tsq", "-out", "r.tsr")
            reply = (where / "r.tsr").read_bytes() if (where / "r.tsr").exists() else b""
        self.send_response(200 if reply else 500)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


(where / "tsa.cnf").write_text(CONFIG)
(where / "serial").write_text("01\n")
certify("root", "/CN=Root", "ca")
certify("issuing", "/CN=I", "ca", "root")
# Longer than its issuer's: OpenSSL leaves the longer one first, against DER's order of a SET.
certify("unit", "/O=Somebody who issues timestamps/CN=Unit", "tsu", "issuing")


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Quiet(("127.0.0.1", 0), Tsa)
print(server.server_port, flush=True)
server.serve_forever()
