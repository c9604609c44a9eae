//! Commands that cannot do what they are asked: exit status and words.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::World;

/// Exit status and everything it said.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let out = command.stdin(Stdio::null()).output().expect("pechat");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(!text.contains("panicked"), "{text}");
    (out.status.code(), text)
}

fn pechat(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    said(Command::new(world.appliance.env("PECHAT_BIN")).args(arguments))
}

/// Refused with this status, in these words.
fn refused(world: &World, arguments: &[&str], status: i32, words: &[&str]) {
    let (code, text) = pechat(world, arguments);
    assert_eq!(code, Some(status), "{arguments:?}: {text}");
    for words in words {
        assert!(text.contains(words), "{arguments:?} does not say {words:?}: {text}");
    }
}

pub fn all(world: &World) {
    serve(world);
    init(world);
    check_config(world);
    verify(world);
    world.check("status says that nothing answers", |w| {
        refused(w, &["status", "--config", "/nonexistent.toml"], 2, &["cannot be read"]);
    });
}

/// The appliance's configuration with something replaced.
fn config_with(world: &World, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(world.appliance.config()).unwrap();
    assert!(text.contains(from), "{from} is not in the configuration");
    world.file(text.replace(from, to).as_bytes())
}

/// The same appliance on another, empty data directory.
fn elsewhere(world: &World) -> (PathBuf, PathBuf) {
    let data = world.fresh("data");
    let config = config_with(world, world.appliance.env("PECHAT_DATA"), data.to_str().unwrap());
    (config, data)
}

fn serve(world: &World) {
    world.check("serve refuses a directory that was not initialised", |w| {
        let (config, data) = elsewhere(w);
        refused(
            w,
            &["serve", "--config", config.to_str().unwrap()],
            1,
            &["was not initialised", "pechat init"],
        );
        assert!(!data.exists());
    });
    world.check("a second serve on the same directory is refused and the first one notices nothing", |w| {
        let signer = w.appliance.signer_pid();
        let config = w.appliance.config();
        for _ in 0..2 {
            let words = ["is in use by another `pechat serve`", w.appliance.env("PECHAT_DATA")];
            refused(w, &["serve", "--config", config.to_str().unwrap()], 1, &words);
        }
        assert_eq!(w.appliance.signer_pid(), signer);
        assert!(!w.appliance.log().contains("the signer is down"), "{}", w.appliance.log());
        w.works();
    });
    world.check("serve and init refuse a configuration with every fault named", |w| {
        let config = config_with(w, "[clock]", "surprise = 1\n[clock]");
        for command in [&["serve"][..], &["init", "--officer", "a=b", "--officer", "c=d"]] {
            let arguments = [command, &["--config", config.to_str().unwrap()]].concat();
            refused(w, &arguments, 1, &["cannot be used", "surprise"]);
        }
    });
}

fn init(world: &World) {
    let csr = |w: &World| w.file(w.key_and_csr().1.as_bytes());
    let refused_init = |w: &World, officers: &[(&str, &Path)], status: i32, words: &[&str]| {
        let (config, data) = elsewhere(w);
        let officers: Vec<_> =
            officers.iter().map(|(name, file)| format!("{name}={}", file.display())).collect();
        let mut arguments = vec!["init", "--config", config.to_str().unwrap()];
        arguments.extend(officers.iter().flat_map(|officer| ["--officer", officer]));
        refused(w, &arguments, status, words);
        assert!(!data.exists(), "nothing was begun");
    };
    world.check("init does not run twice", |w| {
        let (first, second) = (csr(w), csr(w));
        let officers = [format!("a={}", first.display()), format!("b={}", second.display())];
        let config = w.appliance.config();
        let arguments = [
            "init",
            "--config",
            config.to_str().unwrap(),
            "--officer",
            &officers[0],
            "--officer",
            &officers[1],
        ];
        refused(w, &arguments, 1, &["is initialised already", "keys are made once"]);
    });
    world.check("init wants two different officers", |w| {
        let file = csr(w);
        refused_init(w, &[("ana", &file)], 1, &["two officers"]);
        refused_init(w, &[("ana", &file), ("ana", &csr(w))], 1, &["two officers"]);
        refused_init(w, &[("ana", &file), ("boris", &csr(w)), ("vera", &csr(w))], 1, &["two officers"]);
        refused_init(w, &[("ana", &file), ("boris", &file)], 1, &["same key"]);
        refused_init(w, &[], 2, &["--officer"]);
    });
    world.check("init judges the officers' requests before it makes keys", |w| {
        let good = csr(w);
        let nothing = w.fresh("nothing");
        refused_init(w, &[("ana", &good), ("boris", &nothing)], 1, &["officer boris", "No such file"]);
        let garbage = w.file(b"garbage");
        refused_init(
            w,
            &[("ana", &good), ("boris", &garbage)],
            1,
            &["officer boris", "not a PKCS #10 request"],
        );
        refused_init(w, &[("ana", &good), ("Boris the Second", &csr(w))], 1, &["is not a DNS label"]);
        refused_init(w, &[("../ana", &good), ("boris", &csr(w))], 1, &["is not a DNS label"]);
        refused_init(w, &[("", &good), ("boris", &csr(w))], 2, &["NAME=FILE"]);
    });
}

fn check_config(world: &World) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/pechat.toml");
    world.check("the shipped example passes", |w| {
        let (code, text) = pechat(w, &["check-config", example.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(": ok (site seal.example.gov"), "{text}");
    });
    let shipped = std::fs::read_to_string(&example).unwrap();
    world.check("every fault is listed at once", |w| {
        let text = shipped.replace("country = \"BG\"", "country = \"bulgaria\"");
        let text = text.replace("metrics = \"127.0.0.1:9464\"", "metrics = \"0.0.0.0:9464\"");
        let file = w.file(text.replace("workers = 2", "workers = 0").as_bytes());
        let words = ["authority.country", "listen.metrics", "hsm.workers"];
        refused(w, &["check-config", file.to_str().unwrap()], 1, &words);
    });
    for (what, text, words) in [
        ("an unknown key", format!("surprise = 1\n{shipped}"), "surprise"),
        ("an unknown key in a table", shipped.replace("[limits]", "[limits]\nsurprise = 1"), "surprise"),
        ("a missing key", shipped.replace("site = ", "# site = "), "site"),
        ("a PIN in the environment", shipped.replace("[hsm.env]", "[hsm.env]\nPIN = \"1\""), "hsm.pin_file"),
        (
            "two time sources",
            shipped.replace("\"ntp1.example.gov:123\", \"ntp2.example.gov:123\", ", ""),
            "clock",
        ),
        ("text that is not TOML", "<config/>".into(), "TOML"),
        ("an empty file", String::new(), "data_dir"),
    ] {
        world.check(&format!("a configuration with {what} is refused"), |w| {
            let file = w.file(text.as_bytes());
            refused(w, &["check-config", file.to_str().unwrap()], 1, &["cannot be used", words]);
        });
    }
    world.check("a configuration that cannot be read is refused", |w| {
        for path in ["/nonexistent.toml", "/"] {
            refused(w, &["check-config", path], 1, &["cannot be used", "cannot be read"]);
        }
        let binary = w.file(&[0xff, 0xfe, 0x00]);
        refused(w, &["check-config", binary.to_str().unwrap()], 1, &["cannot be read"]);
    });
}

fn verify(world: &World) {
    let head_key = world.appliance.path("demo/journal-head.pem");
    let trust =
        ["verify", "--ca", world.appliance.env("PECHAT_CA"), "--head-key", head_key.to_str().unwrap()];
    let registry = world.registry();
    let receipt = world.get(&registry, &world.journal("receipts/1"));
    let export = world.get(&registry, &world.journal("export"));
    world.check("verify passes what the appliance gave out", |w| {
        assert_eq!((receipt.status, export.status), (200, 200));
        let (receipt, export) = (w.file(&receipt.body), w.file(&export.body));
        let files = [receipt.to_str().unwrap(), export.to_str().unwrap()];
        let (code, text) = pechat(w, &[&trust[..], &files].concat());
        assert_eq!((code, text.matches("PASSED").count()), (Some(0), 2), "{text}");
    });
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    for (what, bytes) in [
        ("an empty file", vec![]),
        ("garbage", b"garbage\n".to_vec()),
        ("binary garbage", vec![0xff; 5000]),
        ("the start of a token", vec![0x30, 0x82, 0xff, 0xff]),
        ("deep ASN.1", [0x30, 0x80].repeat(50_000)),
        ("deep JSON", b"[".repeat(200_000)),
        ("JSON of something else", b"{\"receipts\":[]}".to_vec()),
        ("half of a receipt", half(&receipt.body)),
        ("half of an export", half(&export.body)),
        ("a receipt with one bit flipped", flipped(&receipt.body)),
        ("an export with one bit flipped", flipped(&export.body)),
        ("an export with bytes after its end", [&export.body[..], b"x"].concat()),
        ("a receipt with a line after its end", [&receipt.body[..], b"\n"].concat()),
    ] {
        world.check(&format!("verify fails {what} and names the file"), |w| {
            let file = w.file(&bytes);
            let name = file.to_str().unwrap();
            refused(w, &[&trust[..], &[name]].concat(), 1, &["FAILED", name]);
            refused(w, &[&trust[..], &["--json", name]].concat(), 1, &["\"passed\":false", "\"reason\":"]);
        });
    }
    world.check("verify fails when one of several files does, and still judges the others", |w| {
        let (good, bad) = (w.file(&receipt.body), w.fresh("nothing"));
        let files = [bad.to_str().unwrap(), good.to_str().unwrap(), "/"];
        refused(w, &[&trust[..], &files].concat(), 1, &["cannot be opened", "PASSED", "cannot be read"]);
    });
    world.check("verify says what its command line lacks with status 2", |w| {
        let (good, garbage) = (w.file(&receipt.body), w.file(b"garbage"));
        let (good, garbage) = (good.to_str().unwrap(), garbage.to_str().unwrap());
        refused(w, &["verify", good], 2, &["nothing to trust"]);
        refused(w, &trust, 2, &["<FILE>"]);
        refused(w, &["verify", "--ca", "/nonexistent", good], 2, &["cannot read /nonexistent"]);
        refused(w, &["verify", "--ca", garbage, good], 2, &["no PEM certificates"]);
        refused(w, &["verify", "--head-key", garbage, good], 2, &["not a PEM public key"]);
        refused(w, &[&trust[..], &["--digest", "xyz", good]].concat(), 2, &["--digest is not hex"]);
        refused(w, &[&trust[..], &["--record", garbage, good]].concat(), 2, &["--salt"]);
    });
    world.check("verify fails a good receipt that is about something else", |w| {
        let file = w.file(&receipt.body);
        let digest = "ab".repeat(32);
        refused(w, &[&trust[..], &["--digest", &digest, file.to_str().unwrap()]].concat(), 1, &["FAILED"]);
    });
}

/// What `serve` refuses to start with; ends with the appliance running again.
pub fn on_a_stopped_appliance(world: &mut World) {
    world.appliance.kill_serve();
    let data = PathBuf::from(world.appliance.env("PECHAT_DATA"));
    let config = world.appliance.config();
    let arguments = ["serve", "--config", config.to_str().unwrap()];
    let pin = world.appliance.path("demo/hsm/pin");
    for (path, open, words) in [
        (data.clone(), 0o755, "has mode 0755; others must not reach it: chmod 0700"),
        (data.clone(), 0o770, "has mode 0770; others must not reach it: chmod 0700"),
        (data.join("keys.json"), 0o644, "has mode 0644; others must not reach it: chmod 0600"),
        (data.join("tls/server.key"), 0o640, "has mode 0640; others must not reach it: chmod 0600"),
        (pin, 0o644, "has mode 644: others may read it; make it 600"),
    ] {
        world.check(&format!("serve refuses {} of mode {open:o}", path.display()), |w| {
            let mode = std::fs::metadata(&path).unwrap().permissions();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(open)).unwrap();
            let (code, text) = pechat(w, &arguments);
            std::fs::set_permissions(&path, mode).unwrap();
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains(words), "{text}");
        });
    }
    for (name, words) in [
        ("keys.json", "was not initialised"),
        ("certificates/tsu-1.pem", "certificates/tsu-1.pem"),
        ("tls/server.key", "tls/server.key"),
    ] {
        world.check(&format!("serve refuses to start without {name}"), |w| {
            let (path, away) = (data.join(name), data.join(name).with_extension("away"));
            std::fs::rename(&path, &away).unwrap();
            let (code, text) = pechat(w, &arguments);
            std::fs::rename(&away, &path).unwrap();
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains(words), "{text}");
        });
    }
    world.check("serve refuses what init did not finish", |w| {
        let mark = data.join("INIT-UNFINISHED");
        std::fs::write(&mark, "").unwrap();
        refused(w, &arguments, 1, &["`pechat init` did not finish"]);
        std::fs::remove_file(mark).unwrap();
    });
    world.check("serve refuses a wrong PIN and a wrong module", |w| {
        let wrong = w.file(b"a-wrong-pin\n");
        std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
        let pin = w.appliance.path("demo/hsm/pin");
        let config = config_with(w, pin.to_str().unwrap(), wrong.to_str().unwrap());
        refused(w, &["serve", "--config", config.to_str().unwrap()], 1, &["HSM", "PIN"]);
        let text = std::fs::read_to_string(w.appliance.config()).unwrap();
        let module = text.lines().find_map(|l| l.strip_prefix("module = ")).unwrap().to_owned();
        let config = config_with(w, &module, "\"/nonexistent.so\"");
        refused(w, &["serve", "--config", config.to_str().unwrap()], 1, &["HSM", "/nonexistent.so"]);
    });
    world.appliance.start_serve();
    world.appliance.wait_until_ready();
}
