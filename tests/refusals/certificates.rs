//! Certificate requests that are not worth signing, and decisions that do not count.

use std::path::Path;

use base64ct::{Base64, Encoding};
use serde_json::json;

use crate::world::{World, agree, openssl, wanted};

pub fn all(world: &World) {
    keys_and_encodings(world);
    names_and_lengths(world);
    decisions(world);
}

fn refused(world: &World, csr: &str, words: &str) {
    let wanted = wanted("land-agency", "production", "registry-service", "candidate", csr);
    let answer = world.post_json(&world.officer(1), "/v1/certificates", &wanted);
    let detail = answer.problem(400, "csr-refused");
    assert!(detail.contains(words), "{words:?} is not in {detail}");
}

fn made(world: &World, key: &[&str], more: &[&str]) -> String {
    let file = world.fresh("key");
    let file = file.to_str().unwrap();
    openssl(&[&["genpkey", "-out", file], key].concat());
    String::from_utf8(openssl(&[&["req", "-new", "-key", file, "-subj", "/"], more].concat())).unwrap()
}

fn keys_and_encodings(world: &World) {
    let ec = |option: &'static str| {
        vec!["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", option]
    };
    let rsa = |bits: &'static str| vec!["-algorithm", "RSA", "-pkeyopt", bits];
    let exponent = [rsa("rsa_keygen_bits:3072"), vec!["-pkeyopt", "rsa_keygen_pubexp:3"]].concat();
    let p224 = vec!["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"];
    for (what, key, words) in [
        ("RSA of 1024 bits", rsa("rsa_keygen_bits:1024"), "1024 bits"),
        ("RSA of 2048 bits in production", rsa("rsa_keygen_bits:2048"), "3072 bits, not 2048"),
        ("RSA with the exponent 3", exponent, "exponent is not 65537"),
        ("a curve that is written out", ec("ec_param_enc:explicit"), "not P-256 or P-384 by name"),
        ("P-224", p224, "not P-256 or P-384 by name"),
        ("Ed25519", vec!["-algorithm", "ED25519"], "key algorithm 1.3.101.112 is not taken"),
    ] {
        world.check(&format!("{what} is refused"), |w| refused(w, &made(w, &key, &[]), words));
    }
    world.check("SHA-1 is refused", |w| {
        let csr = made(w, &ec("ec_param_enc:named_curve"), &["-sha1"]);
        refused(w, &csr, "signature algorithm 1.2.840.10045.4.1 is not taken");
    });
    let (_, good) = world.key_and_csr();
    world.check("a signature that does not verify is refused", |w| {
        let mut der = unarmoured(&good);
        // The last byte belongs to the signature's s.
        *der.last_mut().unwrap() ^= 1;
        refused(w, &armoured(&der), "possession of the private key is not proven");
    });
    world.check("PEM with two blocks is refused", |w| {
        refused(w, &format!("{good}{good}"), "not one CERTIFICATE REQUEST")
    });
    world.check("PEM of something else is refused", |w| {
        refused(w, &good.replace("CERTIFICATE REQUEST", "CERTIFICATE"), "its label is");
    });
    world.check("text is refused", |w| refused(w, "please", "not a PKCS #10 request"));
    world.check("an empty request is refused", |w| refused(w, "", "1 to 65536 bytes, not 0"));
    world.check("100 KB are refused", |w| refused(w, &"A".repeat(100 * 1024), "not 102400"));
    world.check("a request that nests 30,000 times is refused", |w| {
        refused(w, &armoured(&[0x30, 0x80].repeat(20_000)), "not a PKCS #10 request");
    });
    let vectors = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/csr")).unwrap();
    for path in vectors.map(|vector| vector.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("good-") || name == "README.md" {
            continue;
        }
        world.check(&format!("the request {name} is refused"), |w| {
            let bytes = std::fs::read(&path).unwrap();
            let csr =
                if name.ends_with(".pem") { String::from_utf8(bytes).unwrap() } else { armoured(&bytes) };
            refused(w, &csr, "");
        });
    }
}

fn unarmoured(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&lines).unwrap()
}

fn armoured(der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}

fn names_and_lengths(world: &World) {
    let officer = world.officer(1);
    let key = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for subject in
        ["/CN=birth-register.civil-registry.example.gov", "/C=ME", "/CN=*.land-agency.example.gov", "/OU=x"]
    {
        world.check(&format!("a request for {subject} is refused: the record says otherwise"), |w| {
            refused(w, &made(w, &key, &["-subj", subject]), "the record says");
        });
    }
    for extension in [
        "subjectAltName=DNS:*.example.gov",
        "subjectAltName=IP:127.0.0.1",
        "basicConstraints=CA:TRUE",
        "extendedKeyUsage=timeStamping",
        "keyUsage=keyCertSign",
    ] {
        world.check(&format!("a request for {extension} is refused"), |w| {
            refused(w, &made(w, &key, &["-addext", extension]), "the request");
        });
    }
    let (_, csr) = world.key_and_csr();
    for name in [
        "",
        "Upper",
        "a b",
        "a.b",
        "-a",
        "../x",
        "имя",
        &"a".repeat(41),
        &"a".repeat(200_000),
        &"\u{1}".repeat(40_000),
    ] {
        world.check(&format!("{:?} names nobody", start(name)), |w| {
            let wanted = wanted("land-agency", "production", "registry-service", name, &csr);
            w.post_json(&officer, "/v1/certificates", &wanted).problem(400, "institution-data-refused");
        });
    }
    world.check("an institution that is not registered gets no certificate", |w| {
        let wanted = wanted("nobody", "production", "registry-service", "candidate", &csr);
        w.post_json(&officer, "/v1/certificates", &wanted).problem(404, "not-found");
    });
    world.check("roles of people are certified in production only", |w| {
        let wanted = wanted("land-agency", "test", "auditor", "candidate", &csr);
        w.post_json(&officer, "/v1/certificates", &wanted).problem(400, "role-needs-production");
    });
    world.check("an unknown role, environment or field is malformed", |w| {
        for body in [
            wanted("land-agency", "production", "root", "candidate", &csr),
            wanted("land-agency", "live", "registry-service", "candidate", &csr),
            wanted("Land Agency", "production", "registry-service", "candidate", &csr),
            json!({ "csr": csr }),
            json!([csr, "land-agency", "production", "registry-service", "candidate"]),
        ] {
            w.post_json(&officer, "/v1/certificates", &body).problem(400, "malformed-request");
        }
    });
    world.check("a body over 256 KiB is too large", |w| {
        let body = wanted("land-agency", "test", "registry-service", "candidate", &"A".repeat(256 * 1024));
        w.post_json(&officer, "/v1/certificates", &body).problem(413, "body-too-large");
    });
    world.check("a key that another identity has is refused", |w| {
        let key = w.registry().key;
        let csr = openssl(&["req", "-new", "-key", key.to_str().unwrap(), "-subj", "/"]);
        let csr = String::from_utf8(csr).unwrap();
        let wanted = wanted("civil-registry", "production", "registry-service", "candidate", &csr);
        w.post_json(&officer, "/v1/certificates", &wanted).problem(409, "key-in-use");
    });
    institutions(world);
}

fn start(text: &str) -> String {
    text.chars().take(20).collect()
}

fn institutions(world: &World) {
    let officer = world.officer(1);
    let good = json!({ "id": "new-agency", "organisation": "New Agency", "country": "BG", "domain": "new.example.gov" });
    for (field, value, kind) in [
        ("id", "New", "malformed-request"),
        ("id", "", "malformed-request"),
        ("organisation", "", "institution-data-refused"),
        ("organisation", " New", "institution-data-refused"),
        ("organisation", &"\u{7}".repeat(40_000), "institution-data-refused"),
        ("country", "bg", "institution-data-refused"),
        ("domain", "*.example.gov", "institution-data-refused"),
        ("domain", "localhost", "institution-data-refused"),
        ("organisation_identifier", "123", "institution-data-refused"),
        ("owner", "me", "malformed-request"),
    ] {
        world.check(&format!("an institution with the {field} {:?} is refused", start(value)), |w| {
            let mut body = good.clone();
            body[field] = json!(value);
            w.post_json(&officer, "/v1/institutions", &body).problem(400, kind);
        });
    }
    world.check("an institution is registered once, and so is its domain", |w| {
        for (id, domain) in [("land-agency", "other.example.gov"), ("another", "land-agency.example.gov")] {
            let body = json!({ "id": id, "organisation": "Another", "country": "BG", "domain": domain });
            w.post_json(&officer, "/v1/institutions", &body).problem(409, "institution-exists");
        }
    });
}

fn decisions(world: &World) {
    let (first, second) = (world.officer(1), world.officer(2));
    let (_, request) = world.pending("land-agency", "registry-service", "decided");
    let agreed = agree(&request);
    let refusal =
        json!({ "clause": "do-not-agree", "tbs_sha256": request["tbs_sha256"], "reason": "not asked for" });
    let state = |w: &World| {
        let path = format!("/v1/certificate-requests/{}", request["id"].as_str().unwrap());
        w.get(&first, &path).json()["state"].clone()
    };
    world.check("a decision that is none is malformed", |w| {
        for body in [
            json!({}),
            json!({ "clause": "agree" }),
            json!({ "clause": "maybe", "tbs_sha256": request["tbs_sha256"] }),
            json!({ "clause": "agree", "tbs_sha256": "abcd" }),
            json!({ "clause": "agree", "tbs_sha256": request["tbs_sha256"], "officer": "officer2" }),
        ] {
            w.decide(&first, &request, &body).problem(400, "malformed-request");
        }
    });
    world.check("a decision over other bytes does not count", |w| {
        let other = json!({ "clause": "agree", "tbs_sha256": "ab".repeat(32) });
        w.decide(&first, &request, &other).problem(409, "other-bytes");
    });
    world.check("only officers decide", |w| {
        for who in [w.registry(), w.other_registry(), w.auditor()] {
            w.decide(&who, &request, &agreed).problem(403, "role-not-allowed");
        }
    });
    world.check("an unknown request cannot be decided", |w| {
        for id in
            ["0".repeat(32), "x".into(), "%00".into(), "..%2f".into(), "' OR 1=1 --".replace(' ', "%20")]
        {
            w.decide(&first, &json!({ "id": id }), &agreed).problem(404, "not-found");
        }
    });
    world.check("do-not-agree needs a reason that lasts", |w| {
        for reason in
            [json!(null), json!(""), json!("   "), json!("x".repeat(1001)), json!("x".repeat(200_000))]
        {
            let body =
                json!({ "clause": "do-not-agree", "tbs_sha256": request["tbs_sha256"], "reason": reason });
            w.decide(&first, &request, &body).problem(400, "reason-needed");
        }
    });
    world.check("nothing of all that moved the request", |w| assert_eq!(state(w), "awaiting-agreement"));
    world.check("one officer does not count twice", |w| {
        assert_eq!(w.decide(&first, &request, &agreed).status, 200);
        w.decide(&first, &request, &agreed).problem(409, "decided-already");
        assert_eq!(state(w), "awaiting-agreement");
    });
    world.check("do-not-agree is final", |w| {
        let answer = w.decide(&second, &request, &refusal);
        assert_eq!(answer.status, 200, "{}", answer.text());
        for who in [&first, &second] {
            let detail = w.decide(who, &request, &agreed).problem(409, "request-closed");
            assert!(detail.contains("cannot be decided"), "{detail}");
        }
        let serial = request["serial"].as_str().unwrap();
        w.get(&first, &format!("/v1/certificates/{serial}")).problem(404, "not-found");
    });
    world.check("an agreement that comes too late, or again, issues nothing more", |w| {
        let (_, request) = w.pending("land-agency", "registry-service", "issued");
        let agreed = agree(&request);
        for who in [&first, &second] {
            assert_eq!(w.decide(who, &request, &agreed).status, 200);
        }
        let count = || w.get(&first, "/v1/certificates").json().as_array().unwrap().len();
        let before = count();
        for who in [&first, &second, &first] {
            w.decide(who, &request, &agreed).problem(409, "request-closed");
        }
        assert_eq!(count(), before);
    });
    world.check("an officer does not decide on a certificate of his own", |w| {
        let (_, request) = w.pending("authority", "control-administrator", "officer1");
        w.decide(&first, &request, &agree(&request)).problem(403, "not-allowed-to-decide");
    });
    world.check("a name that is in force has one role", |w| {
        let (_, csr) = w.key_and_csr();
        let wanted = wanted("authority", "production", "auditor", "officer1", &csr);
        w.post_json(&second, "/v1/certificates", &wanted).problem(409, "name-taken");
    });
}
