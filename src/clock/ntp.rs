//! Edge: one NTP exchange. sntpc builds the request and checks the answer; this socket around it decides what sntpc
//! gets to see: only the answer to our own unpredictable nonce, in time, and physically possible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sntpc::{NtpContext, NtpTimestampGenerator, NtpUdpSocket};
use tokio::net::UdpSocket;

use super::interval::Exchange;
use super::reply::{Fault, HEADER_BYTES, Reply, Stray};
use super::system::{Machine, MachineTime};

/// Offsets beyond this are nonsense whatever else the answer says.
const DAY_US: i64 = 86_400_000_000;
const ORIGIN: std::ops::Range<usize> = 24..32;
const TRANSMIT: std::ops::Range<usize> = 40..48;

/// A believed answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The four stamps and the server's error budget.
    pub exchange: Exchange,
    /// The header, for verdicts.
    pub reply: Reply,
}

/// Asks one server once, from a fresh connected socket on a random port.
pub async fn ask(server: SocketAddr, machine: &dyn Machine, timeout: Duration) -> Result<Answer, Fault> {
    let socket = GuardedSocket::connect(server, machine).await?;
    let context = NtpContext::new(Stamps::start(machine));
    match tokio::time::timeout(timeout, sntpc::get_time(server, &socket, context)).await {
        Err(_) => Err(socket.timed_out(timeout)),
        Ok(result) => socket.judge(result, context.timestamp_gen),
    }
}

/// Timestamps for sntpc: REALTIME once, then carried on by RAW, so a step during the exchange cannot enter it.
#[derive(Clone, Copy)]
struct Stamps<'a> {
    machine: &'a dyn Machine,
    started: MachineTime,
    now_us: i64,
}

impl<'a> Stamps<'a> {
    fn start(machine: &'a dyn Machine) -> Stamps<'a> {
        let started = machine.read();
        Stamps { machine, started, now_us: started.realtime / 1000 }
    }

    fn utc_at(&self, raw: i64) -> i64 {
        self.started.realtime.saturating_add(raw - self.started.raw)
    }
}

impl NtpTimestampGenerator for Stamps<'_> {
    fn init(&mut self) {
        // A machine without a battery may be before 1970; sntpc has no word for that, and the offset check follows.
        self.now_us = (self.utc_at(self.machine.read().raw) / 1000).max(0);
    }

    fn timestamp_sec(&self) -> u64 {
        self.now_us.cast_unsigned() / 1_000_000
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        u32::try_from(self.now_us.cast_unsigned() % 1_000_000).unwrap_or(0)
    }
}

/// What sntpc's own socket lacks: a nonce on the wire, patience with strays, and checks on T1 to T4.
struct GuardedSocket<'a> {
    socket: UdpSocket,
    server: SocketAddr,
    machine: &'a dyn Machine,
    nonce: [u8; 8],
    seen: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    sent: [u8; 8],
    t1_raw: i64,
    answer: Option<(Reply, i64)>,
    stray: Option<Stray>,
    fault: Option<Fault>,
}

impl<'a> GuardedSocket<'a> {
    async fn connect(server: SocketAddr, machine: &'a dyn Machine) -> Result<GuardedSocket<'a>, Fault> {
        let mut nonce = [0; 8];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Fault::Network("no random numbers".to_owned()))?;
        let socket = UdpSocket::bind(SocketAddr::new(own_address(server.ip()), 0)).await.map_err(network)?;
        socket.connect(server).await.map_err(network)?;
        Ok(GuardedSocket { socket, server, machine, nonce, seen: Mutex::default() })
    }

    /// `Ok(None)`: keep waiting.
    fn look_at(&self, datagram: &[u8], t4_raw: i64) -> Result<Option<Reply>, Fault> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = match Reply::parse(datagram, u64::from_be_bytes(self.nonce)) {
            Ok(reply) => reply,
            Err(stray) => {
                seen.stray = Some(stray);
                return Ok(None);
            }
        };
        reply.check_form(t4_raw - seen.t1_raw)?;
        seen.answer = Some((reply, t4_raw));
        Ok(Some(reply))
    }

    fn timed_out(&self, timeout: Duration) -> Fault {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.stray.map_or(Fault::Silent(timeout.as_millis()), Fault::OnlyStray)
    }

    /// Our verdict and sntpc's must both be good, and about the same time.
    fn judge(self, result: sntpc::Result<sntpc::NtpResult>, stamps: Stamps<'_>) -> Result<Answer, Fault> {
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = seen.fault {
            return Err(fault);
        }
        let Some((reply, t4_raw)) = seen.answer else {
            return Err(Fault::Network(format!("{result:?}")));
        };
        reply.check_worth()?;
        let result = result.map_err(|e| Fault::Inconsistent(format!("sntpc refuses the answer: {e:?}")))?;
        let exchange = reply.exchange(seen.t1_raw, t4_raw, stamps.utc_at(t4_raw));
        check_offset(&result, exchange.t3_utc, stamps.utc_at(t4_raw))?;
        Ok(Answer { exchange, reply })
    }

    fn fail(&self, fault: Fault) -> sntpc::Error {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).fault = Some(fault);
        sntpc::Error::Network
    }
}

/// `t3_utc` and `utc` are Unix nanoseconds.
fn check_offset(result: &sntpc::NtpResult, t3_utc: i64, utc: i64) -> Result<(), Fault> {
    if result.offset.saturating_abs() > DAY_US {
        return Err(Fault::Offset(result.offset / 1_000_000));
    }
    // Beyond 68 years sntpc's offset and seconds contradict each other by an era; ours must match both.
    let seconds = i64::try_from(result.seconds).unwrap_or(i64::MAX);
    let by_offset = utc / 1_000_000_000 + result.offset / 1_000_000;
    if seconds.abs_diff(by_offset) > 10 || seconds.abs_diff(t3_utc / 1_000_000_000) > 1 {
        return Err(Fault::Inconsistent(format!("{seconds} s by transmit time, {by_offset} s by offset")));
    }
    Ok(())
}

impl NtpUdpSocket for GuardedSocket<'_> {
    async fn send_to(&self, request: &[u8], _server: SocketAddr) -> sntpc::Result<usize> {
        let mut wire = [0; HEADER_BYTES];
        let Some(header) = request.first_chunk::<HEADER_BYTES>() else {
            return Err(self.fail(Fault::Network("sntpc built a short request".to_owned())));
        };
        wire.copy_from_slice(header);
        wire[TRANSMIT].copy_from_slice(&self.nonce);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.sent.copy_from_slice(&header[TRANSMIT]);
            seen.t1_raw = self.machine.read().raw;
        }
        match self.socket.send(&wire).await {
            Ok(_) => Ok(request.len()),
            Err(error) => Err(self.fail(network(error))),
        }
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> sntpc::Result<(usize, SocketAddr)> {
        let mut datagram = [0; 1024];
        loop {
            let length = match self.socket.recv(&mut datagram).await {
                Ok(length) => length,
                Err(error) => return Err(self.fail(network(error))),
            };
            let t4_raw = self.machine.read().raw;
            match self.look_at(&datagram[..length], t4_raw) {
                Ok(None) => {}
                Err(fault) => return Err(self.fail(fault)),
                Ok(Some(reply)) => {
                    let mut header = reply.encode();
                    // sntpc compares with the stamp it meant to send.
                    header[ORIGIN]
                        .copy_from_slice(&self.seen.lock().unwrap_or_else(PoisonError::into_inner).sent);
                    let room = buffer.len().min(HEADER_BYTES);
                    buffer[..room].copy_from_slice(&header[..room]);
                    return Ok((room, self.server));
                }
            }
        }
    }
}

/// Loopback servers are asked from loopback, so nothing on the network can answer for them.
fn own_address(server: IpAddr) -> IpAddr {
    match (server, server.is_loopback()) {
        (IpAddr::V4(_), true) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V4(_), false) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), true) => Ipv6Addr::LOCALHOST.into(),
        (IpAddr::V6(_), false) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn network(error: std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Fault::Refused,
        _ => Fault::Network(error.to_string()),
    }
}
