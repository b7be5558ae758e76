//! How much memory this process may still take.

use std::fs;
use std::path::Path;

/// Bytes that are free for this process: what the system can give without swapping, and what the control groups that it is
/// in leave (containers have limits that `/proc/meminfo` doesn't show). `None` where neither can be found out.
pub(super) fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_in_meminfo(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").ok();
    let group = groups.and_then(|text| left_by_groups(Path::new("/sys/fs/cgroup"), &text));
    [system, group].into_iter().flatten().min()
}

fn available_in_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the tightest group on the way to the root leaves. Version 2 has one line, `0::/path`; version 1 one for each
/// controller.
fn left_by_groups(root: &Path, groups: &str) -> Option<u64> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let (base, limit, used) = match controllers {
            "" => (root.to_owned(), "memory.max", "memory.current"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => return None,
        };
        let group = base.join(path);
        let up_to_root = group.ancestors().take_while(|group| group.starts_with(&base));
        up_to_root.filter_map(|group| left(group, limit, used)).min()
    };
    groups.lines().filter_map(of_line).min()
}

fn left(group: &Path, limit: &str, used: &str) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max" is no number: no limit. Pages of files count as used and can be given back.
    let files = fs::read_to_string(group.join("memory.stat")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("inactive_file "))?;
        line.trim().parse::<u64>().ok()
    });
    let used = number(used)?.saturating_sub(files.unwrap_or(0));
    Some(number(limit)?.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24 kB\nMemFree: 3 kB\nMemAvailable:    1000 kB\n";
        assert_eq!(available_in_meminfo(text), Some(1_024_000));
        assert_eq!(available_in_meminfo("MemTotal: 24 kB"), None);
    }

    #[test]
    fn the_tightest_group_decides() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, name: &str, text: &str| {
            fs::create_dir_all(root.path().join(group)).unwrap();
            fs::write(root.path().join(group).join(name), text).unwrap();
        };
        write("a", "memory.max", "1000\n");
        write("a", "memory.current", "400\n");
        write("a/b", "memory.max", "max\n");
        write("a/b", "memory.current", "100\n");
        write("a/c", "memory.max", "500\n");
        write("a/c", "memory.current", "300\n");
        write("a/c", "memory.stat", "anon 5\ninactive_file 100\n");
        let left = |groups| left_by_groups(root.path(), groups);
        assert_eq!(left("0::/a/b\n"), Some(600));
        assert_eq!(left("0::/a/c\n"), Some(300));
        assert_eq!(left("0::/d\n"), None);
        write("memory/e", "memory.limit_in_bytes", "70\n");
        write("memory/e", "memory.usage_in_bytes", "50\n");
        assert_eq!(left("3:cpu:/e\n2:memory:/e\n"), Some(20));
    }

    #[test]
    fn something_is_known_of_this_machine() {
        #[cfg(target_os = "linux")]
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
