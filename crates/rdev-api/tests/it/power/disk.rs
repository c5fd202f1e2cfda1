//! A disk that has lost its power: what is left of a folder is what was flushed.
//!
//! A file has what it had at its last flush. A name is there, or is gone, as it was at the last flush of its folder:
//! the flush of a new file is not taken to keep the file's name. SQLite and rdev must do with that, although most
//! file systems promise more.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trace::{Call, Options, Step, Thread};

/// Files are numbered; this is the folder that the disk holds.
const ROOT: usize = 0;
/// Ends the name of a file that SQLite writes through memory, unseen, and makes anew after a cut.
const SHARED_MEMORY: &str = "-shm";

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    flushing: HashMap<Thread, Flush>,
    /// Number of flushes that have begun.
    begun: u64,
}

/// A flush under way, of a file.
#[derive(Debug)]
struct Flush {
    file: usize,
    /// Place in the order of beginnings.
    begun: u64,
    /// Writes that it covers.
    content: Content,
}

/// A file or a folder.
#[derive(Debug)]
struct File {
    mode: u32,
    now: Content,
    flushed: Content,
    /// The flush that `flushed` comes from.
    flushed_by: u64,
    /// True where every write goes to its end.
    at_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Bytes(Arc<Vec<u8>>),
    Names(BTreeMap<OsString, usize>),
}

impl Content {
    fn no_bytes() -> Self {
        Self::Bytes(Arc::default())
    }

    fn no_names() -> Self {
        Self::Names(BTreeMap::new())
    }
}

impl File {
    fn new(empty: Content, mode: u32) -> Self {
        Self { mode, now: empty.clone(), flushed: empty, flushed_by: 0, at_end: true }
    }
}

impl Disk {
    /// A disk with an empty folder, which is there for good.
    pub(super) fn new(root: PathBuf) -> Self {
        let folder = File { at_end: false, ..File::new(Content::no_names(), 0o700) };
        Self { root, files: vec![folder], flushing: HashMap::new(), begun: 0 }
    }

    /// Tells whether the disk keeps something after this step that it would have lost before it.
    pub(super) fn is_news(&self, step: &Step) -> bool {
        let Step::FlushEnds(thread) = step else { return false };
        self.flushing.get(thread).is_some_and(|flush| {
            let file = &self.files[flush.file];
            flush.begun > file.flushed_by && flush.content != file.flushed
        })
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::FlushBegins(thread, path) => {
                if let Some(file) = self.find(path) {
                    self.begun += 1;
                    let flush = Flush { file, begun: self.begun, content: self.files[file].now.clone() };
                    self.flushing.insert(*thread, flush);
                }
            }
            Step::FlushEnds(thread) => {
                // One that began earlier takes nothing back of what a later one has kept.
                if let Some(Flush { file, begun, content }) = self.flushing.remove(thread)
                    && begun > self.files[file].flushed_by
                {
                    self.files[file].flushed = content;
                    self.files[file].flushed_by = begun;
                }
            }
            Step::Done(call) => self.call(call),
        }
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Open { path, options } => self.open(path, *options),
            Call::Write { path, offset, bytes } => self.write(path, *offset, bytes),
            Call::SetLength { path, bytes } => {
                self.change(path, |content| content.resize(to_usize(*bytes), 0))
            }
            Call::Allocate { path, bytes } => {
                self.change(path, |content| content.resize(content.len().max(to_usize(*bytes)), 0));
            }
            Call::Rename { from, to } => {
                let file = self.remove(from);
                self.name(to, file);
            }
            Call::Link { from, to } => self.name(to, self.find(from)),
            Call::Remove { path } => {
                self.remove(path);
            }
            Call::MakeFolder { path, mode } => {
                let folder = self.add(Content::no_names(), *mode);
                self.name(path, Some(folder));
            }
            Call::MapShared { path } => {
                let seen = self.find(path).is_none() || is_shared_memory(path.as_os_str());
                assert!(seen, "{} is written unseen", path.display());
            }
            Call::Other { line } => {
                let root: String =
                    self.root.as_os_str().as_encoded_bytes().iter().map(|b| format!("\\x{b:02x}")).collect();
                assert!(!line.contains(&root), "a call that the disk does not know: {line}");
            }
            Call::Send { .. } => {}
        }
    }

    fn open(&mut self, path: &Path, options: Options) {
        if self.find(path).is_none() && options.creates {
            let file = self.add(Content::no_bytes(), options.mode);
            self.name(path, Some(file));
        } else if options.truncates {
            self.change(path, Vec::clear);
        }
        if let Some(file) = self.find(path) {
            self.files[file].at_end = options.at_end;
        }
    }

    fn write(&mut self, path: &Path, offset: Option<u64>, bytes: &[u8]) {
        let Some(file) = self.find(path) else { return };
        assert!(offset.is_some() || self.files[file].at_end, "where is {} written?", path.display());
        self.change(path, |content| {
            let offset = offset.map_or(content.len(), to_usize);
            let end = offset + bytes.len();
            content.resize(content.len().max(end), 0);
            content[offset..end].copy_from_slice(bytes);
        });
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.find(path)
            && let Content::Bytes(bytes) = &mut self.files[file].now
        {
            change(Arc::make_mut(bytes));
        }
    }

    fn add(&mut self, empty: Content, mode: u32) -> usize {
        self.files.push(File::new(empty, mode));
        self.files.len() - 1
    }

    /// Gives a file a name. One that the disk does not know, such as a socket, has none.
    fn name(&mut self, path: &Path, file: Option<usize>) {
        self.remove(path);
        if let (Some(file), Some((names, name))) = (file, self.names(path)) {
            names.insert(name, file);
        }
    }

    fn remove(&mut self, path: &Path) -> Option<usize> {
        let (names, name) = self.names(path)?;
        names.remove(&name)
    }

    /// The names beside a path, and its own.
    fn names(&mut self, path: &Path) -> Option<(&mut BTreeMap<OsString, usize>, OsString)> {
        let folder = self.find(path.parent()?)?;
        let Content::Names(names) = &mut self.files[folder].now else { return None };
        Some((names, path.file_name()?.to_owned()))
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let path = path.strip_prefix(&self.root).ok()?;
        path.iter().try_fold(ROOT, |folder, name| self.files[folder].now.name(name))
    }

    /// Content of a file that survives, by its path below the root; a folder has no bytes.
    pub(super) fn kept(&self, path: &str) -> Option<&[u8]> {
        let file =
            Path::new(path).iter().try_fold(ROOT, |folder, name| self.files[folder].flushed.name(name))?;
        match &self.files[file].flushed {
            Content::Bytes(bytes) => Some(bytes),
            Content::Names(_) => Some(&[]),
        }
    }

    /// The names in a folder that survive, by its path below the root.
    pub(super) fn kept_names(&self, path: &str) -> impl Iterator<Item = &str> {
        let folder =
            Path::new(path).iter().try_fold(ROOT, |folder, name| self.files[folder].flushed.name(name));
        let names = folder.and_then(|folder| match &self.files[folder].flushed {
            Content::Names(names) => Some(names.keys()),
            Content::Bytes(_) => None,
        });
        names.into_iter().flatten().filter_map(|name| name.to_str())
    }

    /// Puts what is left of a folder after a cut in the place of the one that is there.
    pub(super) fn restore(&self, folder: &Path) {
        fs::remove_dir_all(folder).expect("the folder can be removed");
        let below = folder.strip_prefix(&self.root).expect("it is on the disk");
        let left = below.iter().try_fold(ROOT, |folder, name| self.files[folder].flushed.name(name));
        if let Some(left) = left {
            self.restore_file(left, folder);
        }
    }

    fn restore_file(&self, file: usize, path: &Path) {
        let File { mode, flushed, .. } = &self.files[file];
        match flushed {
            Content::Names(names) => {
                DirBuilder::new().mode(*mode).create(path).expect("a folder can be made");
                for (name, file) in names.iter().filter(|(name, _)| !is_shared_memory(name)) {
                    self.restore_file(*file, &path.join(name));
                }
            }
            Content::Bytes(bytes) => {
                let made = OpenOptions::new().write(true).create_new(true).mode(*mode).open(path);
                made.expect("a file can be made").write_all(bytes).expect("there is room");
            }
        }
    }

    /// Holds a real folder to be what the disk has now: nothing was overlooked in the trace.
    pub(super) fn is_as(&self, folder: &Path) {
        let found = self.find(folder).unwrap_or_else(|| panic!("{} is in no call", folder.display()));
        self.folder_is_as(found, folder);
    }

    fn folder_is_as(&self, folder: usize, real: &Path) {
        let Content::Names(names) = &self.files[folder].now else { panic!("{} is a file", real.display()) };
        for (name, file) in names.iter().filter(|(name, _)| !is_shared_memory(name)) {
            let path = real.join(name);
            match &self.files[*file].now {
                Content::Names(_) => self.folder_is_as(*file, &path),
                Content::Bytes(bytes) => {
                    let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    assert!(**bytes == found, "{} is another one", path.display());
                }
            }
        }
        for entry in fs::read_dir(real).expect("it can be listed").flatten() {
            let known = names.contains_key(&entry.file_name());
            let socket = entry.file_type().expect("it has a type").is_socket();
            assert!(known || socket, "{} is in no call", entry.path().display());
        }
    }
}

impl Content {
    fn name(&self, name: &OsStr) -> Option<usize> {
        match self {
            Self::Names(names) => names.get(name).copied(),
            Self::Bytes(_) => None,
        }
    }
}

fn is_shared_memory(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(SHARED_MEMORY.as_bytes())
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("files are small")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/d";

    struct Told(Disk);

    impl Told {
        fn new() -> Self {
            Self(Disk::new(ROOT.into()))
        }

        fn call(&mut self, call: Call) -> &mut Self {
            let step = Step::Done(call);
            assert!(!self.0.is_news(&step), "only a flush keeps anything");
            self.0.take(&step);
            self
        }

        fn make(&mut self, path: &str) -> &mut Self {
            let options = Options { creates: true, truncates: false, at_end: true, mode: 0o600 };
            self.call(Call::Open { path: path.into(), options })
        }

        fn write(&mut self, path: &str, offset: Option<u64>, text: &str) -> &mut Self {
            self.call(Call::Write { path: path.into(), offset, bytes: text.into() })
        }

        fn flush(&mut self, path: &str) -> bool {
            self.0.take(&Step::FlushBegins(1, path.into()));
            let news = self.0.is_news(&Step::FlushEnds(1));
            self.0.take(&Step::FlushEnds(1));
            news
        }

        fn kept(&self, path: &str) -> Option<&str> {
            self.0.kept(path).map(|bytes| std::str::from_utf8(bytes).unwrap())
        }
    }

    #[test]
    fn a_file_needs_its_flush_and_its_name_that_of_the_folder() {
        let mut disk = Told::new();
        disk.make("/d/a").write("/d/a", None, "one");
        assert!(disk.flush("/d/a"));
        assert_eq!(disk.kept("a"), None);
        assert!(disk.flush("/d"));
        assert_eq!(disk.kept("a"), Some("one"));
        disk.write("/d/a", None, " two").write("/d/a", Some(0), "O");
        assert_eq!(disk.kept("a"), Some("one"));
        assert!(disk.flush("/d/a") && !disk.flush("/d/a"));
        assert_eq!(disk.kept("a"), Some("One two"));
        disk.call(Call::SetLength { path: "/d/a".into(), bytes: 3 });
        disk.call(Call::Allocate { path: "/d/a".into(), bytes: 4 });
        disk.flush("/d/a");
        assert_eq!(disk.kept("a"), Some("One\0"));
    }

    #[test]
    fn a_write_during_a_flush_is_not_in_it() {
        let mut disk = Told::new();
        disk.make("/d/a").flush("/d");
        disk.write("/d/a", None, "in");
        disk.0.take(&Step::FlushBegins(1, "/d/a".into()));
        disk.write("/d/a", None, " out");
        disk.0.take(&Step::FlushEnds(1));
        assert_eq!(disk.kept("a"), Some("in"));
    }

    #[test]
    fn a_flush_that_ends_late_takes_nothing_back() {
        let mut disk = Told::new();
        disk.make("/d/a").flush("/d");
        disk.write("/d/a", None, "first");
        disk.0.take(&Step::FlushBegins(2, "/d/a".into()));
        assert!(disk.write("/d/a", None, " second").flush("/d/a"));
        assert!(!disk.0.is_news(&Step::FlushEnds(2)));
        disk.0.take(&Step::FlushEnds(2));
        assert_eq!(disk.kept("a"), Some("first second"));
    }

    #[test]
    fn names_come_and_go_with_their_folders() {
        let mut disk = Told::new();
        disk.call(Call::MakeFolder { path: "/d/new".into(), mode: 0o700 });
        disk.make("/d/new/a").flush("/d/new");
        assert_eq!(disk.kept("new/a"), None);
        disk.flush("/d");
        assert_eq!(disk.kept("new/a"), Some(""));
        disk.call(Call::Rename { from: "/d/new".into(), to: "/d/old".into() });
        disk.make("/d/b").call(Call::Link { from: "/d/b".into(), to: "/d/old/b".into() });
        disk.call(Call::Remove { path: "/d/old/a".into() });
        assert_eq!(disk.kept("new/a"), Some(""));
        disk.flush("/d/old");
        assert_eq!((disk.kept("new/a"), disk.kept("new/b")), (None, Some("")));
        disk.flush("/d");
        assert_eq!((disk.kept("new"), disk.kept("old/b")), (None, Some("")));
    }

    #[test]
    fn the_remains_are_a_folder_again() {
        let mut disk = Told::new();
        disk.call(Call::MakeFolder { path: "/d/in".into(), mode: 0o700 });
        disk.make("/d/in/a").write("/d/in/a", None, "kept").make("/d/in/x-shm");
        for flushed in ["/d/in/a", "/d/in", "/d"] {
            disk.flush(flushed);
        }
        disk.write("/d/in/a", None, " lost");
        let real = tempfile::tempdir().unwrap();
        let left = real.path().join("in");
        fs::create_dir(&left).unwrap();
        disk.0.root = real.path().to_owned();
        disk.0.restore(&left);
        assert_eq!(fs::read(left.join("a")).unwrap(), b"kept");
        assert!(!left.join("x-shm").exists());
        fs::write(left.join("a"), "kept lost").unwrap();
        disk.0.is_as(&left);
    }

    #[test]
    #[should_panic(expected = "is in no call")]
    fn a_file_that_is_in_no_call_is_told() {
        let left = tempfile::tempdir().unwrap();
        fs::write(left.path().join("a"), "").unwrap();
        Disk::new(left.path().into()).is_as(left.path());
    }

    #[test]
    #[should_panic(expected = "a call that the disk does not know")]
    fn a_call_on_it_that_is_not_known_is_told() {
        Told::new().call(Call::Other { line: "7 punch(3<\\x2f\\x64\\x2f\\x61>) = 0".to_owned() });
    }
}
