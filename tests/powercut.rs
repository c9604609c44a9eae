//! Power cuts under load: the journal's own ext4 is shut off between two instructions, mounted again,
//! and every acknowledged entry is there. Needs root and loop devices.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
#[path = "crash/history.rs"]
mod history;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use appliance::{Appliance, run};
use history::History;

/// The disk, bytes; sparse.
const DISK: u64 = 3 << 30;

/// Cuts: `PECHAT_POWER_CUTS`, else 5.
fn cuts() -> u64 {
    std::env::var("PECHAT_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// A file system in a file, mounted over a directory; unmounted when dropped.
struct Disk {
    image: PathBuf,
    over: PathBuf,
}

impl Disk {
    /// `None` where the machine cannot mount one.
    fn make(image: PathBuf, over: PathBuf) -> Option<Disk> {
        let can = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
        let tools = ["xfs_io", "mkfs.ext4", "losetup"];
        let sought = |tool: &&str| {
            ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(tool).exists())
        };
        if !can || !tools.iter().all(sought) {
            return None;
        }
        std::fs::File::create(&image).and_then(|file| file.set_len(DISK)).expect("an image");
        run(Command::new("/sbin/mkfs.ext4").args(["-q", "-F"]).arg(&image));
        let disk = Disk { image, over };
        disk.try_mount().then_some(disk)
    }

    fn try_mount(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&self.image).arg(&self.over);
        mount.output().is_ok_and(|out| out.status.success())
    }

    /// From here on nothing reaches the disk, the file system's own log included.
    fn cut(&self) {
        run(Command::new("/usr/sbin/xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.over));
    }

    fn remount(&self) {
        run(Command::new("umount").arg(&self.over));
        assert!(self.try_mount(), "{} mounts again", self.image.display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.over).output();
    }
}

fn skipped(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and this machine lacks {what}");
    println!("skipped: needs {what}");
}

#[test]
fn no_power_cut_loses_an_acknowledged_entry() {
    let mut appliance = Appliance::start();
    let journal = appliance.env("PECHAT_JOURNAL").to_owned();
    let (place, kept) = (appliance.path("demo/data/journal"), appliance.path("kept"));
    appliance.kill_serve();
    run(Command::new("cp").arg("-a").arg(&place).arg(&kept));
    let Some(disk) = Disk::make(appliance.path("disk.img"), place.clone()) else {
        return skipped("root, loop devices, xfsprogs and e2fsprogs");
    };
    run(Command::new("cp").arg("-a").arg(kept.join(".")).arg(&place));
    run(Command::new("sync").arg("-f").arg(&place));
    appliance.start_serve();
    appliance.wait_until_ready();
    let history = History::start(&appliance, &journal);
    for round in 0..cuts() {
        std::thread::sleep(Duration::from_millis(900 + 137 * round % 600));
        disk.cut();
        let start = history.now();
        std::thread::sleep(Duration::from_millis(300));
        history.fault("storage", start);
        appliance.kill_serve();
        disk.remount();
        appliance.start_serve();
        appliance.wait_until_ready();
    }
    let written = history.path.clone();
    let sealed = history.finish();
    let export = appliance.path("export.bin");
    let url = format!("{}/v1/journals/{journal}/export", appliance.env("PECHAT_URL"));
    let (status, body) = appliance.curl("PECHAT_AUDITOR_CERT", "PECHAT_AUDITOR_KEY", &[&url]);
    assert_eq!(status, 200);
    std::fs::write(&export, body).expect("export");
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checker/check.py");
    let said = run(Command::new("python3").arg(checker).arg(&written).arg(&export));
    assert!(said.starts_with(&format!("CONSISTENT: {} entries", sealed + 1)), "{sealed} sealed; {said}");
    println!("{said}{} cuts", cuts());
    appliance.kill_serve();
}
