//! Where the PIN comes from: a private file or an inherited descriptor, never the command line or environment.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Most bytes of a PIN; more is refused here, so that no module has to cope.
const MAX_PIN: usize = 255;

/// Where to read the PIN.
#[derive(Debug, Clone)]
pub enum PinSource {
    /// A regular file of the process's own user that nobody else can read.
    File(PathBuf),
    /// An open descriptor, as a rule a pipe; it is read to its end.
    Descriptor(u32),
}

/// A user PIN: 1 to 255 bytes of UTF-8, wiped when dropped. It cannot print itself.
pub struct Pin(Zeroizing<String>);

/// Why there is no PIN.
#[derive(Debug, thiserror::Error)]
pub enum PinRefused {
    /// It cannot be opened or read.
    #[error("cannot read the PIN from {source_name}: {cause}")]
    Unreadable {
        /// File or descriptor.
        source_name: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Others could read it.
    #[error("PIN file {path} has mode {mode:03o}: others may read it; make it 600")]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else could change it.
    #[error("PIN file {path} belongs to user {owner}, not to user {ours} that the signer runs as")]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
    /// A directory, device or pipe.
    #[error("PIN file {0} is not a regular file")]
    NotAFile(PathBuf),
    /// Empty, too long, or with bytes that are not text.
    #[error("the PIN from {0} is empty, longer than 255 bytes or not UTF-8")]
    Form(String),
}

impl PinSource {
    /// Opens the source. Done before the process gives up its right to look at itself under /proc.
    pub fn open(&self) -> Result<OpenPin, PinRefused> {
        let name = self.to_string();
        let unreadable = |cause| PinRefused::Unreadable { source_name: name.clone(), cause };
        let file = match self {
            Self::File(path) => {
                let mut options = OpenOptions::new();
                options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
                let file = options.open(path).map_err(unreadable)?;
                private(path, &file, unreadable)?;
                file
            }
            Self::Descriptor(number) => File::open(format!("/proc/self/fd/{number}")).map_err(unreadable)?,
        };
        Ok(OpenPin { name, file })
    }
}

impl std::fmt::Display for PinSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
        }
    }
}

fn private(
    path: &Path,
    file: &File,
    unreadable: impl Fn(std::io::Error) -> PinRefused,
) -> Result<(), PinRefused> {
    let meta = file.metadata().map_err(unreadable)?;
    let (mode, owner, ours) = (meta.mode() & 0o777, meta.uid(), rustix::process::geteuid().as_raw());
    if !meta.is_file() {
        Err(PinRefused::NotAFile(path.into()))
    } else if owner != ours {
        Err(PinRefused::Owner { path: path.into(), owner, ours })
    } else if mode & 0o077 != 0 {
        Err(PinRefused::Mode { path: path.into(), mode })
    } else {
        Ok(())
    }
}

/// A PIN source that may be read once.
pub struct OpenPin {
    name: String,
    file: File,
}

impl OpenPin {
    /// Reads the PIN; one line end after it is dropped.
    pub fn read(self) -> Result<Pin, PinRefused> {
        let Self { name, file } = self;
        // One allocation of the full size: a growing buffer would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PIN + 3));
        if let Err(cause) = file.take(MAX_PIN as u64 + 2).read_to_end(&mut bytes) {
            return Err(PinRefused::Unreadable { source_name: name, cause });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| PinRefused::Form(name.clone()))?;
        let pin = text.strip_suffix('\n').unwrap_or(text);
        if (1..=MAX_PIN).contains(&pin.len()) {
            Ok(Pin(Zeroizing::new(pin.to_owned())))
        } else {
            Err(PinRefused::Form(name))
        }
    }
}

impl Pin {
    /// The PIN itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, PinSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, PinSource::File(path))
    }

    fn read(source: &PinSource) -> Result<String, String> {
        source.open().and_then(OpenPin::read).map(|pin| pin.expose().to_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_private_file_gives_its_line() {
        for (text, pin) in [("1234\n", "1234"), ("1234", "1234"), (" 12 \n\n", " 12 \n")] {
            for mode in [0o600, 0o400] {
                let (_dir, source) = file(text.as_bytes(), mode);
                assert_eq!(read(&source).as_deref(), Ok(pin));
            }
        }
    }

    #[test]
    fn files_that_others_could_read_or_redirect_are_refused() {
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let (_dir, source) = file(b"1234", mode);
            let error = read(&source).unwrap_err();
            assert!(
                error.ends_with(&format!("has mode {mode:o}: others may read it; make it 600")),
                "{error}"
            );
        }
        let (dir, _) = file(b"1234", 0o600);
        symlink("pin", dir.path().join("link")).unwrap();
        assert!(read(&PinSource::File(dir.path().join("link"))).is_err());
        assert!(read(&PinSource::File(dir.path().into())).unwrap_err().ends_with("is not a regular file"));
    }

    #[test]
    fn empty_long_and_binary_pins_are_refused() {
        for bad in [&b""[..], b"\n", &[b'1'; 256], &[b'1'; 300], b"12\xff4"] {
            let (_dir, source) = file(bad, 0o600);
            assert!(read(&source).unwrap_err().ends_with("is empty, longer than 255 bytes or not UTF-8"));
        }
        let (_dir, source) = file(&[b'1'; 255], 0o600);
        assert_eq!(read(&source), Ok("1".repeat(255)));
    }
}
