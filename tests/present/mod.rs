//! Programs of others that a test needs.

/// Whether all these programs are here. If not: says so, and fails where nothing may be skipped.
#[must_use]
pub fn present(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Joining an absolute path replaces the directory.
    let here = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let missing: Vec<_> = programs.iter().copied().filter(|name| !here(name)).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nothing is skipped in CI: needs {missing}");
        eprintln!("skipped: needs {missing} (make setup)");
    }
    missing.is_empty()
}
