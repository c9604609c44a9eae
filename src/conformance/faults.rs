//! Faults of answers, and which probes each must fail.

use super::forge::{ECDSA_SHA256, Ess, Forge, SHA256};
use super::query::Query;
use crate::timestamp::tlv::element;

/// A fault of every answer, and the probes that must fail by it.
pub type Fault = (&'static str, fn(&mut Forge), &'static str);

pub const FAULTS: &[Fault] = &[
    ("TSTInfo version 2", |f| f.version = vec![2, 1, 2], "14a 14b"),
    ("policy anyPolicy", |f| f.policy = vec![6, 4, 0x55, 0x1D, 0x20, 0], "05b 30a 31a"),
    (
        "another imprint",
        |f| f.imprint = Query::plain(b"x", "x").imprint_der(),
        "01a 02a 02b 02c 04a 04b 14a 14b",
    ),
    ("serial zero", |f| f.serial = vec![2, 1, 0], "15a 15b"),
    ("serial negative", |f| f.serial[2] = 0xC0, "15a"),
    ("serial of 21 bytes", |f| f.serial = element(2, &[&[0x41; 21]]), "15a 15b"),
    ("genTime without seconds", |f| f.gen_time = "202611241000Z".into(), "16a 16b 16c 32b"),
    ("genTime with a zone", |f| f.gen_time = "20261124100000+0000".into(), "16a 16b 16c 32b"),
    ("genTime with a trailing zero", |f| f.gen_time = "20261124100000.10Z".into(), "16a 16b 16c"),
    ("genTime with an empty fraction", |f| f.gen_time = "20261124100000.Z".into(), "16a 16b 16c"),
    ("genTime two minutes late", |f| f.gen_time = "20261124095800.5Z".into(), "16c"),
    ("genTime in whole seconds", |f| f.gen_time = "20261124100000Z".into(), "32b"),
    ("accuracy with zero millis", |f| f.accuracy = vec![0x30, 6, 2, 1, 1, 0x80, 1, 0], "17a 32a 32b"),
    ("accuracy of 1000 millis", |f| f.accuracy = vec![0x30, 4, 0x80, 2, 3, 0xE8], "17a 32a 32b"),
    ("accuracy of 2 s", |f| f.accuracy = vec![0x30, 3, 2, 1, 2], "32a"),
    ("no accuracy", |f| f.accuracy.clear(), "32a"),
    ("ordering", |f| f.ordering = vec![1, 1, 0xFF], "33a"),
    (
        "ordering with equal times",
        |f| (f.ordering, f.gen_time) = (vec![1, 1, 0xFF], "20261124100000.5Z".into()),
        "17b 33a",
    ),
    (
        "no nonce",
        |f| f.nonce.clear(),
        "06b 06c 06d 06e 06f 06g 06h 06i 06j 30a 37g 37h 38c 38d 38e 38f 38g 38h 38n",
    ),
    (
        "a nonce of its own",
        |f| f.nonce = vec![2, 1, 9],
        "06a 06b 06c 06d 06e 06f 06g 06h 06i 06j 30a 37g 37h 38c 38d 38e 38f 38g 38h 38n",
    ),
    ("tsa of somebody else", |f| f.tsa = vec![0xA0, 6, 0xA4, 4, 0x30, 2, 0x31, 0], "18a"),
    (
        "a critical extension",
        |f| f.extensions = vec![0xA1, 12, 0x30, 10, 6, 2, 0x2A, 3, 1, 1, 0xFF, 4, 1, 0],
        "33b",
    ),
    ("another content type", |f| f.content_type[10] = 1, "19a"),
    ("another inner type", |f| f.inner_type[12] = 5, "19a"),
    ("two signatures", |f| f.signatures = 2, "07a 20a 20b 21a 21b 21c 22a 23a 24a 24b 26a 26b 27a 28a 28b"),
    ("SignedData version 1", |f| f.data_version = vec![2, 1, 1], "20b"),
    (
        "signer by key identifier",
        |f| f.signer_version = vec![2, 1, 3],
        "07a 20b 21c 22a 23a 26a 26b 27a 28a 28b",
    ),
    (
        "content-type data",
        |f| f.attribute_type = vec![6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1],
        "21a",
    ),
    ("another message digest", |f| f.message_digest = Some(vec![4, 1, 0]), "21a"),
    ("attributes unsorted", |f| f.sorted_attributes = false, "21b"),
    ("signed under tag A0", |f| f.good_signature = false, "21c"),
    ("no signing certificate", |f| f.ess = Ess::None, "22a 23a"),
    ("ESSCertID", |f| f.ess = Ess::First, "23a"),
    ("SHA-256 encoded", |f| f.ess = Ess::SecondNamed, "23a"),
    ("another certificate's hash", |f| f.ess = Ess::Anothers, "22a 23a"),
    ("ECDSA with NULL", |f| f.algorithm = [&[0x30, 12], &ECDSA_SHA256[2..], &[5, 0]].concat(), "24a"),
    ("digest with NULL in one place", |f| f.digests = [&[0x30, 13], &SHA256[2..], &[5, 0]].concat(), "24b"),
    ("certificates unsorted", |f| f.sorted = false, "25a"),
    ("no certificates", |f| f.with_certificates = false, "07a 21c 22a 23a 25a 26a 26b 27a 28a 28b 30a"),
    ("certificates unasked", |f| f.with_certificates = true, "07b"),
    ("EKU not critical", |f| f.unit_extensions[1].1 = false, "26a"),
    (
        "EKU with clientAuth",
        |f| {
            f.unit_extensions[1].2 =
                [&[0x30, 0x14], &[6, 8, 0x2B, 6, 1, 5, 5, 7, 3, 8][..], &[6, 8, 0x2B, 6, 1, 5, 5, 7, 3, 2]]
                    .concat()
        },
        "26a",
    ),
    ("keyEncipherment", |f| f.unit_extensions[0].2 = vec![3, 2, 5, 0xA0], "26b"),
    (
        "SIA without timeStamping",
        |f| f.unit_extensions.push((vec![0x2B, 6, 1, 5, 5, 7, 1, 11], false, vec![0x30, 0])),
        "27a",
    ),
    ("no organisation", |f| f.subject = vec![(6, "EX"), (3, "Unit 1")], "28a"),
    ("no key usage period", |f| f.unit_extensions.truncate(2), "28b"),
    (
        "another qualified statement",
        |f| f.extensions = vec![0xA1, 16, 0x30, 14, 6, 8, 0x2B, 6, 1, 5, 5, 7, 1, 3, 4, 2, 0x30, 0],
        "34a",
    ),
    ("a text beside status 0", |f| f.texts = vec![0x30, 3, 0x0C, 1, b'k'], "38b"),
    ("a text that is no list of UTF8Strings", |f| f.texts = vec![0x30, 3, 0x16, 1, b'k'], "13f 38b"),
    (
        "media type with a parameter",
        |f| f.media_type = "application/timestamp-reply; charset=utf-8",
        "37a 39a 39b",
    ),
    ("no media type", |f| f.media_type = "", "37a 39a 39b"),
    ("HTTP 201", |f| f.http_status = 201, "38a 39a 39b"),
    ("chunked", |f| f.chunked = true, "38a 38d 39a 39b"),
    (
        "a name of the client",
        |f| f.texts = element(0x30, &[&element(0x0C, &[b"client-of-the-test"])]),
        "10a 38b",
    ),
];

/// Faults that break nearly everything: these probes at least.
pub const WIDE: &[Fault] = &[
    ("a line's end after the reply", |f| f.after = b"\n".to_vec(), "36a"),
    ("status 1", |f| f.status = vec![2, 1, 1], "11b 12b 12c 13f 39a 39b"),
    ("status 6", |f| f.status = vec![2, 1, 6], "11a 11b 12a"),
    ("status 0 without a token", |f| (f.status, f.with_token) = (vec![2, 1, 0], false), "05a 12a 12b 31a"),
    ("a rejection with a token", |f| f.with_token = true, "01b 12b"),
    ("two bits of failInfo", |f| f.fail_info = vec![3, 2, 2, 0xA4], "01b 02d 03a 09a 13a 13b 13c"),
    ("another HTTP version", |f| f.header = "Transfer-Encoding: gzip\r\n", "35a 37a 38a"),
];
