//! Memory in large pages for engine processes.
//!
//! A step of decoding reads all weights and the KV caches of all streams: tens of thousands of pages of 4 KiB, and where the
//! machine is a virtual one each of their addresses is looked up twice. glibc asks the kernel for pages of 2 MiB if a tunable
//! says so (since 2.35; it needs `madvise` or `always` in `/sys/kernel/mm/transparent_hugepage/enabled`, as most systems have).
//! Two engines side by side, medians of three rounds: steps of one stream took 6.4 instead of 7.4 ms with them, of 32 streams
//! 48 instead of 58. Other C libraries and older ones ignore it.

use std::ffi::{OsStr, OsString};

/// Read by glibc when a process starts.
pub(super) const VARIABLE: &str = "GLIBC_TUNABLES";

const TUNABLE: &str = "glibc.malloc.hugetlb";

/// The variable's value for an engine, given its present one. What a user says of large pages stays; a value that is no
/// text is the user's too.
pub(super) fn tunables(present: Option<&OsStr>) -> Option<OsString> {
    let Some(present) = present.filter(|present| !present.is_empty()) else {
        return Some(format!("{TUNABLE}=1").into());
    };
    let present = present.to_str()?;
    let is_said = present.split(':').any(|tunable| tunable.split('=').next() == Some(TUNABLE));
    (!is_said).then(|| format!("{present}:{TUNABLE}=1").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(present: &str) -> Option<OsString> {
        tunables(Some(OsStr::new(present)))
    }

    #[test]
    fn large_pages_are_asked_for_beside_what_else_is_tuned() {
        assert_eq!(tunables(None), Some("glibc.malloc.hugetlb=1".into()));
        assert_eq!(of(""), Some("glibc.malloc.hugetlb=1".into()));
        assert_eq!(of("glibc.malloc.arena_max=2"), Some("glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1".into()));
    }

    #[test]
    fn what_a_user_says_of_large_pages_stays() {
        assert_eq!(of("glibc.malloc.hugetlb=0"), None);
        assert_eq!(of("glibc.malloc.arena_max=2:glibc.malloc.hugetlb=2"), None);
    }
}
