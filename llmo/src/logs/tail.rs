//! A file that grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Most bytes of the past that are read.
const PAST: u64 = 8 << 20;

/// A file that is read as it grows. One that is replaced, or cut, is read from its beginning.
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    /// The beginning of a line whose end is not there yet.
    part: Vec<u8>,
}

impl Tail {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, at: 0, part: Vec::new() }
    }

    /// Gives all complete lines that are new. A file that isn't there has none.
    pub(super) fn read(&mut self, mut take: impl FnMut(&str)) {
        if self.file.is_none() || self.is_another() {
            let first = self.file.is_none();
            let Ok(mut file) = File::open(&self.path) else { return };
            let length = file.metadata().map_or(0, |data| data.len());
            self.at = if first { length.saturating_sub(PAST) } else { 0 };
            // What is in the middle of a line then is taken for one.
            if file.seek(SeekFrom::Start(self.at)).is_err() {
                return;
            }
            (self.file, self.part) = (Some(file), Vec::new());
        }
        let Some(file) = &mut self.file else { return };
        let mut fresh = Vec::new();
        if let Ok(read) = file.read_to_end(&mut fresh) {
            self.at += read as u64;
        }
        self.part.extend_from_slice(&fresh);
        let Some(end) = self.part.iter().rposition(|&byte| byte == b'\n') else { return };
        let rest = self.part.split_off(end + 1);
        let whole = std::mem::replace(&mut self.part, rest);
        String::from_utf8_lossy(&whole).lines().for_each(&mut take);
    }

    fn is_another(&self) -> bool {
        let Ok(now) = std::fs::metadata(&self.path) else { return false };
        if now.len() < self.at {
            return true;
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let open = self.file.as_ref().and_then(|file| file.metadata().ok());
            open.is_some_and(|open| (open.dev(), open.ino()) != (now.dev(), now.ino()))
        }
        #[cfg(not(unix))]
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        tail.read(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_come_when_they_are_whole_and_a_new_file_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.log");
        let mut tail = Tail::new(path.clone());
        assert!(read(&mut tail).is_empty());
        let mut file = File::create(&path).expect("made");
        write!(file, "one\ntw").expect("written");
        assert_eq!(read(&mut tail), ["one"]);
        writeln!(file, "o").expect("written");
        assert_eq!(read(&mut tail), ["two"]);
        std::fs::rename(&path, dir.path().join("a.log.1")).expect("moved");
        std::fs::write(&path, "three\n").expect("written");
        assert_eq!(read(&mut tail), ["three"]);
        std::fs::write(&path, "4\n").expect("written");
        assert_eq!(read(&mut tail), ["4"]);
    }
}
