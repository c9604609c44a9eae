//! `pechat witness` as a process of its own, and a stub that answers whatever a test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::appliance::{run, wait_for};

const PECHAT: &str = env!("CARGO_BIN_EXE_pechat");

/// A witness process; ended when dropped.
pub struct WitnessProcess {
    dir: PathBuf,
    port: u16,
    log_vkey: String,
    /// What verifiers are given.
    pub vkey: String,
    child: Child,
}

impl WitnessProcess {
    /// A new witness of one log, in a directory that does not exist yet.
    pub fn start(dir: &Path, log_vkey: &str) -> Self {
        let mut make = Command::new(PECHAT);
        make.args(["witness", "key", "--name", "witness.example.org/w1", "--dir"]).arg(dir);
        let vkey = run(&mut make).trim().to_owned();
        let port = free_port();
        let child = spawn(dir, port, log_vkey);
        let this = Self { dir: dir.to_owned(), port, log_vkey: log_vkey.to_owned(), vkey, child };
        this.wait_until_up();
        this
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `kill -9`; returns when it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.dir, self.port, &self.log_vkey);
        self.wait_until_up();
    }

    fn wait_until_up(&self) {
        wait_for("the witness to listen", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// The size it remembers on disk.
    pub fn remembered(&self) -> u64 {
        let heads = std::fs::read_to_string(self.dir.join("heads")).unwrap();
        let line = heads.lines().find(|line| line.ends_with("/root")).unwrap_or("0 ");
        line.split_once(' ').unwrap().0.parse().unwrap()
    }

    /// Status, content type and body of `POST /add-checkpoint`, asked with curl.
    pub fn post(&self, body: &[u8]) -> (u16, String, String) {
        let url = format!("{}/add-checkpoint", self.url());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "40", "-w", "\n%{http_code} %{content_type}", "--data-binary", "@-"]);
        let mut curl = curl.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        curl.stdin.take().unwrap().write_all(body).unwrap();
        let out = String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap();
        let (body, tail) = out.rsplit_once('\n').unwrap();
        let (status, kind) = tail.split_once(' ').unwrap();
        (status.parse().unwrap(), kind.to_owned(), body.to_owned())
    }
}

impl Drop for WitnessProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(dir: &Path, port: u16, log_vkey: &str) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new(PECHAT);
    command.args(["witness", "run", "--listen", &format!("127.0.0.1:{port}"), "--log", log_vkey, "--dir"]);
    command.arg(dir).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers every connection with `answer(request)`; with nothing it holds the connection open for ever.
pub struct Stub {
    pub url: String,
    /// Requests that arrived.
    pub asked: Arc<AtomicUsize>,
}

impl Stub {
    pub fn start(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = request(&mut stream);
                count.fetch_add(1, Ordering::SeqCst);
                match answer(&request) {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => held.push(stream),
                }
            }
        });
        Stub { url, asked }
    }
}

/// An HTTP answer that ends its connection.
pub fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// The body of one request.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if count == 0 || length.is_none_or(|length: usize| body.len() >= length) {
                return body.to_owned();
            }
        } else if count == 0 {
            return String::new();
        }
    }
}
