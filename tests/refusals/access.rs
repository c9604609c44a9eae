//! Who gets in, who does not, and how soon a revoked certificate is out.

use std::path::PathBuf;

use pechat::access::Role;
use pechat::config::Config;
use pechat::http::ROUTES;
use pechat::keys::client::{How, SignerCommand, connect};
use pechat::keys::{KeyLabel, PinnedKeys};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::appliance::wait_for;
use crate::pki::{Credential, Dates, Pki};
use crate::wire::{Greeting, Wire, problem};
use crate::world::{Who, World, openssl, wanted};

pub fn all(world: &World) {
    handshakes(world);
    admitted_only_from_the_store(world);
    roles(world);
    revocation(world);
}

/// No answer, and the log names the reason.
fn refused_in_the_handshake(world: &World, who: Option<&Who>, reason: &str) {
    let told =
        |text: &str| text.lines().filter(|l| l.contains("handshake refused") && l.contains(reason)).count();
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let before = told(&world.appliance.log());
        let url = format!("{}/v1/checkpoint", world.appliance.env("PECHAT_URL"));
        let answer = world.try_curl(who, &[version, &[&url]].concat());
        assert!(answer.is_err(), "let in with status {}", answer.map(|a| a.status).unwrap_or_default());
        wait_for(&format!("{reason:?} in the log"), || told(&world.appliance.log()) > before);
    }
}

fn handshakes(world: &World) {
    let foreign = Pki::new();
    let on_disk = |c: &Credential| Who { cert: world.file(&c.chain), key: world.file(&c.key) };
    world.check("nobody is let in without a certificate", |w| {
        refused_in_the_handshake(w, None, "peer sent no certificates");
    });
    world.check("a certificate of another CA is refused", |w| {
        refused_in_the_handshake(
            w,
            Some(&on_disk(&foreign.client("stranger", Dates::Good))),
            "UnknownIssuer",
        );
    });
    world.check("a self-made certificate with the same names is refused", |w| {
        refused_in_the_handshake(w, Some(&self_made(w)), "invalid peer certificate");
    });
    world.check("a certificate of a self-made CA with the same name is refused", |w| {
        refused_in_the_handshake(w, Some(&of_self_made_ca(w)), "invalid peer certificate");
    });
    world.check("the appliance's own server certificate is no client's", |w| {
        let data = |name: &str| PathBuf::from(w.appliance.env("PECHAT_DATA")).join(name);
        let server = Who { cert: data("tls/server.pem"), key: data("tls/server.key") };
        refused_in_the_handshake(w, Some(&server), "invalid peer certificate");
    });
    world.check("an expired certificate of the very CA is refused", |w| {
        let expired = forged(w, |tbs| {
            let dates = b"\x17\x0d200101000000Z\x17\x0d200201000000Z";
            let at = tbs.windows(2).position(|b| b == b"\x17\x0d").unwrap();
            tbs[at..at + dates.len()].copy_from_slice(dates);
        });
        refused_in_the_handshake(w, Some(&expired), "certificate expired");
    });
    world.check("plain HTTP on the TLS port is not answered", |w| {
        let url = format!("http://localhost:{}/v1/checkpoint", w.api().port());
        assert!(w.try_curl(None, &[&url]).is_err());
    });
}

/// Same subject and issuer, signed by its own key.
fn self_made(world: &World) -> Who {
    let (key, cert) = (world.fresh("key"), world.fresh("cert"));
    let made = ["-keyout", key.to_str().unwrap(), "-out", cert.to_str().unwrap()];
    let subject = name_of(world, "-subject");
    openssl(&[&EC_REQUEST[..], &["-x509", "-days", "20", "-subj", &subject], &made].concat());
    Who { cert, key }
}

const EC_REQUEST: [&str; 7] =
    ["req", "-utf8", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A chain whose every name is the true one.
fn of_self_made_ca(world: &World) -> Who {
    let (key, csr, leaf) = (world.fresh("key"), world.fresh("csr"), world.fresh("cert"));
    let (ca_key, ca) = (world.fresh("ca-key"), world.fresh("ca"));
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (subject, issuer) = (name_of(world, "-subject"), name_of(world, "-issuer"));
    let made = ["-keyout", &path(&ca_key), "-out", &path(&ca)];
    openssl(&[&EC_REQUEST[..], &["-x509", "-days", "20", "-subj", &issuer], &made].concat());
    openssl(&[&EC_REQUEST[..], &["-subj", &subject, "-keyout", &path(&key), "-out", &path(&csr)]].concat());
    let signing = ["-CA", &path(&ca), "-CAkey", &path(&ca_key), "-set_serial", "77", "-days", "20"];
    openssl(&[&["x509", "-req", "-in", &path(&csr), "-out", &path(&leaf)], &signing[..]].concat());
    let chain = [std::fs::read(&leaf).unwrap(), std::fs::read(&ca).unwrap()].concat();
    Who { cert: world.file(&chain), key }
}

/// `/C=BG/O=…` of the registry's certificate.
fn name_of(world: &World, which: &str) -> String {
    let cert = world.registry().cert;
    let line = openssl(&["x509", "-in", cert.to_str().unwrap(), "-noout", which, "-nameopt", "compat"]);
    String::from_utf8(line).unwrap().trim().split_once('=').expect("a name").1.trim().to_owned()
}

/// The registry's certificate with something changed, signed by the true CA's HSM key: what no attacker
/// can make, so that the checks behind the signature are seen at work.
fn forged(world: &World, change: impl FnOnce(&mut [u8])) -> Who {
    let registry = world.registry();
    let chain = std::fs::read(&registry.cert).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).map(Result::unwrap).collect();
    let der: &[u8] = &chain[0];
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm (12 bytes), BIT STRING }, lengths in two bytes.
    assert_eq!((&der[..2], &der[4..6]), (&b"\x30\x82"[..], &b"\x30\x82"[..]));
    let end = 8 + usize::from(u16::from_be_bytes([der[6], der[7]]));
    let mut content = der[4..end].to_vec();
    change(&mut content);
    let signature = sign(world, &content);
    content.extend(&der[end..end + 12]);
    content.extend([3, signature.len() as u8 + 1, 0]);
    content.extend(signature);
    let forged = [&[0x30, 0x82], &(content.len() as u16).to_be_bytes()[..], &content].concat();
    let parts: Vec<&[u8]> = [&forged[..]].into_iter().chain(chain[1..].iter().map(|c| c.as_ref())).collect();
    Who { cert: world.file(pechat::certificate::pem_chain(&parts).as_bytes()), key: registry.key }
}

/// A signature of the production CA's key, by a signer of the test's own on the same token.
fn sign(world: &World, message: &[u8]) -> Vec<u8> {
    let config = Config::load(&world.appliance.config()).unwrap();
    let (keys, hsm) = (config.data("keys.json"), config.hsm);
    let path = |path: &PathBuf| path.clone().into_os_string();
    let mut arguments = vec!["signer".into(), "--token-label".into(), hsm.token_label.into()];
    for (option, value) in [("--module", &hsm.module), ("--pin-file", &hsm.pin_file), ("--keys", &keys)] {
        arguments.extend([option.into(), path(value)]);
    }
    let mut command = SignerCommand::new(world.appliance.env("PECHAT_BIN"), arguments, world.fresh("sock"));
    command.env = hsm.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    runtime().block_on(async {
        let pinned = PinnedKeys::load(&keys).unwrap();
        let keys = connect(pinned, How::Child(command), 8, std::time::Duration::from_secs(8)).await.unwrap();
        let signature = keys.sign(&KeyLabel::new("ca-production").unwrap(), message).await.unwrap();
        keys.control().unwrap().stop().await;
        signature.as_der().to_vec()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn admitted_only_from_the_store(world: &World) {
    world.check("a test certificate of the same service opens nothing", |w| {
        let (key, csr) = w.key_and_csr();
        let wanted = wanted("land-agency", "test", "registry-service", "land-register", &csr);
        let issued = w.post_json(&w.officer(1), "/v1/certificates", &wanted);
        assert_eq!(issued.status, 201, "{}", issued.text());
        let cert = w.file(issued.json()["chain"].as_str().unwrap().as_bytes());
        let who = Who { cert, key };
        for path in ["/v1/journals", "/v1/checkpoint", "/v1/openapi.json", "/nowhere"] {
            w.get(&who, path).problem(403, "unknown-certificate");
        }
        w.post_json(&who, &w.entries(), &w.entry()).problem(403, "unknown-certificate");
        w.post(&who, "/tsa", "application/timestamp-query", b"").problem(403, "unknown-certificate");
    });
    world.check("a certificate of the very CA that the store does not know opens nothing", |w| {
        let unknown = forged(w, |tbs| {
            let at = tbs.windows(2).position(|b| b == b"\x02\x14").unwrap();
            tbs[at + 21] ^= 1;
        });
        let detail = w.get(&unknown, "/v1/journals").problem(403, "unknown-certificate");
        assert!(detail.contains("the certificate "), "{detail}");
    });
}

fn roles(world: &World) {
    let identity =
        |institution: &str, role: Role| world.identity(institution, role.as_str(), role.as_str()).0;
    let people: Vec<_> = Role::ALL
        .into_iter()
        .map(|role| match role {
            Role::RegistryService => (role, world.registry()),
            Role::ControlAdministrator => (role, world.officer(1)),
            Role::Auditor => (role, world.auditor()),
            Role::TechnicalAdministrator => (role, identity("authority", role)),
            Role::InternalController | Role::InternalAdministrator => (role, identity("land-agency", role)),
        })
        .collect();
    for (role, who) in &people {
        for route in ROUTES {
            let path = route.path.replace("{journal}", "land-register").replace("{seq}", "0");
            let path = path.replace("{serial}", &"40".repeat(20)).replace("{id}", &"0".repeat(32));
            world.check(
                &format!("{} {path} lets in a {} or not, as the table says", route.method, role.as_str()),
                |w| {
                    let answer = match route.method {
                        "GET" => w.get(who, &path),
                        _ => w.post(who, &path, "application/json", b"{}"),
                    };
                    if route.lets_in(*role) {
                        assert!(answer.status < 500, "{}", answer.text());
                        assert!(!answer.text().contains("role-not-allowed"), "{}", answer.text());
                    } else {
                        answer.problem(403, "role-not-allowed");
                    }
                },
            );
        }
        world.check(&format!("what is in no table is refused to a {}", role.as_str()), |w| {
            w.get(who, "/v1/secrets").problem(404, "unknown-route");
            w.get(who, "/metrics").problem(404, "unknown-route");
            w.ask(who, "/v1/journals", &["-X", "DELETE"]).problem(405, "wrong-method");
        });
    }
    spot_checks(world, &people);
    plain_listeners(world);
}

/// The table itself held against what the brief of each role is.
fn spot_checks(world: &World, people: &[(Role, Who)]) {
    let of = |role: Role| &people.iter().find(|(r, _)| *r == role).unwrap().1;
    world.check("only a registry service stamps and seals", |w| {
        for (role, who) in people.iter().filter(|(role, _)| *role != Role::RegistryService) {
            w.post_json(who, &w.entries(), &w.entry()).problem(403, "role-not-allowed");
            let detail =
                w.post(who, "/tsa", "application/timestamp-query", b"").problem(403, "role-not-allowed");
            assert!(detail.contains(role.as_str()) || detail.contains(&format!("{role:?}")), "{detail}");
        }
    });
    world.check("a registry service opens no journal and revokes nothing", |w| {
        let open = json!({ "name": "mine", "institution": "land-agency" });
        w.post_json(of(Role::RegistryService), "/v1/journals", &open).problem(403, "role-not-allowed");
        let path = format!("/v1/certificates/{}/revocation", "40".repeat(20));
        let reason = json!({ "reason": "superseded" });
        w.post_json(of(Role::RegistryService), &path, &reason).problem(403, "role-not-allowed");
    });
    world.check("an institution's people see its own journals and certificates only", |w| {
        let who = of(Role::InternalController);
        w.get(who, "/v1/journals/birth-register").problem(404, "not-found");
        let seen = w.get(who, "/v1/certificates").json();
        assert!(seen.as_array().unwrap().iter().all(|c| c["institution"] == "land-agency"), "{seen}");
        let theirs = w.get(&w.auditor(), "/v1/certificates").json();
        let theirs =
            theirs.as_array().unwrap().iter().find(|c| c["institution"] == "civil-registry").cloned();
        let serial =
            theirs.expect("another institution's certificate")["serial"].as_str().unwrap().to_owned();
        let detail = w.get(who, &format!("/v1/certificates/{serial}")).problem(404, "not-found");
        let unknown = w.get(who, &format!("/v1/certificates/{}", "40".repeat(20))).problem(404, "not-found");
        assert_eq!(detail.replace(&serial, ""), unknown.replace(&"40".repeat(20), ""));
    });
}

fn plain_listeners(world: &World) {
    world.check("the plain listener serves nothing of the API", |w| {
        for path in ["/v1/journals", "/tsa", "/metrics", "/status", "/v1/checkpoint", "/crl/", "/ca/../livez"]
        {
            w.plain(path).problem(404, "unknown-route");
        }
        for path in
            ["/crl/nothing.crl", "/crl/..%2f..%2fkeys.json", "/ca/tls%2fserver.key", "/ca/ca-production.crl"]
        {
            w.plain(path).problem(404, "not-found");
        }
    });
    world.check("the plain listeners refuse other methods", |w| {
        for (origin, path) in [("PECHAT_PUBLIC_URL", "/livez"), ("PECHAT_METRICS_URL", "/metrics")] {
            let url = format!("{}{path}", w.appliance.env(origin));
            w.try_curl(None, &["-X", "POST", &url]).unwrap().problem(405, "wrong-method");
        }
    });
}

fn revocation(world: &World) {
    let (who, serial) = world.identity("land-agency", "registry-service", "short-lived");
    let path = format!("/v1/certificates/{serial}/revocation");
    let officer = world.officer(2);
    world.check("a revocation without a known reason is malformed", |w| {
        for body in
            [json!({}), json!({ "reason": "dislike" }), json!({ "reason": "superseded", "quietly": true })]
        {
            w.post_json(&officer, &path, &body).problem(400, "malformed-request");
        }
    });
    world.check("the next request on a live connection is refused once its certificate is revoked", |w| {
        runtime().block_on(async {
            let (root, credential) = (w.root(), who.credential());
            let mut live = Vec::new();
            for alpn in [&b"http/1.1"[..], b"h2"] {
                let greeting = Greeting { root: &root, credential: Some(&credential), alpn };
                let mut wire = Wire::greet(w.api(), &greeting).await.unwrap();
                assert_eq!(wire.get("/v1/journals").await.unwrap().status(), 200);
                live.push(wire);
            }
            let revoked = w.post_json(&officer, &path, &json!({ "reason": "key-compromise" }));
            assert_eq!(revoked.status, 200, "{}", revoked.text());
            // No pause: it holds from the answer on.
            for wire in &mut live {
                let answer = wire.get("/v1/journals").await.unwrap();
                assert_eq!(
                    (answer.status().as_u16(), problem(&answer).as_str()),
                    (403, "revoked-certificate")
                );
            }
        });
    });
    world.check("a new connection of a revoked certificate is refused everything", |w| {
        for path in ["/v1/journals", "/v1/openapi.json", "/v1/checkpoint"] {
            w.get(&who, path).problem(403, "revoked-certificate");
        }
        w.post_json(&who, &w.entries(), &w.entry()).problem(403, "revoked-certificate");
        w.post(&who, "/tsa", "application/timestamp-query", b"").problem(403, "revoked-certificate");
    });
    world.check("the revoked certificate is on the list that everybody reads", |w| {
        let list = w.file(&w.plain("/crl/ca-production.crl").body);
        let text = openssl(&["crl", "-inform", "DER", "-in", list.to_str().unwrap(), "-noout", "-text"]);
        let text = String::from_utf8(text).unwrap();
        let entry =
            text.split(&format!("Serial Number: {}", serial.to_uppercase())).nth(1).expect("the serial");
        assert!(entry.contains("Key Compromise"), "{text}");
    });
    world.check("it is revoked once, and unknown ones never", |w| {
        let reason = json!({ "reason": "superseded" });
        w.post_json(&officer, &path, &reason).problem(409, "revoked-already");
        for serial in ["40".repeat(20), "00".repeat(20), "ff".repeat(20), "x".into(), "..%2f".into()] {
            let path = format!("/v1/certificates/{serial}/revocation");
            w.post_json(&officer, &path, &reason).problem(404, "not-found");
        }
    });
    world.check("a key that was compromised gets no certificate again, in no environment", |w| {
        let key = who.key.to_str().unwrap();
        let csr = String::from_utf8(openssl(&["req", "-new", "-key", key, "-subj", "/"])).unwrap();
        for (environment, name) in [("production", "short-lived"), ("test", "another")] {
            let wanted = wanted("land-agency", environment, "registry-service", name, &csr);
            w.post_json(&officer, "/v1/certificates", &wanted).problem(409, "key-in-use");
        }
    });
}
