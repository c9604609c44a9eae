//! Register numbers: counts that cannot be, institutions without a code, numbers that are none.

use serde_json::json;

use crate::world::World;

const PATH: &str = "/v1/identifiers";

pub fn all(world: &World) {
    let registry = world.registry();
    world.check("a count that cannot be is refused with the bounds named", |w| {
        for count in [0, 1001, u32::MAX] {
            let detail = w.post_json(&registry, PATH, &json!({ "count": count })).problem(400, "count");
            assert!(detail.contains("1 to 1000"), "{detail}");
        }
    });
    world.check("a body that is none of ours gives no number", |w| {
        for body in
            ["", "[]", "{\"count\":-1}", "{\"count\":\"3\"}", "{\"count\":1,\"day\":1}", "{\"count\":1"]
        {
            let answer = w.post(&registry, PATH, "application/json", body.as_bytes());
            answer.problem(400, "malformed-request");
        }
        w.post(&registry, PATH, "text/plain", b"{}").problem(415, "unsupported-media-type");
    });
    world.check("an institution without an owner code gets no number", |w| {
        let stranger = w.identity("court-agency", "registry-service", "numberless").0;
        let detail = w.post_json(&stranger, PATH, &json!({})).problem(409, "no-owner-code");
        assert!(detail.contains("court-agency"), "{detail}");
    });
    world.check("numbers follow each other across all of that", |w| {
        let take = |w: &World| w.post_json(&registry, PATH, &json!({ "count": 2 })).json();
        let (first, second) = (take(w), take(w));
        let increment = |answer: &serde_json::Value, at: usize| -> u32 {
            answer["identifiers"][at].as_str().unwrap()[9..15].parse().unwrap()
        };
        assert_eq!(increment(&first, 1) + 1, increment(&second, 0), "{first} {second}");
    });
    wrong_numbers(world);
}

fn wrong_numbers(world: &World) {
    world.check("a register number with a wrong check digit seals nothing", |w| {
        let (registry, path) = (w.registry(), w.entries());
        let size = w.size();
        for number in ["2475001150024594", "2475000000000007", "2475009990000002"] {
            let mut entry = w.entry();
            entry["request_id"] = json!(number);
            let detail = w.post_json(&registry, &path, &entry).problem(400, "bad-register-number");
            assert!(detail.contains(number), "{detail}");
            let list = json!({ "entries": [w.entry(), entry] });
            w.post_json(&registry, &path, &list).problem(400, "bad-register-number");
        }
        assert_eq!(w.size(), size);
    });
    world.check("a right one seals, once for one digest", |w| {
        let (registry, path, mut entry) = (w.registry(), w.entries(), w.entry());
        entry["request_id"] = json!("2475001150024593");
        let sealed = w.post_json(&registry, &path, &entry);
        assert_eq!(sealed.status, 201, "{}", sealed.text());
        entry["digest"] = json!("ab".repeat(32));
        w.post_json(&registry, &path, &entry).problem(409, "request-id-conflict");
    });
}
