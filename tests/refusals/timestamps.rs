//! `/tsa`: rejections in TSP's own words with status 200, problem documents for what is no query at all.

use std::path::Path;

use crate::world::{Answer, World, openssl, query};

const QUERY: &str = "application/timestamp-query";

/// PKIFailureInfo (RFC 3161 section 2.4.2): name, the last element of the reply, OpenSSL's words for it.
const FAILURES: [(&str, &[u8], &str); 5] = [
    ("badAlg", &[3, 2, 7, 0x80], "unrecognized or unsupported algorithm identifier"),
    ("badRequest", &[3, 2, 5, 0x20], "transaction not permitted or supported"),
    ("badDataFormat", &[3, 2, 2, 4], "the data submitted has the wrong format"),
    ("unacceptedPolicy", &[3, 3, 0, 0, 1], "the requested TSA policy is not supported by the TSA"),
    ("unacceptedExtension", &[3, 4, 7, 0, 0, 0x80], "the requested extension is not supported by the TSA"),
];

pub fn all(world: &World) {
    let good = query(&["-sha256", "-digest", &"5a".repeat(32)]);
    let (mut trailing, truncated) = (good.clone(), &good[..good.len() - 1]);
    trailing.push(0);
    let md5 = query(&["-md5", "-digest", &"5a".repeat(16)]);
    let policy = query(&["-sha256", "-digest", &"5a".repeat(32), "-tspolicy", "1.2.3.4"]);
    let rejections: [(&str, &[u8], &str); 8] = [
        ("what is not DER", b"not a query", "badDataFormat"),
        ("an empty body", b"", "badDataFormat"),
        ("a truncated query", truncated, "badDataFormat"),
        ("a query with a byte after it", &trailing, "badDataFormat"),
        ("a query of the greatest length that is read", &[0x30; 4096], "badDataFormat"),
        ("deep nesting", &[0x30, 0x80].repeat(2000), "badDataFormat"),
        ("MD5", &md5, "badAlg"),
        ("an unknown policy", &policy, "unacceptedPolicy"),
    ];
    for (what, query, failure) in rejections {
        world.check(&format!("{what} is rejected as {failure}"), |w| rejected(w, query, failure));
    }
    let vectors = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tsq")).unwrap();
    for vector in vectors {
        let path = vector.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        world.check(&format!("the query {name} is answered as its name says"), |w| {
            match name.split_once('-') {
                // Well-formed, but only the default policy is offered here.
                Some(("good", rest)) if rest.contains("tspolicy") => rejected(w, &bytes, "unacceptedPolicy"),
                Some(("good", _)) => granted(w, &bytes),
                Some((failure, _)) => rejected(w, &bytes, failure),
                None => panic!("a vector is named by what is wrong with it"),
            }
        });
    }
    problems(world, &good);
}

fn problems(world: &World, good: &[u8]) {
    let registry = world.registry();
    world.check("a query of 5 KiB is refused as too large", |w| {
        let detail = w.post(&registry, "/tsa", QUERY, &[0; 5 * 1024]).problem(413, "body-too-large");
        assert!(detail.contains("4096"), "{detail}");
    });
    for kind in ["application/octet-stream", "application/timestamp-reply", "text/plain", "nonsense", ""] {
        world.check(&format!("a query announced as {kind:?} is refused as of another type"), |w| {
            let detail = w.post(&registry, "/tsa", kind, good).problem(415, "unsupported-media-type");
            assert!(detail.contains(QUERY), "{detail}");
        });
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "NONSENSE"] {
        world.check(&format!("{method} /tsa is refused as the wrong method"), |w| {
            let headers = w.fresh("headers");
            let answer = w.ask(&registry, "/tsa", &["-X", method, "-D", headers.to_str().unwrap()]);
            answer.problem(405, "wrong-method");
            let headers = std::fs::read_to_string(headers).unwrap();
            assert!(headers.to_lowercase().contains("\r\nallow: post\r\n"), "{headers}");
        });
    }
    world.check("a path that is nearly /tsa is an unknown route", |w| {
        for path in ["/tsa/", "/TSA", "//tsa", "/tsa%00", "/v1/tsa", "/%74sa"] {
            let answer = w.post(&registry, path, QUERY, good);
            answer.problem(404, "unknown-route");
        }
    });
}

fn ask(world: &World, query: &[u8]) -> (Answer, String) {
    let answer = world.post(&world.registry(), "/tsa", QUERY, query);
    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (200, "application/timestamp-reply"),
        "{}",
        answer.text()
    );
    let reply = world.file(&answer.body);
    let text = openssl(&["ts", "-reply", "-text", "-in", reply.to_str().unwrap()]);
    (answer, String::from_utf8_lossy(&text).into_owned())
}

fn rejected(world: &World, query: &[u8], failure: &str) {
    let (_, bytes, words) = FAILURES.iter().find(|(name, ..)| *name == failure).expect("a known failure");
    let (answer, text) = ask(world, query);
    // PKIStatus rejection comes first, PKIFailureInfo last: there is no token.
    let body = answer.body.as_slice();
    assert_eq!(body.get(..7), Some(&[0x30, body[1], 0x30, body[3], 2, 1, 2][..]), "{body:02x?}");
    assert_eq!(usize::from(body[1]) + 2, body.len(), "{body:02x?}");
    assert!(body.ends_with(bytes), "{body:02x?} does not end with {bytes:02x?}");
    for line in ["Status: Rejected.", &format!("Failure info: {words}"), "TST info:\nNot included."] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let why = text.lines().find_map(|line| line.strip_prefix("Status description: ")).unwrap_or_default();
    assert!(why.len() > 10 && why != "unspecified", "{text}");
}

fn granted(world: &World, query: &[u8]) {
    world.appliance.wait_until_ready();
    let (_, text) = ask(world, query);
    assert!(text.contains("Status: Granted.") && text.contains("Failure info: unspecified"), "{text}");
}
