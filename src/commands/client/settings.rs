//! Where the appliance is and who we are: environment first, configuration file second.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a client needs to talk to the appliance. All paths are PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Origin of the mTLS listener, e.g. `https://seal.example.gov:8443`.
    pub url: String,
    /// The appliance's root certificate; nothing else is trusted.
    pub ca: PathBuf,
    /// Our certificate, followed by its issuing CA.
    pub cert: PathBuf,
    /// Our private key (PKCS#8 or SEC 1), mode 0600.
    pub key: PathBuf,
    /// The pinned public key of the journal head (SPKI); absent: the one kept beside the receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_key: Option<PathBuf>,
}

/// The same, each part possibly absent: one layer of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// See [`Settings::url`].
    pub url: Option<String>,
    /// See [`Settings::ca`].
    pub ca: Option<PathBuf>,
    /// See [`Settings::cert`].
    pub cert: Option<PathBuf>,
    /// See [`Settings::key`].
    pub key: Option<PathBuf>,
    /// See [`Settings::head_key`].
    pub head_key: Option<PathBuf>,
}

/// Why there are no settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is there but cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Not TOML, an unknown key or a wrong type.
    #[error("{path} is not a client configuration: {reason}")]
    Malformed {
        /// Which file.
        path: String,
        /// Line, column and cause.
        reason: String,
    },
    /// Something is set nowhere.
    #[error("not set: {names}; set them in the environment or in {path} (`pechat client init` writes it)")]
    Missing {
        /// Names of the variables, separated by commas.
        names: String,
        /// The configuration file looked at.
        path: String,
    },
    /// The address is not one we may use.
    #[error("{0:?} is not an https:// address; the appliance is asked over mutual TLS only")]
    NotHttps(String),
    /// There is neither `--config` nor `XDG_CONFIG_HOME` nor `HOME`.
    #[error("no configuration file: name one with --config, or set XDG_CONFIG_HOME or HOME")]
    NoHome,
}

impl Layer {
    /// Reads one layer from TOML; `path` is for the error text.
    pub fn from_toml(text: &str, path: &Path) -> Result<Layer, SettingsError> {
        toml::from_str(text).map_err(|e| SettingsError::Malformed {
            path: path.display().to_string(),
            reason: e.to_string().trim_end().to_owned(),
        })
    }

    /// `PECHAT_URL`, `PECHAT_CA`, `PECHAT_CERT`, `PECHAT_KEY`; an empty value counts as unset.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Layer {
        let value = |name: &str| read(name).filter(|v| !v.is_empty());
        Layer {
            url: value("PECHAT_URL"),
            ca: value("PECHAT_CA").map(PathBuf::from),
            cert: value("PECHAT_CERT").map(PathBuf::from),
            key: value("PECHAT_KEY").map(PathBuf::from),
            head_key: None,
        }
    }

    /// This layer, with its gaps filled from `below`.
    pub fn over(self, below: Layer) -> Layer {
        Layer {
            url: self.url.or(below.url),
            ca: self.ca.or(below.ca),
            cert: self.cert.or(below.cert),
            key: self.key.or(below.key),
            head_key: self.head_key.or(below.head_key),
        }
    }

    /// All parts present, or every missing one named; `path` is the configuration file looked at.
    pub fn complete(self, path: &Path) -> Result<Settings, SettingsError> {
        let Layer { url: Some(url), ca: Some(ca), cert: Some(cert), key: Some(key), head_key } = self else {
            return Err(self.missing(path));
        };
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("https://") {
            return Err(SettingsError::NotHttps(url));
        }
        Ok(Settings { url, ca, cert, key, head_key })
    }

    fn missing(&self, path: &Path) -> SettingsError {
        let parts = [
            ("PECHAT_URL", self.url.is_none()),
            ("PECHAT_CA", self.ca.is_none()),
            ("PECHAT_CERT", self.cert.is_none()),
            ("PECHAT_KEY", self.key.is_none()),
        ];
        let names: Vec<_> = parts.iter().filter(|p| p.1).map(|p| p.0).collect();
        SettingsError::Missing { names: names.join(", "), path: path.display().to_string() }
    }
}

/// `--config`, else `$XDG_CONFIG_HOME/pechat/client.toml`, else `$HOME/.config/pechat/client.toml`.
pub fn config_path(flag: Option<&Path>) -> Result<PathBuf, SettingsError> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    let home = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    home("XDG_CONFIG_HOME")
        .or_else(|| home("HOME").map(|h| h.join(".config")))
        .map(|dir| dir.join("pechat").join("client.toml"))
        .ok_or(SettingsError::NoHome)
}

/// Environment over file. A file named by `--config` must exist; the default one need not.
pub fn load(flag: Option<&Path>) -> Result<Settings, SettingsError> {
    let environment = Layer::from_environment(|name| std::env::var(name).ok());
    let path = match config_path(flag) {
        Ok(path) => path,
        Err(_) => return environment.complete(Path::new("a file named by --config")),
    };
    let file = read_layer(&path, flag.is_some())?;
    environment.over(file).complete(&path)
}

/// The settings' pinned head key alone, for checks that need no connection.
pub fn offline(flag: Option<&Path>) -> Result<Layer, SettingsError> {
    let environment = Layer::from_environment(|name| std::env::var(name).ok());
    match config_path(flag) {
        Ok(path) => Ok(environment.over(read_layer(&path, flag.is_some())?)),
        Err(_) => Ok(environment),
    }
}

/// Paths in the file are relative to the file.
fn read_layer(path: &Path, must_exist: bool) -> Result<Layer, SettingsError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(Layer::default()),
        Err(e) => {
            return Err(SettingsError::Unreadable {
                path: path.display().to_string(),
                reason: e.to_string(),
            });
        }
    };
    let base = path.parent().unwrap_or(Path::new(""));
    let layer = Layer::from_toml(&text, path)?;
    let beside = |p: Option<PathBuf>| p.map(|p| base.join(p));
    Ok(Layer {
        url: layer.url,
        ca: beside(layer.ca),
        cert: beside(layer.cert),
        key: beside(layer.key),
        head_key: beside(layer.head_key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "url = \"https://a:1/\"\nca = \"ca.pem\"\ncert = \"c.pem\"\nkey = \"k.pem\"\n";

    #[test]
    fn environment_wins_over_the_file_part_by_part() {
        let file = Layer::from_toml(FILE, Path::new("f")).unwrap();
        let environment = Layer::from_environment(|n| (n == "PECHAT_URL").then(|| "https://b:2".into()));
        let settings = environment.over(file).complete(Path::new("f")).unwrap();
        assert_eq!(
            settings,
            Settings {
                url: "https://b:2".into(),
                ca: "ca.pem".into(),
                cert: "c.pem".into(),
                key: "k.pem".into(),
                head_key: None
            }
        );
    }

    #[test]
    fn everything_missing_is_named_at_once() {
        let error = Layer::default().complete(Path::new("/x/client.toml")).unwrap_err();
        let text = error.to_string();
        for name in ["PECHAT_URL", "PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY", "/x/client.toml"] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn unknown_key_is_refused_with_its_line() {
        let error = Layer::from_toml("url = \"https://a\"\nurll = \"x\"\n", Path::new("f")).unwrap_err();
        assert!(error.to_string().contains("urll") && error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn plain_http_is_refused() {
        let layer = Layer::from_toml(&FILE.replace("https", "http"), Path::new("f")).unwrap();
        assert_eq!(layer.complete(Path::new("f")), Err(SettingsError::NotHttps("http://a:1".into())));
    }

    #[test]
    fn empty_variable_counts_as_unset() {
        assert_eq!(Layer::from_environment(|_| Some(String::new())), Layer::default());
    }
}
