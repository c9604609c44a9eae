//! Lines 1 to 9: what is asked (RFC 3161 sections 2.1 and 2.4.1).

use super::{Judgement, Mark, Probe};
use crate::conformance::exchange::{Known, Seen, Sent};
use crate::conformance::judge::{FailInfo, granted, holds, refused};
use crate::conformance::query::Query;
use crate::digest::hex;
use crate::timestamp::Hash;
use crate::timestamp::tlv::{element, tag};

use Mark::{Clients, Rfc, Strict};

const SHA1: &[u8] = &[0x2B, 0x0E, 0x03, 0x02, 0x1A];
const MD5: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x02, 0x05];
/// A policy that nobody offers: 1.2.3.
const NOBODYS: &[u8] = &[tag::OID, 2, 0x2A, 0x03];

pub fn lines() -> Vec<Probe> {
    let mut all = versions();
    all.extend(hashes());
    all.extend(imprints());
    all.extend(policies());
    all.extend(nonces());
    all.extend(extras());
    all.extend(undecodable());
    all.extend(not_der());
    all
}

fn granted_as_asked() -> impl Fn(&Sent, &Seen) -> Judgement {
    granted(|sent, g| {
        holds(g.info.imprint == sent.queries[0].imprint_der(), "a token over another imprint")?;
        Ok("granted".into())
    })
}

fn versions() -> Vec<Probe> {
    let mut all = vec![Probe::query(("01a", Rfc), ("version 1", "granted"), |_, _| (), granted_as_asked())];
    for (id, sent, content) in [
        ("01b", "version 0", &[0][..]),
        ("01c", "version 2", &[2]),
        ("01d", "version 256", &[1, 0]),
        ("01e", "version -1", &[0xFF]),
    ] {
        let change = move |_: &Known, q: &mut Query| q.version = element(tag::INTEGER, &[content]);
        all.push(Probe::query(
            (id, Clients),
            (sent, "rejection, badRequest"),
            change,
            refused(FailInfo::BadRequest),
        ));
    }
    all
}

fn hashes() -> Vec<Probe> {
    let mut all = Vec::new();
    for (id, sent, hash) in
        [("02a", "SHA-256", Hash::Sha256), ("02b", "SHA-384", Hash::Sha384), ("02c", "SHA-512", Hash::Sha512)]
    {
        let change = move |_: &Known, q: &mut Query| *q = q.clone().over(hash);
        all.push(Probe::query((id, Rfc), (sent, "granted"), change, granted_as_asked()));
    }
    for (id, sent, oid, length) in [
        ("02d", "MD5", MD5, 16),
        ("02e", "SHA-1", SHA1, 20),
        ("02f", "an unknown hash (1.2.3)", &NOBODYS[2..], 32),
    ] {
        let change = move |_: &Known, q: &mut Query| {
            q.hash = oid.to_vec();
            q.imprint.truncate(length);
        };
        all.push(Probe::query((id, Rfc), (sent, "rejection, badAlg"), change, refused(FailInfo::BadAlg)));
    }
    all
}

fn imprints() -> Vec<Probe> {
    let mut all = Vec::new();
    for (id, sent, length) in [
        ("03a", "SHA-256 with 31 bytes", 31),
        ("03b", "SHA-256 with 33 bytes", 33),
        ("03c", "SHA-256 without a byte", 0),
        ("03d", "SHA-256 with 64 bytes", 64),
    ] {
        let change = move |_: &Known, q: &mut Query| q.imprint.resize(length, 7);
        let refused = refused(FailInfo::BadDataFormat);
        all.push(Probe::query((id, Clients), (sent, "rejection, badDataFormat"), change, refused));
    }
    let zeros = |_: &Known, q: &mut Query| q.imprint = vec![0; 32];
    all.push(Probe::query(("04a", Rfc), ("an imprint of zeros", "granted"), zeros, granted_as_asked()));
    let null = |_: &Known, q: &mut Query| q.parameters = vec![tag::NULL, 0];
    all.push(Probe::query(("04b", Rfc), ("hash parameters NULL", "granted"), null, granted_as_asked()));
    for (id, sent, parameters) in [
        ("04c", "hash parameters OCTET STRING", &[tag::OCTET_STRING, 0][..]),
        ("04d", "hash parameters SEQUENCE", &[tag::SEQUENCE, 0]),
    ] {
        let change = move |_: &Known, q: &mut Query| q.parameters = parameters.to_vec();
        all.push(Probe::query((id, Clients), (sent, "rejection, badAlg"), change, refused(FailInfo::BadAlg)));
    }
    all
}

fn policies() -> Vec<Probe> {
    let same = granted(|sent, g| {
        holds(
            element(tag::OID, &[g.info.policy]) == sent.queries[0].policy,
            format!("policy {}", hex(g.info.policy)),
        )?;
        Ok("granted, the policy asked for".into())
    });
    let default = |known: &Known, q: &mut Query| q.policy = element(tag::OID, &[&known.policy]);
    let any = granted(|_, g| Ok(format!("granted, policy {}", hex(g.info.policy))));
    let nobodys = |_: &Known, q: &mut Query| q.policy = NOBODYS.to_vec();
    let refusal = ("reqPolicy 1.2.3", "rejection, unacceptedPolicy");
    vec![
        Probe::query(("05a", Rfc), ("no reqPolicy", "granted, a policy"), |_, _| (), any),
        Probe::query(
            ("05b", Rfc),
            ("reqPolicy as in an ordinary token", "granted, that policy"),
            default,
            same,
        ),
        Probe::query(("05c", Rfc), refusal, nobodys, refused(FailInfo::UnacceptedPolicy)),
    ]
}

fn nonces() -> Vec<Probe> {
    let echoed = || {
        granted(|sent, g| {
            let asked = &sent.queries[0].nonce;
            let seen = g.info.nonce.unwrap_or_default();
            holds(seen == asked, format!("asked {}, token has {}", hex(asked), hex(seen)))?;
            Ok(if seen.is_empty() {
                "granted, no nonce".into()
            } else {
                format!("granted, nonce {}", hex(seen))
            })
        })
    };
    let mut all =
        vec![Probe::query(("06a", Rfc), ("no nonce", "granted, no nonce"), |_, q| q.nonce.clear(), echoed())];
    for (id, mark, sent, content) in [
        ("06b", Rfc, "nonce 0", &[0][..]),
        ("06c", Rfc, "nonce -1", &[0xFF]),
        ("06d", Rfc, "nonce 128 (00 80)", &[0, 0x80]),
        ("06e", Rfc, "nonce -129 (FF 7F)", &[0xFF, 0x7F]),
        ("06f", Rfc, "nonce of 3 bytes", &[1, 2, 3]),
        ("06g", Rfc, "nonce of 7 bytes", &[0x11; 7]),
        ("06h", Clients, "nonce of 8 bytes", &[0x7E; 8]),
        (
            "06i",
            Clients,
            "nonce of 9 bytes, unsigned 64 bits",
            &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ),
        ("06j", Clients, "nonce of 20 bytes", &[0x55; 20]),
    ] {
        let change = move |_: &Known, q: &mut Query| q.nonce = element(tag::INTEGER, &[content]);
        all.push(Probe::query((id, mark), (sent, "granted, the same INTEGER"), change, echoed()));
    }
    all
}

fn extras() -> Vec<Probe> {
    let with = granted(|_, g| {
        g.unit()?;
        Ok(format!("{} certificates, the signer's among them", g.token.certificates.iter().flatten().count()))
    });
    let without = granted(|_, g| {
        holds(g.token.certificates.is_none(), "the certificates field is there")?;
        Ok("no certificates".into())
    });
    let asked = ("certReq true", "the signer's certificate");
    let mut all = vec![
        Probe::query(("07a", Rfc), asked, |_, _| (), with),
        Probe::query(
            ("07b", Rfc),
            ("no certReq", "no certificates field"),
            |_, q| q.cert_req.clear(),
            without,
        ),
    ];
    for (id, sent, critical) in [
        ("08a", "an unknown extension", &[][..]),
        ("08b", "an unknown critical extension", &[tag::BOOLEAN, 1, 0xFF]),
    ] {
        let change = move |_: &Known, q: &mut Query| {
            let extension =
                element(tag::SEQUENCE, &[NOBODYS, critical, &[tag::OCTET_STRING, 2, tag::NULL, 0]]);
            q.extensions = element(tag::CONTEXT_0, &[&extension]);
        };
        let refused = refused(FailInfo::UnacceptedExtension);
        all.push(Probe::query((id, Rfc), (sent, "rejection, unacceptedExtension"), change, refused));
    }
    all
}

const BAD_DATA: &str = "rejection, badDataFormat";

fn body(id: &'static str, mark: Mark, sent: &'static str, make: fn(&Query) -> Vec<u8>) -> Probe {
    let ask = move |known: &Known| {
        let query = Query::plain(&known.seed, id);
        let body = make(&query);
        known.bytes(query, &body)
    };
    Probe::new((id, mark), (sent, BAD_DATA), ask, refused(FailInfo::BadDataFormat))
}

fn undecodable() -> Vec<Probe> {
    vec![
        body("09a", Rfc, "an empty body", |_| vec![]),
        body("09b", Rfc, "text", |_| b"hello".to_vec()),
        body("09c", Rfc, "a query cut in half", |q| q.der()[..20].to_vec()),
        body("09d", Rfc, "a length of 4 GiB", |_| vec![0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 2, 1, 1]),
        body("09e", Rfc, "nonce before policy", |q| {
            element(tag::SEQUENCE, &[&q.version, &q.imprint_der(), &q.nonce, NOBODYS])
        }),
        body("09f", Rfc, "no imprint", |q| element(tag::SEQUENCE, &[&q.version, &q.nonce])),
        body("09g", Rfc, "SET in place of SEQUENCE", |q| element(tag::SET, &[&q.fields()])),
        body("09h", Rfc, "1,000 nested SEQUENCEs", |_| {
            (0..1_000).fold(vec![], |inner, _| element(tag::SEQUENCE, &[&inner]))
        }),
        body("09i", Rfc, "a field that does not exist", |q| {
            element(tag::SEQUENCE, &[&q.fields(), &[0x8F, 1, 0]])
        }),
    ]
}

/// Decodable as BER, or by a decoder that looks away.
fn not_der() -> Vec<Probe> {
    let der = |change: fn(&mut Query)| change;
    let changed = |id, sent, change: fn(&mut Query)| {
        let ask = move |known: &Known| {
            let mut query = Query::plain(&known.seed, id);
            change(&mut query);
            known.ask(query)
        };
        Probe::new((id, Strict), (sent, BAD_DATA), ask, refused(FailInfo::BadDataFormat))
    };
    vec![
        body("09j", Strict, "a byte after the query", |q| [&q.der()[..], &[0]].concat()),
        body("09k", Strict, "two queries in one body", |q| [q.der(), q.der()].concat()),
        body("09l", Strict, "indefinite length (BER)", |q| {
            [&[0x30, 0x80], &q.fields()[..], &[0, 0]].concat()
        }),
        body("09m", Strict, "a length in the long form", |q| {
            let fields = q.fields();
            [&[0x30, 0x82, 0, fields.len() as u8], &fields[..]].concat()
        }),
        changed("09n", "BOOLEAN 01", der(|q| q.cert_req = vec![tag::BOOLEAN, 1, 1])),
        changed("09o", "certReq FALSE, encoded", der(|q| q.cert_req = vec![tag::BOOLEAN, 1, 0])),
        changed("09p", "version 00 01", der(|q| q.version = vec![tag::INTEGER, 2, 0, 1])),
        changed("09q", "nonce 00 01", der(|q| q.nonce = vec![tag::INTEGER, 2, 0, 1])),
        changed("09r", "nonce without contents", der(|q| q.nonce = vec![tag::INTEGER, 0])),
        changed("09s", "an OID that is not minimal", der(|q| q.policy = vec![tag::OID, 3, 0x2A, 0x80, 0x03])),
        changed("09t", "an empty list of extensions", der(|q| q.extensions = vec![tag::CONTEXT_0, 0])),
        body("09u", Strict, "the imprint in pieces (BER)", |q| {
            let whole = q.imprint_der();
            let algorithm = &whole[2..whole.len() - 34];
            let pieces = element(tag::OCTET_STRING, &[&q.imprint]);
            let imprint = element(tag::SEQUENCE, &[algorithm, &element(0x24, &[&pieces])]);
            element(tag::SEQUENCE, &[&q.version, &imprint, &q.nonce, &q.cert_req])
        }),
    ]
}
