//! Time servers for tests: real chronyd processes, and one that misbehaves in every way we know. Loopback only.

#![allow(dead_code)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pechat::clock::reply::{Reply, ntp_stamp};
use pechat::clock::system;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// How a [`FakeServer`] answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The truth.
    Honest,
    /// The truth plus this many milliseconds.
    Off(i64),
    /// The truth, this many milliseconds after it was asked for.
    SlowAnswer(u64),
    /// Not at all.
    Silent,
    /// A clean answer with one header field changed.
    Stratum(u8),
    Leap(u8),
    Association(u8),
    Version(u8),
    Precision(i8),
    ZeroTransmit,
    RootDispersionMs(u32),
    ReferenceDaysOld(i64),
    /// Only twenty octets.
    Short,
    /// Claims to have held the request for 0.8 s.
    ImpossibleDwell,
    /// What chronyd without a reference sends: stratum 0, leap 3, reference 0.
    NoReference,
    Kiss([u8; 4]),
    /// A kiss for another request, then the truth.
    ForgedKissFirst([u8; 4]),
    /// An answer to another request, then the truth.
    WrongOriginFirst,
    ZeroOriginFirst,
    /// A datagram from another port, then the truth.
    StrayPortFirst,
    /// The truth twice.
    Twice,
    /// The first answer only after two seconds, the others in time.
    FirstAnswerLate,
}

/// The octets of a request, and the client's port.
pub type Request = (Vec<u8>, u16);

/// A UDP server in a thread; it ends when dropped.
pub struct FakeServer {
    pub address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl FakeServer {
    pub fn start(mode: Mode) -> FakeServer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let server = FakeServer {
            address: socket.local_addr().unwrap(),
            mode: Arc::new(Mutex::new(mode)),
            requests: Arc::default(),
            stop: Arc::default(),
        };
        let (mode, requests, stop) =
            (Arc::clone(&server.mode), Arc::clone(&server.requests), Arc::clone(&server.stop));
        std::thread::spawn(move || serve(&socket, &mode, &requests, &stop));
        server
    }

    /// One server a mode.
    pub fn all(modes: &[Mode]) -> Vec<FakeServer> {
        modes.iter().map(|m| FakeServer::start(*m)).collect()
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Every request so far, with the client's port.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// As the configuration wants it.
    pub fn source(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(socket: &UdpSocket, mode: &Mutex<Mode>, requests: &Mutex<Vec<Request>>, stop: &AtomicBool) {
    let mut datagram = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut datagram) else { continue };
        let arrived = system::now().0 * 1000;
        let first = {
            let mut requests = requests.lock().unwrap();
            requests.push((datagram[..length].to_vec(), client.port()));
            requests.len() == 1
        };
        let nonce = u64::from_be_bytes(datagram[40..48].try_into().unwrap());
        let mode = *mode.lock().unwrap();
        answer(socket, client, mode, &truth(nonce, arrived, 0), arrived, first);
    }
}

fn truth(nonce: u64, arrived: i64, off: i64) -> Reply {
    Reply {
        leap_version_mode: (0, 4, 4),
        stratum: 2,
        poll: 4,
        precision: -19,
        root_delay: 7,
        root_dispersion: 7,
        reference_id: [127, 0, 0, 1],
        reference: ntp_stamp(arrived + off - 10 * SECOND),
        origin: nonce,
        receive: ntp_stamp(arrived + off),
        transmit: ntp_stamp(arrived + off),
    }
}

fn answer(socket: &UdpSocket, client: SocketAddr, mode: Mode, truth: &Reply, arrived: i64, first: bool) {
    let good = *truth;
    let send = |reply: Reply| drop(socket.send_to(&reply.encode(), client));
    let wrong = Reply { origin: good.origin.wrapping_add(1), ..good };
    match mode {
        Mode::Honest => send(good),
        Mode::Off(ms) => send(self::truth(good.origin, arrived, ms * 1_000_000)),
        Mode::Silent => {}
        Mode::SlowAnswer(ms) => {
            std::thread::sleep(Duration::from_millis(ms));
            send(good);
        }
        Mode::FirstAnswerLate if first => {
            let (socket, late) = (socket.try_clone().unwrap(), good.encode());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(2));
                drop(socket.send_to(&late, client));
            });
        }
        Mode::FirstAnswerLate => send(good),
        Mode::Stratum(stratum) => send(Reply { stratum, ..good }),
        Mode::Leap(leap) => send(Reply { leap_version_mode: (leap, 4, 4), ..good }),
        Mode::Association(mode) => send(Reply { leap_version_mode: (0, 4, mode), ..good }),
        Mode::Version(version) => send(Reply { leap_version_mode: (0, version, 4), ..good }),
        Mode::Precision(precision) => send(Reply { precision, ..good }),
        Mode::ZeroTransmit => send(Reply { transmit: 0, ..good }),
        Mode::RootDispersionMs(ms) => send(Reply { root_dispersion: (ms << 16) / 1000, ..good }),
        Mode::ReferenceDaysOld(days) => send(Reply { reference: ntp_stamp(arrived - days * DAY), ..good }),
        Mode::Short => drop(socket.send_to(&good.encode()[..20], client)),
        Mode::ImpossibleDwell => send(Reply { transmit: ntp_stamp(arrived + SECOND * 8 / 10), ..good }),
        Mode::NoReference => send(kiss(&good, [0; 4])),
        Mode::Kiss(code) => send(kiss(&good, code)),
        Mode::ForgedKissFirst(code) => {
            send(kiss(&wrong, code));
            send(good);
        }
        Mode::WrongOriginFirst => {
            send(wrong);
            send(good);
        }
        Mode::ZeroOriginFirst => {
            send(Reply { origin: 0, ..good });
            send(good);
        }
        Mode::StrayPortFirst => {
            let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            drop(other.send_to(&self::truth(good.origin, arrived, SECOND).encode(), client));
            send(good);
        }
        Mode::Twice => {
            send(good);
            send(good);
        }
    }
}

fn kiss(good: &Reply, code: [u8; 4]) -> Reply {
    Reply { leap_version_mode: (3, 4, 4), stratum: 0, reference_id: code, ..*good }
}

/// A real chronyd that only serves and never touches the system clock; killed when dropped.
pub struct Chronyd {
    child: Child,
    pub source: String,
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether chronyd can be started here.
pub fn chronyd_installed() -> bool {
    Command::new("chronyd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// One chronyd on each of `ports` of 127.0.0.1, answering when this returns. `reference`: it claims the system clock
/// as its reference; without, it says it has no time. Its files go into `folder`.
pub fn chronyd(folder: &Path, ports: &[u16], reference: bool) -> Vec<Chronyd> {
    let servers: Vec<Chronyd> = ports.iter().map(|port| chronyd_on(folder, *port, reference)).collect();
    for server in &servers {
        wait_for_answer(&server.source);
    }
    servers
}

/// Ports nobody used a moment ago.
pub fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<UdpSocket> =
        (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    held.iter().map(|s| s.local_addr().unwrap().port()).collect()
}

fn chronyd_on(folder: &Path, port: u16, reference: bool) -> Chronyd {
    let conf = folder.join(format!("chronyd-{port}.conf"));
    let pid = folder.join(format!("chronyd-{port}.pid"));
    let local = if reference { "local stratum 8\n" } else { "" };
    let text = format!(
        "port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile {}\n{local}",
        pid.display()
    );
    std::fs::write(&conf, text).unwrap();
    let child = Command::new("chronyd")
        // -x: never the system clock; -d: stay in the foreground, so that we hold the very process we start.
        .args(["-x", "-d", "-u", "root", "-f"])
        .arg(&conf)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Chronyd { child, source: format!("127.0.0.1:{port}") }
}

fn wait_for_answer(server: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut request = [0; 48];
    request[0] = 4 << 3 | 3;
    for _ in 0..100 {
        let sent = socket.send(&request).is_ok();
        if sent && socket.recv(&mut [0; 64]).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("chronyd on {server} does not answer");
}
