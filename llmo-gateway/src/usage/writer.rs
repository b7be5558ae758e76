//! The file of the ledger: lines are appended in batches, by one thread. Whole lines or none, whatever happens in between.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An append-only file of lines, which is put aside when it has its size.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// The file ends with a part of a line, which could not be taken back.
    torn: bool,
    most_bytes: u64,
    /// It could not be put aside: it grows on, which is better than losing lines.
    stuck: bool,
}

impl LineFile {
    /// Opens the file, or makes it. Its owner alone may read it. A line that was cut off (power failed) stays as it is, alone.
    ///
    /// # Errors
    /// If it can't be opened, or if another process writes it.
    pub(super) fn open(path: &Path, most_bytes: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another process writes it; each needs its own",
                ));
            }
            // Not every file system has locks.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, path = %path.display(), "no lock"),
        }
        let length = file.metadata()?.len();
        let torn = length > 0 && last_byte(&mut file)? != b'\n';
        Ok(Self { path: path.to_owned(), file, length, torn, most_bytes, stuck: false })
    }

    /// Appends whole lines. They are the operating system's when this returns.
    ///
    /// # Errors
    /// Nothing of them is in the file then.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow()?;
        let full = self.length > 0 && self.length + lines.len() as u64 > self.most_bytes;
        if full
            && !self.stuck
            && let Err(error) = self.rotate()
        {
            self.stuck = true;
            tracing::warn!(%error, path = %self.path.display(), "the usage file can't be put aside and grows on");
        }
        if self.torn {
            self.write(b"\n")?;
            self.torn = false;
        }
        self.write(lines)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return self.take_back(written, io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(written, error),
            }
        }
        self.length += written as u64;
        Ok(())
    }

    /// A full disk may have taken a part.
    fn take_back(&mut self, written: usize, error: io::Error) -> io::Result<()> {
        if written > 0 && self.file.set_len(self.length).is_err() {
            self.length += written as u64;
            self.torn = true;
        }
        Err(error)
    }

    /// Somebody else (logrotate) may have put the file aside.
    fn follow(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let ours = self.file.metadata()?;
            let there = std::fs::metadata(&self.path).ok();
            if there.is_none_or(|there| (there.dev(), there.ino()) != (ours.dev(), ours.ino())) {
                *self = Self::open(&self.path, self.most_bytes)?;
            }
        }
        Ok(())
    }

    /// Puts the file aside under the time of day, and begins another.
    fn rotate(&mut self) -> io::Result<()> {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string().replace(':', "-");
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{time}"));
        let aside = PathBuf::from(name);
        if aside.exists() {
            // Twice in a millisecond: it grows a little more.
            return Ok(());
        }
        std::fs::rename(&self.path, aside)?;
        *self = Self::open(&self.path, self.most_bytes)?;
        Ok(())
    }

    /// Makes what was written outlive a failure of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("usage.jsonl")
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(at(&dir), "{\"id\":\"1\"}\n{\"id").expect("a file");
        let mut file = LineFile::open(&at(&dir), 1000).expect("it opens");
        file.append(b"{\"id\":\"2\"}\n").expect("it is written");
        let text = std::fs::read_to_string(at(&dir)).expect("there");
        assert_eq!(text, "{\"id\":\"1\"}\n{\"id\n{\"id\":\"2\"}\n");
    }

    #[test]
    fn a_file_that_has_its_size_is_put_aside_and_no_line_is_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = LineFile::open(&at(&dir), 25).expect("it opens");
        for n in 0..10 {
            file.append(format!("line {n} ..\n").as_bytes()).expect("it is written");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let mut files: Vec<_> = std::fs::read_dir(dir.path()).expect("there").map(|f| f.expect("one").path()).collect();
        assert_eq!(files.len(), 5);
        files.sort();
        files.rotate_left(1);
        let text: String = files.iter().map(|file| std::fs::read_to_string(file).expect("text")).collect();
        let expected: String = (0..10).map(|n| format!("line {n} ..\n")).collect();
        assert_eq!(text, expected);
    }

    #[test]
    fn a_file_has_one_writer() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = LineFile::open(&at(&dir), 25).expect("it opens");
        assert!(LineFile::open(&at(&dir), 25).expect_err("it is taken").to_string().contains("another process"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_somebody_else_put_aside_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = LineFile::open(&at(&dir), 1000).expect("it opens");
        file.append(b"1\n").expect("it is written");
        std::fs::rename(at(&dir), dir.path().join("aside")).expect("the same directory");
        file.append(b"2\n").expect("it is written");
        assert_eq!(std::fs::read_to_string(at(&dir)).expect("there"), "2\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let mut file = LineFile::open(Path::new("/dev/full"), 1000).expect("it opens");
        assert_eq!(file.append(b"1\n").expect_err("it is full").kind(), io::ErrorKind::StorageFull);
    }
}
