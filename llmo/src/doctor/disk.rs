//! Can models be stored, and is there room?

use std::path::Path;

use llmo_config::Config;

use super::Finding;
use crate::cli::Layout;

const ROOM_BYTES: u64 = 1 << 30;

pub(super) fn check(config: &Config, _: Layout) -> Vec<Finding> {
    let dir = config.store.directory();
    let cure = "free some space, or set another directory: LLMO_STORE__DIR=/path";
    let Some(existing) = dir.ancestors().find(|path| path.is_dir()) else {
        return vec![Finding::problem(format!("{} cannot be made", dir.display()), cure)];
    };
    if tempfile_in(existing).is_err() {
        return vec![Finding::problem(format!("{} cannot be written", existing.display()), cure)];
    }
    let disks = sysinfo::Disks::new_with_refreshed_list();
    let disk = disks
        .iter()
        .flat_map(|disks| disks.iter())
        .filter(|disk| existing.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().as_os_str().len());
    let Some(free) = disk.map(|disk| disk.available_space()) else {
        return vec![Finding::fine(format!("models are kept in {}", dir.display()))];
    };
    let what = format!("{} MiB free for models in {}", free >> 20, dir.display());
    if free < ROOM_BYTES { vec![Finding::problem(what, cure)] } else { vec![Finding::fine(what)] }
}

/// Writes and removes an empty file.
fn tempfile_in(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".llmo-doctor-{}", std::process::id()));
    std::fs::File::create(&path)?;
    std::fs::remove_file(&path)
}
