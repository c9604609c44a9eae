//! Pure: is this datagram the answer to our request, and may it be believed (RFC 5905 sections 7.3 and 8)?

use super::interval::Exchange;

/// Length of an NTP header without extensions, octets.
pub const HEADER_BYTES: usize = 48;
/// Seconds from 1900 to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;
const SECOND_NS: i64 = 1_000_000_000;
/// Server dwell may exceed our elapsed time by this: two oscillators, two resolutions.
const DWELL_SLACK_NS: i64 = 100_000;

/// Why an answer is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing usable in time.
    #[error("silent: no answer within {0} ms")]
    Silent(u128),
    /// Only datagrams that answer no request of ours arrived.
    #[error("{0}: such a datagram came, and nothing better")]
    OnlyStray(Stray),
    /// ICMP says nobody listens.
    #[error("refused: nobody listens on that port")]
    Refused,
    /// The socket failed.
    #[error("network: {0}")]
    Network(String),
    /// The host name has no address, or the address of another source.
    #[error("address: {0}")]
    Address(String),
    /// Not a server's unicast answer.
    #[error("mode: {0} instead of 4")]
    Mode(u8),
    /// Another protocol version.
    #[error("version: {0} instead of 4")]
    Version(u8),
    /// No sane clock resolution.
    #[error("precision: 2^{0} s is not between 2^-32 and 1 s")]
    Precision(i8),
    /// No transmit time.
    #[error("transmit: the transmit time is zero")]
    Transmit,
    /// Left before it arrived, or stayed longer than the exchange took.
    #[error("dwell: the server claims to have held the request for {0} ns")]
    Dwell(i64),
    /// The server says it has no time.
    #[error("unsynchronised: the server says it has no time")]
    Unsynchronised,
    /// Stratum outside 1 to 10.
    #[error("stratum: {0} is not between 1 and 10")]
    Stratum(u8),
    /// Too far from its reference.
    #[error("root-distance: {0} ms is more than 500 ms")]
    RootDistance(i64),
    /// Too long without its reference, or a reference from the future.
    #[error("reference-age: the reference was last heard {0} s ago")]
    ReferenceAge(i64),
    /// Absurd offset.
    #[error("offset: {0} s away from this machine's clock is more than a day")]
    Offset(i64),
    /// Two computations of the same offset differ.
    #[error("inconsistent: {0}")]
    Inconsistent(String),
    /// Kiss-o'-Death (RFC 5905 section 7.4).
    #[error("kiss-{}: the server refuses service", .0.to_ascii_lowercase())]
    Kiss(String),
}

/// Why a datagram is not an answer to our request at all; it is ignored and the wait goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stray {
    /// Less than a header.
    #[error("short")]
    Short,
    /// Does not carry our nonce.
    #[error("origin")]
    Origin,
}

impl Fault {
    /// The verdict this fault gives a source.
    pub fn verdict(&self) -> &'static str {
        match self {
            Fault::Silent(_) | Fault::Refused | Fault::Network(_) => "silent",
            Fault::Unsynchronised => "unsynchronised",
            Fault::Kiss(code) if code == "RATE" => "slowed",
            Fault::Kiss(code) if code == "DENY" || code == "RSTR" => "off",
            _ => "rejected",
        }
    }
}

/// Header fields of an answer that carries our nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Leap indicator 0–3, version 0–7, mode 0–7.
    pub leap_version_mode: (u8, u8, u8),
    /// Distance from a reference clock; 0 is a Kiss-o'-Death.
    pub stratum: u8,
    /// log2 seconds.
    pub poll: i8,
    /// log2 seconds.
    pub precision: i8,
    /// 16.16 seconds.
    pub root_delay: u32,
    /// 16.16 seconds.
    pub root_dispersion: u32,
    /// Reference, or the kiss code.
    pub reference_id: [u8; 4],
    /// 32.32 seconds since 1900: when the server's clock was last set.
    pub reference: u64,
    /// Our nonce.
    pub origin: u64,
    /// T2.
    pub receive: u64,
    /// T3.
    pub transmit: u64,
}

impl Reply {
    /// Header of `datagram` if it answers the request that carried `nonce`; octets after the header are not looked at.
    pub fn parse(datagram: &[u8], nonce: u64) -> Result<Reply, Stray> {
        let header = datagram.first_chunk::<HEADER_BYTES>().ok_or(Stray::Short)?;
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let stamp = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if stamp(24) != nonce {
            return Err(Stray::Origin);
        }
        Ok(Reply {
            leap_version_mode: (header[0] >> 6, header[0] >> 3 & 7, header[0] & 7),
            stratum: header[1],
            poll: header[2].cast_signed(),
            precision: header[3].cast_signed(),
            root_delay: word(4),
            root_dispersion: word(8),
            reference_id: word(12).to_be_bytes(),
            reference: stamp(16),
            origin: stamp(24),
            receive: stamp(32),
            transmit: stamp(40),
        })
    }

    /// The header on the wire.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let (leap, version, mode) = self.leap_version_mode;
        let mut out = [0; HEADER_BYTES];
        out[0] = leap << 6 | version << 3 | mode;
        out[1] = self.stratum;
        out[2] = self.poll.cast_unsigned();
        out[3] = self.precision.cast_unsigned();
        out[4..8].copy_from_slice(&self.root_delay.to_be_bytes());
        out[8..12].copy_from_slice(&self.root_dispersion.to_be_bytes());
        out[12..16].copy_from_slice(&self.reference_id);
        for (at, stamp) in [(16, self.reference), (24, self.origin), (32, self.receive), (40, self.transmit)]
        {
            out[at..at + 8].copy_from_slice(&stamp.to_be_bytes());
        }
        out
    }

    /// What must hold before anything is computed from the answer. `elapsed` = T4 − T1, nanoseconds.
    pub fn check_form(&self, elapsed: i64) -> Result<(), Fault> {
        let (_, version, mode) = self.leap_version_mode;
        if mode != 4 {
            return Err(Fault::Mode(mode));
        }
        if version != 4 {
            return Err(Fault::Version(version));
        }
        // A kiss carries no time, so its time fields mean nothing.
        if self.stratum == 0 {
            return Ok(());
        }
        if !(-32..=0).contains(&self.precision) {
            return Err(Fault::Precision(self.precision));
        }
        if self.transmit == 0 {
            return Err(Fault::Transmit);
        }
        let dwell = fixed_to_nanos(self.transmit.wrapping_sub(self.receive).cast_signed());
        if dwell < 0 || dwell > elapsed.saturating_add(DWELL_SLACK_NS) {
            return Err(Fault::Dwell(dwell));
        }
        Ok(())
    }

    /// What must hold before the answer is believed; the kisses first, since sntpc calls "no time" a kiss too.
    pub fn check_worth(&self) -> Result<(), Fault> {
        let (leap, ..) = self.leap_version_mode;
        if self.stratum == 0 {
            return Err(self.kiss());
        }
        if leap == 3 {
            return Err(Fault::Unsynchronised);
        }
        if !(1..=10).contains(&self.stratum) {
            return Err(Fault::Stratum(self.stratum));
        }
        let distance = short_to_nanos(self.root_delay) / 2 + short_to_nanos(self.root_dispersion);
        if distance > SECOND_NS / 2 {
            return Err(Fault::RootDistance(distance / 1_000_000));
        }
        let age = fixed_to_nanos(self.transmit.wrapping_sub(self.reference).cast_signed()) / SECOND_NS;
        if self.reference == 0 || !(0..=86_400).contains(&age) {
            return Err(Fault::ReferenceAge(age));
        }
        Ok(())
    }

    fn kiss(&self) -> Fault {
        // A real chronyd without reference sends stratum 0, leap 3 and a zero reference: no kiss, just no time.
        if self.reference_id.iter().all(u8::is_ascii_graphic) {
            Fault::Kiss(String::from_utf8_lossy(&self.reference_id).into_owned())
        } else {
            Fault::Unsynchronised
        }
    }

    /// The four stamps in nanoseconds; `near_utc` picks the NTP era (within 68 years).
    pub fn exchange(&self, t1_raw: i64, t4_raw: i64, near_utc: i64) -> Exchange {
        Exchange {
            t1_raw,
            t2_utc: unix_nanos(self.receive, near_utc),
            t3_utc: unix_nanos(self.transmit, near_utc),
            t4_raw,
            root_delay: short_to_nanos(self.root_delay),
            root_dispersion: short_to_nanos(self.root_dispersion),
            precision: self.precision,
        }
    }

    /// A leap second at the end of this month is announced.
    pub fn announces_leap(&self) -> bool {
        matches!(self.leap_version_mode.0, 1 | 2)
    }
}

/// NTP stamp (32.32 seconds since 1900, any era) of a Unix time in nanoseconds.
pub fn ntp_stamp(unix_nanos: i64) -> u64 {
    let seconds = unix_nanos.div_euclid(SECOND_NS).cast_unsigned().wrapping_add(NTP_TO_UNIX);
    let fraction = (unix_nanos.rem_euclid(SECOND_NS).cast_unsigned() << 32) / SECOND_NS.cast_unsigned();
    seconds << 32 | fraction
}

/// Unix nanoseconds of an NTP stamp, in the era nearest to `near`.
fn unix_nanos(stamp: u64, near: i64) -> i64 {
    near.saturating_add(fixed_to_nanos(stamp.wrapping_sub(ntp_stamp(near)).cast_signed()))
}

fn fixed_to_nanos(fixed: i64) -> i64 {
    // |fixed| ≤ 2^63 in units of 2^-32 s is at most 2^31 s, which fits.
    i64::try_from((i128::from(fixed) * i128::from(SECOND_NS)) >> 32).unwrap_or(i64::MAX)
}

fn short_to_nanos(short: u32) -> i64 {
    (i64::from(short) * SECOND_NS) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_514_400 * SECOND_NS;

    fn good() -> Reply {
        Reply {
            leap_version_mode: (0, 4, 4),
            stratum: 2,
            poll: 4,
            precision: -24,
            root_delay: 65,
            root_dispersion: 65,
            reference_id: [127, 0, 0, 1],
            reference: ntp_stamp(NOW - 10 * SECOND_NS),
            origin: 7,
            receive: ntp_stamp(NOW),
            transmit: ntp_stamp(NOW + 20_000),
        }
    }

    #[test]
    fn only_the_answer_to_our_nonce_is_parsed() {
        let wire = good().encode();
        assert_eq!(Reply::parse(&wire, 7), Ok(good()));
        assert_eq!(Reply::parse(&wire, 8), Err(Stray::Origin));
        assert_eq!(Reply::parse(&wire[..47], 7), Err(Stray::Short));
        assert_eq!(Reply::parse(&[&wire[..], &[1, 2, 3]].concat(), 7), Ok(good()));
    }

    #[test]
    fn a_good_answer_passes_and_each_lie_is_named() {
        let elapsed = 200_000;
        assert_eq!(good().check_form(elapsed).and_then(|()| good().check_worth()), Ok(()));
        let day = 86_400 * SECOND_NS;
        let cases = [
            (Reply { leap_version_mode: (0, 4, 5), ..good() }, Fault::Mode(5)),
            (Reply { leap_version_mode: (0, 5, 4), ..good() }, Fault::Version(5)),
            (Reply { leap_version_mode: (0, 3, 4), ..good() }, Fault::Version(3)),
            (Reply { precision: 40, ..good() }, Fault::Precision(40)),
            (Reply { precision: 127, ..good() }, Fault::Precision(127)),
            (Reply { precision: -33, ..good() }, Fault::Precision(-33)),
            (Reply { transmit: 0, ..good() }, Fault::Transmit),
            (Reply { stratum: 16, ..good() }, Fault::Stratum(16)),
            (Reply { stratum: 11, ..good() }, Fault::Stratum(11)),
            (Reply { leap_version_mode: (3, 4, 4), ..good() }, Fault::Unsynchronised),
            (Reply { stratum: 0, reference_id: [0; 4], ..good() }, Fault::Unsynchronised),
            (Reply { stratum: 0, reference_id: *b"RATE", ..good() }, Fault::Kiss("RATE".into())),
            (Reply { root_dispersion: 39_322, ..good() }, Fault::RootDistance(600)),
            (Reply { root_delay: 20 << 16, ..good() }, Fault::RootDistance(10_000)),
            (Reply { reference: ntp_stamp(NOW - 3 * day), ..good() }, Fault::ReferenceAge(3 * 86_400)),
            (Reply { reference: ntp_stamp(NOW + 5 * SECOND_NS), ..good() }, Fault::ReferenceAge(-4)),
        ];
        for (lie, fault) in cases {
            assert_eq!(
                lie.check_form(elapsed).and_then(|()| lie.check_worth()),
                Err(fault.clone()),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_dwell_that_cannot_be_is_named() {
        let backwards = Reply { transmit: ntp_stamp(NOW - SECOND_NS), ..good() };
        assert!(matches!(backwards.check_form(200_000), Err(Fault::Dwell(d)) if d < 0));
        let impossible = Reply { transmit: ntp_stamp(NOW + 800_000_000), ..good() };
        assert!(matches!(impossible.check_form(200_000), Err(Fault::Dwell(d)) if d > 799_000_000));
    }

    #[test]
    fn stamps_survive_the_end_of_the_first_era() {
        // 2036-02-07T06:28:16Z, when the 32-bit seconds wrap.
        let rollover = ((1i64 << 32) - NTP_TO_UNIX.cast_signed()) * SECOND_NS;
        for unix in [rollover - 1, rollover, rollover + 12_345_678_901, 0, -5 * SECOND_NS, NOW] {
            let back = unix_nanos(ntp_stamp(unix), unix + 3 * SECOND_NS);
            assert!((back - unix).abs() <= 1, "{unix} became {back}");
        }
    }

    #[test]
    fn verdict_words_follow_the_fault() {
        assert_eq!(Fault::Kiss("RATE".into()).verdict(), "slowed");
        assert_eq!(Fault::Kiss("DENY".into()).verdict(), "off");
        assert_eq!(Fault::Kiss("NTSN".into()).verdict(), "rejected");
        assert_eq!(Fault::Refused.verdict(), "silent");
        assert_eq!(Fault::Kiss("RATE".into()).to_string(), "kiss-rate: the server refuses service");
        assert_eq!(
            Fault::OnlyStray(Stray::Short).to_string(),
            "short: such a datagram came, and nothing better"
        );
    }

    proptest! {
        #[test]
        fn any_header_survives_decoding_and_encoding_and_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 48..80), t1 in any::<i64>(), t4 in any::<i64>(), near in any::<i64>()
        ) {
            let nonce = u64::from_be_bytes(bytes[24..32].try_into().unwrap());
            let reply = Reply::parse(&bytes, nonce).unwrap();
            prop_assert_eq!(&reply.encode()[..], &bytes[..48]);
            let _ = reply.check_form(t4.saturating_sub(t1)).and_then(|()| reply.check_worth());
            let interval = reply.exchange(t1, t4, near).sample(100).aged(t4, 100);
            prop_assert!(interval.lo <= interval.hi);
        }
    }
}
