//! Journals: names that are not the caller's, bodies that are not ours, numbers that are not there.

use serde_json::json;

use crate::world::{Who, World};

const JSON: &str = "application/json";
const ID: &str = "00112233445566778899aabbccddeeff";

pub fn all(world: &World) {
    names(world);
    own_journals(world);
    world.check("no refused body was sealed", |w| {
        let before = w.size();
        bodies(w);
        assert_eq!(w.size(), before);
    });
    conflicts(world);
    numbers(world);
    opening(world);
}

/// The detail of the 404 for a journal, with its name taken out.
fn unknown(world: &World, who: &Who, name: &str, rest: &str) -> String {
    let path = format!("/v1/journals/{name}{rest}");
    let answer = match rest {
        "/entries" => world.post_json(who, &path, &world.entry()),
        _ => world.get(who, &path),
    };
    let action = answer.json()["action"].clone();
    format!("{} {action}", answer.problem(404, "not-found").replace(&format!("{name:?}"), "NAME"))
}

const RESTS: [&str; 7] = [
    "",
    "/entries",
    "/receipts/0",
    "/checkpoint",
    "/range?first=0&count=1",
    "/consistency?old=0&new=1",
    "/export",
];

fn names(world: &World) {
    let registry = world.registry();
    for rest in RESTS {
        world.check(&format!("another institution's journal reads like an unknown one: {rest:?}"), |w| {
            let other = unknown(w, &registry, "birth-register", rest);
            assert_eq!(other, unknown(w, &registry, "no-such-journal", rest));
            assert!(other.contains("NAME"), "{other}");
        });
    }
    world.check("it exists all the same for its own institution", |w| {
        assert_eq!(w.get(&w.other_registry(), "/v1/journals/birth-register").status, 200);
    });
    let long = "a".repeat(5000);
    let odd = [
        "..%2fland-register",
        "land-register%2freceipts%2f0",
        "land-register%00",
        "Land-Register",
        "%2e%2e",
        "%00",
        "land-register%0a",
        "%e2%80%ae",
        "-",
        &long,
    ];
    for name in odd {
        world.check(&format!("{:.40} is no journal", name), |w| {
            w.get(&registry, &format!("/v1/journals/{name}")).problem(404, "not-found");
        });
    }
    world.check("a name that is not UTF-8 is malformed", |w| {
        w.get(&registry, "/v1/journals/%ff").problem(400, "malformed-request");
    });
    for path in [
        "/v1/journals/../journals/land-register",
        "/v1/journals/land-register/../birth-register",
        "/v1/journals/",
        "/v1//journals",
        "/../etc/passwd",
        "/v1/journals/land-register/entries/..",
    ] {
        world.check(&format!("{path} is an unknown route"), |w| {
            w.get(&registry, path).problem(404, "unknown-route");
        });
    }
}

fn own_journals(world: &World) {
    let (registry, auditor) = (world.registry(), world.auditor());
    let (controller, _) = world.identity("land-agency", "internal-controller", "controller");
    for name in
        ["own.timestamps", "own.certificates", "own.clock", "own.events", "own.twins", "own%2etimestamps"]
    {
        world.check(
            &format!("{name} is unknown to a registry service and to an institution's controller"),
            |w| {
                let plain = name.replace("%2e", ".");
                for rest in RESTS {
                    let said = unknown(w, &registry, name, rest).replace(&format!("{plain:?}"), "NAME");
                    assert_eq!(said, unknown(w, &registry, "no-such-journal", rest), "{rest}");
                }
                for rest in RESTS.into_iter().filter(|rest| *rest != "/entries") {
                    let said = unknown(w, &controller, name, rest).replace(&format!("{plain:?}"), "NAME");
                    assert_eq!(said, unknown(w, &controller, "no-such-journal", rest), "{rest}");
                }
            },
        );
        world.check(&format!("{name} is read by an auditor"), |w| {
            for rest in ["", "/receipts/0", "/checkpoint", "/range?first=0&count=1", "/export"] {
                assert_eq!(w.get(&auditor, &format!("/v1/journals/{name}{rest}")).status, 200, "{rest}");
            }
        });
        world.check(&format!("nobody writes to {name}, and officers do not read it"), |w| {
            let path = format!("/v1/journals/{name}/entries");
            w.post_json(&auditor, &path, &w.entry()).problem(403, "role-not-allowed");
            w.post_json(&w.officer(1), &path, &w.entry()).problem(403, "role-not-allowed");
            let receipt = format!("/v1/journals/{name}/receipts/0");
            w.get(&w.officer(1), &receipt).problem(403, "role-not-allowed");
        });
    }
    world.check("a register's list has its own journals only", |w| {
        for who in [&registry, &controller] {
            let list = w.get(who, "/v1/journals").json();
            let names: Vec<_> =
                list.as_array().unwrap().iter().map(|j| j["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["land-register"]);
        }
    });
}

fn bodies(world: &World) {
    let digest = "ab".repeat(32);
    let one = |more: &str| format!("{{\"request_id\":\"{ID}\",\"digest\":\"{digest}\"{more}}}");
    let many: Vec<_> = (0..5000).map(|_| world.entry()).collect();
    let twice = world.entry();
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        ("an empty body", vec![]),
        ("not JSON", b"seal this".into()),
        ("half of an object", one("").as_bytes()[..80].into()),
        ("text after the object", (one("") + "x").into()),
        ("an unknown field", one(",\"record\":\"secret\"").into()),
        ("a repeated field", one(&format!(",\"digest\":\"{digest}\"")).into()),
        ("fields as an array", format!("[\"{ID}\",\"{digest}\",null,null]").into()),
        ("entries as arrays", format!("{{\"entries\":[[\"{ID}\",\"{digest}\"]]}}").into()),
        ("an array nested 100,000 times", "[".repeat(100_000).into()),
        ("entries nested 100,000 times", format!("{{\"entries\":{}", "[".repeat(100_000)).into()),
        ("objects nested 100,000 times", "{\"entries\":".repeat(90_000).into()),
        ("1e999", one(",\"expect\":1e999").into()),
        ("a negative size", one(",\"expect\":-1").into()),
        ("a size beyond 64 bits", one(",\"expect\":18446744073709551616").into()),
        ("a fraction", one(",\"expect\":1.5").into()),
        ("NaN", one(",\"expect\":NaN").into()),
        ("a lone surrogate", format!("{{\"request_id\":\"\\ud800\",\"digest\":\"{digest}\"}}").into()),
        ("bytes that are not UTF-8", [b"{\"request_id\":\"\xff\xfe", digest.as_bytes(), b"\"}"].concat()),
        ("UTF-16", one("").encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a digest that is not hex", one("").replace("abab", "xyxy").into()),
        ("a digest that is too short", one("").replacen("ab", "", 1).into()),
        ("a digest that is too long", one("").replacen("ab", "abab", 1).into()),
        ("an id that is too short", one("").replace(ID, &ID[2..]).into()),
        ("an id of 200,000 characters", one("").replace(ID, &"a".repeat(200_000)).into()),
        ("a digest that is null", one("").replace(&format!("\"{digest}\""), "null").into()),
        ("a digest that is a number", one("").replace(&format!("\"{digest}\""), "7").into()),
        ("an id alone", format!("{{\"request_id\":\"{ID}\"}}").into()),
        ("one digest and a list", one(&format!(",\"entries\":[{}]", one(""))).into()),
        ("an empty object", b"{}".into()),
        ("null", b"null".into()),
        ("an id twice", json!({ "entries": [twice, twice] }).to_string().into()),
    ];
    let (registry, path) = (world.registry(), world.entries());
    for (what, body) in malformed {
        world.check(&format!("{what} is a malformed request"), |w| {
            let detail = w.post(&registry, &path, JSON, &body).problem(400, "malformed-request");
            assert!(detail.starts_with("the body ") || detail.starts_with("request id "), "{detail}");
        });
    }
    world.check("5,000 entries are too many", |w| {
        let body = json!({ "entries": many });
        let detail = w.post_json(&registry, &path, &body).problem(413, "count");
        assert!(detail.contains("5000") && detail.contains("4096"), "{detail}");
    });
    world.check("no entries are too few", |w| {
        w.post_json(&registry, &path, &json!({ "entries": [] })).problem(400, "count");
    });
    for http in ["--http1.1", "--http2"] {
        world.check(&format!("a body over 1 MiB is too large, {http}"), |w| {
            let (body, kind) = (w.file(&vec![b' '; (1 << 20) + 1]), "content-type: application/json");
            let body = format!("@{}", body.display());
            for more in [&[][..], &["-H", "transfer-encoding: chunked"], &["-H", "expect: 100-continue"]] {
                let arguments = [&[http, "-H", kind, "--data-binary", &body], more].concat();
                w.ask(&registry, &path, &arguments).problem(413, "body-too-large");
            }
        });
    }
    for http in ["--http1.1", "--http2"] {
        world.check(&format!("a refusal reaches a client that still sends a long body, {http}"), |w| {
            let body = format!("@{}", w.file(&vec![b' '; 3 << 20]).display());
            let long = |kind: &'static str| ["--data-binary", &body, "-H", kind, http].map(str::to_owned);
            let ask = |who: &Who, path: &str, kind: &'static str| {
                let arguments = long(kind);
                w.ask(who, path, &arguments.each_ref().map(String::as_str))
            };
            let json = "content-type: application/json";
            ask(&registry, &path, "content-type: text/plain").problem(415, "unsupported-media-type");
            ask(&registry, "/tsa", json).problem(415, "unsupported-media-type");
            ask(&registry, "/nowhere", json).problem(404, "unknown-route");
            ask(&registry, "/v1/journals/birth-register/entries", json).problem(404, "not-found");
            ask(&w.auditor(), &path, json).problem(403, "role-not-allowed");
        });
    }
    for kind in ["text/json", "application/x-www-form-urlencoded", "application/json5", ""] {
        world.check(&format!("a body of type {kind:?} is refused as of another type"), |w| {
            w.post(&registry, &path, kind, one("").as_bytes()).problem(415, "unsupported-media-type");
        });
    }
    for query in ["?entries=most", "?surprise=1", "?entries=full&entries=full", "?entries=%ff"] {
        world.check(&format!("the query string {query} is malformed"), |w| {
            w.post(&registry, &format!("{path}{query}"), JSON, one("").as_bytes())
                .problem(400, "malformed-request");
        });
    }
}

fn conflicts(world: &World) {
    let (registry, path) = (world.registry(), world.entries());
    let first = world.entry();
    world.check("a request id that seals another digest is a conflict and seals nothing", |w| {
        let sealed = w.post_json(&registry, &path, &first);
        assert_eq!(sealed.status, 201, "{}", sealed.text());
        let size = w.size();
        let mut other = first.clone();
        other["digest"] = json!("cd".repeat(32));
        let detail = w.post_json(&registry, &path, &other).problem(409, "request-id-conflict");
        assert!(detail.contains(first["request_id"].as_str().unwrap()), "{detail}");
        let list = json!({ "entries": [w.entry(), other] });
        w.post_json(&registry, &path, &list).problem(409, "request-id-conflict");
        assert_eq!(w.size(), size);
        // The same again is not a conflict: it has the receipt it had.
        assert_eq!(w.post_json(&registry, &path, &first).body, sealed.body);
    });
    world.check("a stale expectation is a conflict and seals nothing", |w| {
        let size = w.size();
        for expect in [0, size - 1, size + 1, u64::MAX] {
            let mut stale = w.entry();
            stale["expect"] = json!(expect);
            let detail = w.post_json(&registry, &path, &stale).problem(409, "stale-expectation");
            assert!(detail.contains(&size.to_string()) && detail.contains(&expect.to_string()), "{detail}");
        }
        assert_eq!(w.size(), size);
    });
}

fn numbers(world: &World) {
    let registry = world.registry();
    world.check("a receipt beyond the end is not there", |w| {
        let size = w.size();
        for seq in [size, size + 1, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            let detail =
                w.get(&registry, &w.journal(&format!("receipts/{seq}"))).problem(404, "beyond-journal");
            assert!(detail.contains(&seq.to_string()), "{detail}");
        }
    });
    for seq in ["-1", "18446744073709551616", "1e3", "0x1", "1.0", "one", "%20", "٣"] {
        world.check(&format!("the sequence number {seq} is malformed"), |w| {
            w.get(&registry, &w.journal(&format!("receipts/{seq}"))).problem(400, "malformed-request");
        });
    }
    for (query, status, kind) in [
        ("range?first=0&count=0", 400, "count"),
        ("range?first=0&count=4097", 400, "count"),
        ("range?first=0&count=18446744073709551615", 400, "count"),
        ("range?first=0&count=4096", 404, "beyond-journal"),
        ("range?first=18446744073709551615&count=4096", 404, "beyond-journal"),
        ("range?first=18446744073709551615&count=1", 404, "beyond-journal"),
        ("range?first=-1&count=1", 400, "malformed-request"),
        ("range?first=0&count=-1", 400, "malformed-request"),
        ("range?first=0", 400, "malformed-request"),
        ("range?first=0&first=0&count=1", 400, "malformed-request"),
        ("range?first=0&count=1&full=1", 400, "malformed-request"),
        ("range?first=99999999999999999999999&count=1", 400, "malformed-request"),
        ("range", 400, "malformed-request"),
        ("consistency?old=2&new=1", 400, "malformed-request"),
        ("consistency?old=0&new=18446744073709551615", 404, "beyond-journal"),
        ("consistency?old=18446744073709551615&new=18446744073709551615", 404, "beyond-journal"),
        ("consistency?old=-1&new=1", 400, "malformed-request"),
        ("consistency?new=1", 400, "malformed-request"),
    ] {
        world.check(&format!("{query} is {kind}"), |w| {
            w.get(&registry, &w.journal(query)).problem(status, kind);
        });
    }
}

fn opening(world: &World) {
    let officer = world.officer(1);
    let open = |name: &str, institution: &str| json!({ "name": name, "institution": institution });
    for name in ["", "own.secret", "../x", "a/b", "Upper", "1a", "a.b", &"a".repeat(64), "ж"] {
        world.check(&format!("a journal is not opened as {name:?}"), |w| {
            w.post_json(&officer, "/v1/journals", &open(name, "land-agency"))
                .problem(400, "malformed-request");
        });
    }
    world.check("a journal of the appliance's own is not opened by anybody", |w| {
        let own = open("own.timestamps", "land-agency");
        w.post_json(&officer, "/v1/journals", &own).problem(400, "bad-journal-name");
    });
    world.check("a journal is opened once, and for a registered institution", |w| {
        let again = open("land-register", "land-agency");
        w.post_json(&officer, "/v1/journals", &again).problem(409, "journal-exists");
        let theirs = open("land-register", "civil-registry");
        w.post_json(&officer, "/v1/journals", &theirs).problem(409, "journal-exists");
        let nobody = open("a-new-one", "no-such-agency");
        w.post_json(&officer, "/v1/journals", &nobody).problem(404, "unknown-institution");
        let array = json!(["a-new-one", "land-agency"]);
        w.post_json(&officer, "/v1/journals", &array).problem(400, "malformed-request");
        w.get(&officer, "/v1/journals/a-new-one").problem(404, "not-found");
    });
}
