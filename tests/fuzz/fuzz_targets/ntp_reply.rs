//! Any datagram as the answer to any request: no panic, decoding and encoding agree, an interval is an interval.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::clock::reply::Reply;

fuzz_target!(|data: &[u8]| {
    let Some((stamps, datagram)) = data.split_first_chunk::<24>() else { return };
    let number = |at: usize| i64::from_be_bytes(stamps[at..at + 8].try_into().expect("eight octets"));
    let (t1, t4, near) = (number(0), number(8), number(16));
    let nonce = datagram.get(24..32).map_or(0, |n| u64::from_be_bytes(n.try_into().expect("eight octets")));
    let Ok(reply) = Reply::parse(datagram, nonce) else {
        assert!(datagram.len() < 48);
        return;
    };
    assert_eq!(reply.encode()[..], datagram[..48]);
    if reply.check_form(t4.saturating_sub(t1)).and_then(|()| reply.check_worth()).is_ok() {
        assert!((1..=10).contains(&reply.stratum) && reply.transmit != 0);
    }
    let interval = reply.exchange(t1, t4, near).sample(100).aged(t4, 100);
    assert!(interval.lo <= interval.hi);
});
