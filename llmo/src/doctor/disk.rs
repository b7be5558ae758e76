//! Can models be stored, and is there room?

use std::path::{Path, PathBuf};

use llmo_config::Config;

use super::{Finding, Scene};
use crate::docker::docker;

const ROOM_BYTES: u64 = 1 << 30;

/// What there is of a directory.
struct Room {
    /// The nearest of its ancestors that is there; `None`: none is.
    existing: Option<PathBuf>,
    writable: bool,
    /// Bytes; `None`: the system does not say.
    free: Option<u64>,
}

pub(super) fn check(config: &Config, scene: &Scene) -> Vec<Finding> {
    if !scene.in_containers() {
        let dir = config.store.directory();
        return vec![judged(&dir, &room(&dir), "free some space, or set another directory: LLMO_STORE__DIR=/path")];
    }
    // Images and volumes are in there. An engine that doesn't answer is the check `containers`' matter.
    let Ok(root) = docker(&["info", "--format", "{{.DockerRootDir}}"]) else { return Vec::new() };
    let root = PathBuf::from(root.trim());
    // It is the engine that writes there. On another machine, or in a virtual one, it can't be seen from here.
    let room = Room { writable: true, ..room(&root) };
    if room.existing.as_deref() != Some(&*root) {
        return Vec::new();
    }
    let cure = format!("{}, or free some space", crate::docker::to_type("system df (and system prune)"));
    vec![judged(&root, &room, &cure)]
}

fn room(dir: &Path) -> Room {
    let existing = dir.ancestors().find(|path| path.is_dir()).map(Path::to_owned);
    let Some(path) = &existing else { return Room { existing, writable: false, free: None } };
    let disks = sysinfo::Disks::new_with_refreshed_list();
    let disk = disks
        .iter()
        .flat_map(|disks| disks.iter())
        .filter(|disk| path.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().as_os_str().len());
    Room { writable: is_writable(path), free: disk.map(|disk| disk.available_space()), existing }
}

fn judged(dir: &Path, room: &Room, cure: &str) -> Finding {
    let shown = dir.display();
    let Some(existing) = &room.existing else {
        return Finding::problem(format!("{shown} cannot be made"), cure);
    };
    if !room.writable {
        return Finding::problem(format!("{} cannot be written", existing.display()), cure);
    }
    let Some(free) = room.free else {
        return Finding::fine(format!("models are kept in {shown}"));
    };
    let what = format!("{} MiB free for models in {shown}", free >> 20);
    if free < ROOM_BYTES { Finding::problem(what, cure) } else { Finding::fine(what) }
}

/// Writes and removes an empty file.
fn is_writable(dir: &Path) -> bool {
    let path = dir.join(format!(".llmo-doctor-{}", std::process::id()));
    std::fs::File::create(&path).and_then(|_| std::fs::remove_file(&path)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_cannot_be_written_or_is_nearly_full_is_a_problem() {
        let dir = Path::new("/m/models");
        let there = |writable, free| Room { existing: Some("/m".into()), writable, free };
        let judge = |room: &Room| judged(dir, room, "cure");
        let full = judge(&there(true, Some(ROOM_BYTES - 1)));
        assert!(full.state == State::Problem && full.what.contains("1023 MiB free"), "{full:?}");
        let closed = judge(&there(false, Some(ROOM_BYTES)));
        assert!(closed.state == State::Problem && closed.what == "/m cannot be written", "{closed:?}");
        let nowhere = judge(&Room { existing: None, writable: false, free: None });
        assert!(nowhere.state == State::Problem && nowhere.cure.as_deref() == Some("cure"), "{nowhere:?}");
        assert_eq!(judge(&there(true, Some(ROOM_BYTES))).state, State::Fine);
        assert_eq!(judge(&there(true, None)).state, State::Fine);
    }

    #[test]
    fn a_directory_that_will_be_made_is_judged_by_what_it_will_be_in() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let room = room(&dir.path().join("a/b"));
        assert_eq!(room.existing.as_deref(), Some(dir.path()));
        assert!(room.writable);
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0, "nothing is left behind");
        Ok(())
    }
}
