//! The file of a snapshot, as one process at a time has it.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tempfile::NamedTempFile;

const SUFFIX: &str = ".new";
/// A process that was killed a moment ago may still be there, or one may be at the end of its save.
const PATIENCE: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// A locked file: the lock goes with the process, however that ends.
pub(super) struct SessionFile {
    file: File,
    path: PathBuf,
}

impl SessionFile {
    /// `None` if there is no file. If another process has it: [`io::ErrorKind::WouldBlock`].
    pub(super) fn hold(path: &Path) -> io::Result<Option<Self>> {
        let mut tries = 0;
        loop {
            let file = match File::options().read(true).write(true).open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            match file.try_lock() {
                // Else another one took its place since it was opened.
                Ok(()) if is_at(&file, path) => return Ok(Some(Self { file, path: path.to_owned() })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if tries < PATIENCE => {
                    tries += 1;
                    #[expect(clippy::disallowed_methods, reason = "it waits for another process")]
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }

    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Goes on after so many bytes.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Unless another one is in its place by now. If it has to stay, it is of no use.
    pub(super) fn remove(self) -> io::Result<()> {
        if !self.is_at(&self.path) {
            return Ok(());
        }
        fs::remove_file(&self.path).or_else(|_| self.file.set_len(0))
    }
}

/// A locked file beside this one, to take its place, for its owner alone.
pub(super) fn new_beside(path: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file =
            tempfile::Builder::new().prefix(&prefix(path)).suffix(SUFFIX).tempfile_in(directory(path))?;
        file.as_file().lock()?;
        // Before it was locked it looked like a leftover.
        if is_at(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

/// Removes what [`new_beside`] made for processes that are gone. What cannot be removed does no harm.
pub(super) fn remove_leftovers(path: &Path) {
    let Ok(entries) = fs::read_dir(directory(path)) else { return };
    let prefix = prefix(path);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_one = name.starts_with(prefix.as_encoded_bytes())
            && name.ends_with(SUFFIX.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_one
            && let Ok(file) = File::options().read(true).write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Whether this is the file of that name.
fn is_at(file: &File, path: &Path) -> bool {
    matches!((file.metadata(), fs::metadata(path)), (Ok(this), Ok(there)) if identity(&this) == identity(&there))
}

#[cfg(unix)]
fn identity(file: &fs::Metadata) -> impl PartialEq {
    use std::os::unix::fs::MetadataExt;

    (file.dev(), file.ino())
}

#[cfg(not(unix))]
fn identity(file: &fs::Metadata) -> impl PartialEq {
    (file.len(), file.created().ok(), file.modified().ok())
}
