//! A stand-in for `python3 -m pip download` that hands out a wheel made by the test.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;

/// Writes a wheel with these entries.
pub fn wheel(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// A Python whose pip runs `script`, with `$dest` set to where the wheel belongs.
pub fn python(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("python3");
    let find = r#"while [ $# -gt 0 ]; do [ "$1" = --dest ] && dest="$2"; shift; done"#;
    std::fs::write(&path, format!("#!/bin/sh\n{find}\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A Python whose pip downloads this wheel, and writes a line to `calls` each time.
pub fn python_with(dir: &Path, wheel: &Path) -> PathBuf {
    let calls = dir.join("calls");
    python(dir, &format!("echo call >> '{}'; cp '{}' \"$dest/tiny_model-1.0.whl\"", calls.display(), wheel.display()))
}

/// How often pip was asked.
pub fn calls(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("calls")).unwrap_or_default().lines().count()
}
