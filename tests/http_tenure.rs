//! Freeze and hand-over over HTTP: two officers, one text, and what registers get afterwards.

#[allow(dead_code)]
mod pki;
#[allow(dead_code)]
mod service;
#[allow(dead_code)]
mod wire;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use pechat::access::Role;
use pechat::http::limit::Limits;
use pechat::institution::Institution;
use pechat::journal::tenure::Statement;
use serde_json::{Value, json};
use service::{Service, id};
use wire::{Wire, problem};

const JSON: &str = "application/json";
const TEXT: &str = "Order 17 of the director";

/// Two officers, a journal `land` of the cadastre, two other institutions.
async fn town() -> Service {
    let mut service = Service::start(Limits::default()).await;
    for officer in ["ana", "boris"] {
        service.add("operator", officer, Role::ControlAdministrator);
    }
    for (institution, name) in [("cadastre", "registry"), ("ministry", "heir"), ("tax-office", "stranger")] {
        service.add(institution, name, Role::RegistryService);
        let now = service.app.clock.permit().unwrap().reading.utc;
        let domain = format!("{institution}.example");
        let made = Institution::new(id(institution), institution.into(), "BG".into(), None, domain).unwrap();
        service.app.issuer.register(made, "init", now).await.unwrap();
    }
    service.add("ministry", "auditor", Role::Auditor);
    service.open_journal("land", "cadastre").await;
    service
}

async fn post(service: &Service, who: &str, path: &str, body: &Value) -> Response<Bytes> {
    let mut wire: Wire = service.connect(who).await;
    wire.ask("POST", path, JSON, Body::from(body.to_string())).await.unwrap()
}

async fn get(service: &Service, who: &str, path: &str) -> Response<Bytes> {
    service.connect(who).await.get(path).await.unwrap()
}

fn json_of(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

fn digest(number: u8) -> Value {
    let request_id = format!("{number:032x}");
    json!({ "request_id": request_id, "digest": pechat::digest::Digest::of(&[number]) })
}

async fn freeze(service: &Service, who: &str, text: &str) -> Response<Bytes> {
    post(service, who, "/v1/journals/land/freeze", &json!({ "description": text })).await
}

async fn hand_over(service: &Service, who: &str, to: &str) -> Response<Bytes> {
    let body = json!({ "to": to, "description": TEXT });
    post(service, who, "/v1/journals/land/hand-over", &body).await
}

fn refusal(answer: &Response<Bytes>) -> (u16, String) {
    (answer.status().as_u16(), problem(answer))
}

#[tokio::test]
async fn two_officers_freeze_a_journal_and_reads_go_on() {
    let service = town().await;
    let sealed = post(&service, "registry", "/v1/journals/land/entries", &digest(1)).await;
    assert_eq!(sealed.status(), 201);
    for (who, text) in [("ana", TEXT), ("ana", TEXT), ("boris", "Order 18")] {
        let answer = freeze(&service, who, text).await;
        assert_eq!((answer.status().as_u16(), &json_of(&answer)["seq"]), (202, &Value::Null), "{who} {text}");
        assert_eq!(json_of(&answer)["state"], "awaiting-second-officer");
    }
    let still = post(&service, "registry", "/v1/journals/land/entries", &digest(2)).await;
    assert_eq!(still.status(), 201, "one officer changes nothing");

    let done = freeze(&service, "boris", TEXT).await;
    assert_eq!((done.status().as_u16(), &json_of(&done)["seq"]), (200, &json!(3)));
    let late = post(&service, "registry", "/v1/journals/land/entries", &digest(3)).await;
    assert_eq!(refusal(&late), (409, "journal-frozen".into()));
    assert!(json_of(&late)["detail"].as_str().unwrap().contains("entry 3"), "{late:?}");
    let again = post(&service, "registry", "/v1/journals/land/entries", &digest(1)).await;
    assert_eq!((again.status().as_u16(), again.body()), (201, sealed.body()));
    assert_eq!(refusal(&freeze(&service, "ana", TEXT).await), (409, "journal-frozen".into()));
    assert_eq!(refusal(&hand_over(&service, "ana", "ministry").await), (409, "journal-frozen".into()));

    let shown = json_of(&get(&service, "registry", "/v1/journals/land").await);
    assert_eq!((&shown["frozen"], &shown["size"]), (&json!(3), &json!(4)));
    let told = json_of(&get(&service, "registry", "/v1/journals/land/statements").await);
    assert_eq!(
        (&told[0]["seq"], &told[0]["kind"], told.as_array().unwrap().len()),
        (&json!(3), &json!(9), 1)
    );
    let said = Statement::parse(told[0]["statement"].as_str().unwrap().as_bytes()).unwrap();
    let persons: Vec<_> = said.agreed_by.iter().map(|by| &*by.person).collect();
    assert_eq!((persons, &*said.description), (vec!["operator/ana", "operator/boris"], TEXT));
    for path in ["receipts/1", "checkpoint", "export", "range?first=0&count=3"] {
        let answer = get(&service, "registry", &format!("/v1/journals/land/{path}")).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_journal_handed_over_is_the_new_owners_alone() {
    let service = town().await;
    let sealed = post(&service, "registry", "/v1/journals/land/entries", &digest(1)).await;
    for refused in ["heir", "stranger"] {
        let early = post(&service, refused, "/v1/journals/land/entries", &digest(9)).await;
        assert_eq!(refusal(&early), (404, "not-found".into()), "{refused}");
    }
    assert_eq!(
        refusal(&hand_over(&service, "ana", "nobody-here").await),
        (404, "unknown-institution".into())
    );
    assert_eq!(refusal(&hand_over(&service, "ana", "cadastre").await), (409, "owner-already".into()));
    assert_eq!(hand_over(&service, "ana", "ministry").await.status(), 202);
    assert_eq!(hand_over(&service, "boris", "tax-office").await.status(), 202, "another order");
    let done = hand_over(&service, "boris", "ministry").await;
    assert_eq!((done.status().as_u16(), &json_of(&done)["seq"]), (200, &json!(2)));

    let late = post(&service, "registry", "/v1/journals/land/entries", &digest(2)).await;
    assert_eq!(refusal(&late), (409, "journal-handed-over".into()));
    let again = post(&service, "registry", "/v1/journals/land/entries", &digest(1)).await;
    assert_eq!((again.status().as_u16(), again.body()), (201, sealed.body()), "its receipt, again");
    for path in ["", "/receipts/1", "/export", "/statements"] {
        let answer = get(&service, "registry", &format!("/v1/journals/land{path}")).await;
        assert_eq!(refusal(&answer), (404, "not-found".into()), "{path}");
    }
    let stranger = post(&service, "stranger", "/v1/journals/land/entries", &digest(3)).await;
    assert_eq!(refusal(&stranger), (404, "not-found".into()));

    let first = post(&service, "heir", "/v1/journals/land/entries", &digest(4)).await;
    assert_eq!((first.status().as_u16(), &json_of(&first)["receipts"][0]["first"]), (201, &json!(3)));
    assert_eq!(json_of(&get(&service, "heir", "/v1/journals/land").await)["institution"], "ministry");
    let told = json_of(&get(&service, "heir", "/v1/journals/land/statements").await);
    let said = Statement::parse(told[0]["statement"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!((said.institution, said.to), (id("cadastre"), Some(id("ministry"))));
    // The agreement about another heir was to an order of the cadastre's journal: it counts no more.
    assert_eq!(hand_over(&service, "ana", "tax-office").await.status(), 202);
}

#[tokio::test]
async fn orders_of_others_about_own_journals_or_without_a_reason_are_refused() {
    let mut service = town().await;
    for who in ["registry", "heir", "auditor"] {
        assert_eq!(refusal(&freeze(&service, who, TEXT).await), (403, "role-not-allowed".into()), "{who}");
        assert_eq!(refusal(&hand_over(&service, who, "ministry").await).0, 403, "{who}");
    }
    let own = post(&service, "ana", "/v1/journals/own.events/freeze", &json!({ "description": TEXT })).await;
    assert_eq!(refusal(&own), (409, "own-journal".into()));
    for text in ["", "  ", &"x".repeat(4097)] {
        assert_eq!(refusal(&freeze(&service, "ana", text).await), (400, "order-description".into()));
    }
    let unknown = post(&service, "ana", "/v1/journals/sea/freeze", &json!({ "description": TEXT })).await;
    assert_eq!(refusal(&unknown), (404, "not-found".into()));
    assert_eq!(freeze(&service, "ana", TEXT).await.status(), 202);
    service.change("ana", |identity| identity.revoked = true);
    assert_eq!(freeze(&service, "boris", TEXT).await.status(), 202, "a revoked officer's agreement is none");
    let sealed = post(&service, "registry", "/v1/journals/land/entries", &digest(1)).await;
    assert_eq!(sealed.status(), 201);
}
