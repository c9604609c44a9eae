//! The demonstration's throw-away directory: where things are, and the texts written there.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::DemoError;

/// Says that the directory is ours and may be emptied.
const MARK: &str = ".pechat-demo";
/// NTP servers of the demonstration: four survive one liar.
pub const NTP_SERVERS: usize = 4;

/// Loopback ports, free at the moment they were looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// mTLS.
    pub api: u16,
    /// Plain HTTP for anyone.
    pub public: u16,
    /// `/metrics`.
    pub metrics: u16,
    /// One a server, UDP.
    pub ntp: [u16; NTP_SERVERS],
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// An empty directory of ours at `dir`. What an earlier demonstration left there is removed; any
    /// other content is not touched.
    pub fn prepare(dir: &Path) -> Result<Place, DemoError> {
        let at = |e: io::Error| DemoError::file(dir, e);
        let used = fs::read_dir(dir).map(|mut d| d.next().is_some()).unwrap_or(false);
        if used && !dir.join(MARK).exists() {
            return Err(DemoError::NotOurs(dir.display().to_string()));
        }
        if used {
            fs::remove_dir_all(dir).map_err(at)?;
        }
        make(dir)?;
        let root = fs::canonicalize(dir).map_err(at)?;
        let place = Place { root };
        place.write(MARK, "made by `pechat demo`; may be removed\n")?;
        for sub in ["hsm/tokens", "identities", "ntp"] {
            make(&place.path(sub))?;
        }
        Ok(place)
    }

    /// An existing demonstration's directory.
    pub fn existing(dir: &Path) -> Result<Place, DemoError> {
        let root = fs::canonicalize(dir).map_err(|e| DemoError::file(dir, e))?;
        if root.join(MARK).exists() {
            Ok(Place { root })
        } else {
            Err(DemoError::NotOurs(dir.display().to_string()))
        }
    }

    /// The directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Writes a file of mode 0600 (the process's umask is 077).
    pub fn write(&self, relative: &str, text: impl AsRef<[u8]>) -> Result<PathBuf, DemoError> {
        let path = self.path(relative);
        fs::write(&path, text).map_err(|e| DemoError::file(&path, e))?;
        Ok(path)
    }

    /// The configuration `pechat serve` runs with.
    pub fn pechat_toml(&self, ports: &Ports, module: &Path) -> String {
        let path = |relative: &str| toml_text(&self.path(relative).display().to_string());
        let sources: Vec<_> = ports.ntp.iter().map(|p| format!("\"127.0.0.1:{p}\"")).collect();
        format!(
            "# Written by `pechat demo`; deploy/examples/pechat.toml explains every key.\n\
             data_dir = {data}\nsite = \"seal.example.gov\"\n\n\
             [authority]\ncountry = \"BG\"\norganisation = \"Demonstration Authority\"\n\n\
             [listen]\napi = \"127.0.0.1:{api}\"\npublic = \"127.0.0.1:{public}\"\n\
             metrics = \"127.0.0.1:{metrics}\"\npublic_url = \"http://127.0.0.1:{public}\"\n\n\
             [hsm]\nmodule = {module}\ntoken_label = \"pechat-demo\"\npin_file = {pin}\nworkers = 1\nsession_copies = true\n\n\
             [hsm.env]\nSOFTHSM2_CONF = {softhsm}\n\n\
             [identifiers.codes]\nland-agency = \"7500\"\ncivil-registry = \"4750\"\n\n\
             # Demonstration only: a short start. A real clock watches its sources for 30 s first.\n\
             [clock]\nsources = [{sources}]\npoll = \"500ms\"\nstartup_span = \"1500ms\"\n",
            data = path("data"),
            api = ports.api,
            public = ports.public,
            metrics = ports.metrics,
            module = toml_text(&module.display().to_string()),
            pin = path("hsm/pin"),
            softhsm = path("hsm/softhsm2.conf"),
            sources = sources.join(", "),
        )
    }

    /// SoftHSM's own configuration: never the user's token directory.
    pub fn softhsm_conf(&self) -> String {
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            self.path("hsm/tokens").display()
        )
    }

    /// One NTP server that claims to be right without touching the system clock.
    pub fn chrony_conf(&self, server: usize, port: u16) -> String {
        format!(
            "# Demonstration: serves this machine's own time, and does not set it (chronyd -x).\n\
             local stratum {stratum}\nport {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\n\
             cmdport 0\nbindcmdaddress /\npidfile {pid}\n",
            stratum = 2 + server % 3,
            pid = self.path(&format!("ntp/{server}.pid")).display(),
        )
    }
}

impl Ports {
    /// The `usual` ports where they are free, others where they are not. Appliances that start at the same
    /// moment would find the same usual ports free.
    pub fn find(usual: bool) -> Result<Ports, DemoError> {
        let wish = |port| if usual { port } else { 0 };
        let mut taken = Vec::new();
        let mut tcp =
            |wanted| free(wish(wanted), &mut taken, |p| Ok(TcpListener::bind(p)?.local_addr()?.port()));
        let (api, public, metrics) = (tcp(8443)?, tcp(8080)?, tcp(9464)?);
        let mut ntp = [0; NTP_SERVERS];
        let mut taken = Vec::new();
        for (port, wanted) in ntp.iter_mut().zip(11_123..) {
            *port = free(wish(wanted), &mut taken, |p| Ok(UdpSocket::bind(p)?.local_addr()?.port()))?;
        }
        Ok(Ports { api, public, metrics, ntp })
    }
}

fn free(
    wanted: u16,
    taken: &mut Vec<u16>,
    bind: impl Fn((Ipv4Addr, u16)) -> io::Result<u16>,
) -> Result<u16, DemoError> {
    let any = || bind((Ipv4Addr::LOCALHOST, 0));
    let mut port = bind((Ipv4Addr::LOCALHOST, wanted)).or_else(|_| any());
    while port.as_ref().is_ok_and(|port| taken.contains(port)) {
        port = any();
    }
    let port = port.map_err(|e| DemoError::file(Path::new("a loopback port"), e))?;
    taken.push(port);
    Ok(port)
}

/// `demo/env`: assignments that a shell can source.
pub fn env_text(values: &[(&str, String)]) -> String {
    let mut text = String::from("# Written by `pechat demo`; use with: set -a; . demo/env; set +a\n");
    for (name, value) in values {
        let _ = writeln!(text, "{name}={}", quoted(value));
    }
    text
}

/// For a shell: as it is where that is safe, so that simpler readers understand it too.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_/.:,+@%-".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Reads one value back from [`env_text`].
pub fn env_value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))?;
    let quoted = line.strip_prefix('\'').and_then(|l| l.strip_suffix('\''));
    Some(quoted.map_or_else(|| line.to_owned(), |q| q.replace(r"'\''", "'")))
}

/// TOML basic string.
fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn make(dir: &Path) -> Result<(), DemoError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| DemoError::file(dir, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_with_foreign_files_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(Place::prepare(dir.path()), Err(DemoError::NotOurs(_))));
        assert!(dir.path().join("thesis.txt").exists());
    }

    #[test]
    fn earlier_demonstration_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(&dir.path().join("demo")).unwrap();
        let old = place.write("old", "x").unwrap();
        Place::prepare(place.root()).unwrap();
        assert!(!old.exists());
    }

    #[test]
    fn env_is_read_back_by_us_and_by_a_shell() {
        let value = "/tmp/it's here/$HOME".to_owned();
        let text = env_text(&[("PECHAT_DATA", value.clone()), ("PECHAT_URL", "https://h:1".into())]);
        assert_eq!(env_value(&text, "PECHAT_DATA"), Some(value.clone()));
        assert_eq!(env_value(&text, "PECHAT"), None);
        let script = format!("{text}\nprintf %s \"$PECHAT_DATA\"");
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), value);
    }

    #[test]
    fn configuration_is_toml_whatever_the_path() {
        let place = Place { root: "/tmp/a \"b\"\\c".into() };
        let ports = Ports { api: 1, public: 2, metrics: 3, ntp: [4, 5, 6, 7] };
        let text = place.pechat_toml(&ports, Path::new("/m.so"));
        let value: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(value["data_dir"].as_str(), Some("/tmp/a \"b\"\\c/data"));
        assert_eq!(value["clock"]["sources"].as_array().map(Vec::len), Some(4));
    }
}
