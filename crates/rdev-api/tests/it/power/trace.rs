//! System calls as strace has written them down (`-f -y -xx`), one a line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The calls that a trace must have.
pub(super) const CALLS: &str = "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,truncate,\
     ftruncate,fallocate,copy_file_range,sendfile,fsync,fdatasync,sync_file_range,syncfs,sync,rename,renameat,\
     renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,mmap";

/// A thread, by its number.
pub(super) type Thread = u32;

/// A step of a trace. A call that went wrong is none, for it has changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes that are written from here on may be missing from what the thread flushes.
    FlushBegins(Thread, PathBuf),
    FlushEnds(Thread),
    Done(Call),
}

/// A call that has done what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Open {
        path: PathBuf,
        options: Options,
    },
    /// Without an offset it is where the writer stands.
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    /// To a socket, named by its number.
    Send {
        socket: String,
        bytes: Vec<u8>,
    },
    SetLength {
        path: PathBuf,
        bytes: u64,
    },
    /// Has room for so many bytes, and is so long at least.
    Allocate {
        path: PathBuf,
        bytes: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
        mode: u32,
    },
    /// Memory through which a file may be written, unseen.
    MapShared {
        path: PathBuf,
    },
    /// A call that changes files in a way that nobody has needed so far.
    Other {
        line: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) creates: bool,
    pub(super) truncates: bool,
    /// True where writing begins at the end: the file is new, emptied, or written at its end alone.
    pub(super) at_end: bool,
    pub(super) mode: u32,
}

/// The steps of a trace in a file.
pub(super) fn steps(file: &Path) -> impl Iterator<Item = Step> {
    let lines = BufReader::new(File::open(file).expect("there is a trace")).lines();
    let mut reader = Reader::default();
    lines.flat_map(move |line| reader.line(&line.expect("a trace is text")))
}

/// Reads a trace, line by line.
#[derive(Debug, Default)]
struct Reader {
    /// Calls that have begun, as far as they are written down.
    begun: HashMap<Thread, String>,
}

impl Reader {
    /// The steps of a line: none, one, or the beginning and the end of a flush.
    fn line(&mut self, line: &str) -> Vec<Step> {
        let (thread, text) = line.split_once(' ').unwrap_or_else(|| panic!("not a line of a trace: {line}"));
        let thread: Thread = thread.parse().unwrap_or_else(|_| panic!("no thread: {line}"));
        let text = text.trim_start();
        if text.starts_with("---") || text.starts_with("+++") {
            return Vec::new();
        }
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            self.begun.insert(thread, begun.to_owned());
            return flushed(begun).map(|path| Step::FlushBegins(thread, path)).into_iter().collect();
        }
        if let Some(rest) = text.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").unwrap_or_else(|| panic!("not a line: {line}"));
            let begun = self.begun.remove(&thread).unwrap_or_else(|| panic!("it has not begun: {line}"));
            return ended(thread, &format!("{begun}{rest}")).into_iter().collect();
        }
        let begins = flushed(text).map(|path| Step::FlushBegins(thread, path));
        begins.into_iter().chain(ended(thread, text)).collect()
    }
}

/// The path of a call that flushes.
fn flushed(text: &str) -> Option<PathBuf> {
    let (name, arguments) = text.split_once('(')?;
    matches!(name, "fsync" | "fdatasync").then(|| described(arguments).expect("strace names what is flushed"))
}

fn ended(thread: Thread, text: &str) -> Option<Step> {
    // Who was killed in a call has no result.
    let (call, result) = text.rsplit_once(" = ")?;
    let (result, name) = (number(result)?, call.split('(').next()?);
    let call = call.trim_end().strip_suffix(')')?.strip_prefix(name)?.strip_prefix('(')?;
    let step = match name {
        "fsync" | "fdatasync" => Step::FlushEnds(thread),
        _ => match done(name, &arguments(call), result) {
            Some(call) => Step::Done(call?),
            None => Step::Done(Call::Other { line: text.to_owned() }),
        },
    };
    Some(step)
}

/// Effect of a call: nothing, where it only looked, and no answer where it is not understood.
fn done(name: &str, arguments: &[&str], result: u64) -> Option<Option<Call>> {
    let path = |at: usize| absolute(None, arguments.get(at)?);
    let path_at = |at: usize| absolute(Some(arguments.get(at)?), arguments.get(at + 1)?);
    let file = || described(arguments.first()?);
    let value = |at: usize| number(arguments.get(at)?);
    let call = match name {
        "open" => return opened(path(0)?, arguments.get(1)?, arguments.get(2)),
        "openat" => return opened(path_at(0)?, arguments.get(2)?, arguments.get(3)),
        "write" | "sendto" => written(file()?, arguments.get(1)?, result, None)?,
        "writev" | "sendmsg" => written(file()?, arguments.get(1)?, result, None)?,
        "pwrite64" => written(file()?, arguments.get(1)?, result, Some(value(3)?))?,
        "pwritev" | "pwritev2" => written(file()?, arguments.get(1)?, result, Some(value(3)?))?,
        "truncate" => Call::SetLength { path: path(0)?, bytes: value(1)? },
        "ftruncate" => Call::SetLength { path: file()?, bytes: value(1)? },
        "fallocate" if arguments.get(1) == Some(&"0") => {
            Call::Allocate { path: file()?, bytes: value(2)? + value(3)? }
        }
        "rename" => Call::Rename { from: path(0)?, to: path(1)? },
        "renameat" | "renameat2" => Call::Rename { from: path_at(0)?, to: path_at(2)? },
        "link" => Call::Link { from: path(0)?, to: path(1)? },
        "linkat" => Call::Link { from: path_at(0)?, to: path_at(2)? },
        "unlink" | "rmdir" => Call::Remove { path: path(0)? },
        "unlinkat" => Call::Remove { path: path_at(0)? },
        "mkdir" => Call::MakeFolder { path: path(0)?, mode: octal(arguments.get(1)?)? },
        "mkdirat" => Call::MakeFolder { path: path_at(0)?, mode: octal(arguments.get(2)?)? },
        "mmap" => {
            let shared = arguments.get(3)?.contains("MAP_SHARED") && arguments.get(2)?.contains("PROT_WRITE");
            return Some(
                shared.then(|| described(arguments.get(4)?)).flatten().map(|path| Call::MapShared { path }),
            );
        }
        _ => return None,
    };
    Some(Some(call))
}

fn opened(path: PathBuf, flags: &str, mode: Option<&&str>) -> Option<Option<Call>> {
    let has = |flag: &str| flags.split('|').any(|given| given == flag);
    if !has("O_WRONLY") && !has("O_RDWR") {
        return Some(None);
    }
    let options = Options {
        creates: has("O_CREAT"),
        truncates: has("O_TRUNC"),
        at_end: has("O_EXCL") || has("O_TRUNC") || has("O_APPEND"),
        mode: mode.and_then(|mode| octal(mode)).unwrap_or_default(),
    };
    Some(Some(Call::Open { path, options }))
}

fn written(path: PathBuf, content: &str, count: u64, offset: Option<u64>) -> Option<Call> {
    let mut bytes = strings(content)?;
    bytes.truncate(usize::try_from(count).ok()?);
    // Cut short in the trace, it would be taken for another content.
    if bytes.len() as u64 != count {
        return None;
    }
    Some(match path.to_str().and_then(|path| path.strip_prefix("socket:")) {
        Some(socket) => Call::Send { socket: socket.to_owned(), bytes },
        None => Call::Write { path, offset, bytes },
    })
}

/// The arguments of a call: they are parted by commas, and so is what is in brackets.
fn arguments(call: &str) -> Vec<&str> {
    let (mut depth, mut from, mut arguments) = (0, 0, Vec::new());
    for (at, byte) in call.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                arguments.push(call[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    arguments.push(call[from..].trim());
    arguments
}

/// A path that is given, from the folder that strace names where it is not whole.
fn absolute(folder: Option<&str>, argument: &str) -> Option<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(strings(argument)?));
    if path.is_absolute() { Some(path) } else { Some(described(folder?)?.join(path)) }
}

/// Kind of a descriptor as strace tells it: a path, or `socket:` with a number in brackets.
fn described(argument: &str) -> Option<PathBuf> {
    let (_, text) = argument.split_once('<')?;
    let (text, after) = text.split_once('>')?;
    // Its name may be another file's by now.
    if after.starts_with("(deleted)") {
        return Some(PathBuf::from("(deleted)"));
    }
    Some(PathBuf::from(OsString::from_vec(unescaped(text)?)))
}

/// The strings of an argument, one after the other. None of them may be cut short.
fn strings(argument: &str) -> Option<Vec<u8>> {
    if argument.contains("\"...") {
        return None;
    }
    let mut bytes = Vec::new();
    for text in argument.split('"').skip(1).step_by(2) {
        bytes.extend(unescaped(text)?);
    }
    Some(bytes)
}

/// Every byte is written as `\xHH`.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().chunks(4).map(|byte| {
        let digits = std::str::from_utf8(byte).ok()?.strip_prefix("\\x")?;
        u8::from_str_radix(digits, 16).ok()
    });
    bytes.collect()
}

/// The number at the beginning; none where a call has failed or has no result.
fn number(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As strace writes strings.
    fn x(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    fn steps(lines: &[String]) -> Vec<Step> {
        let mut reader = Reader::default();
        lines.iter().flat_map(|line| reader.line(line)).collect()
    }

    fn done(line: String) -> Option<Call> {
        match steps(&[line]).pop() {
            Some(Step::Done(call)) => Some(call),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_that_change_files_are_read() {
        let (file, other) = (PathBuf::from("/d/a b"), PathBuf::from("/d/c"));
        let (f, c, d) = (x("/d/a b"), x("/d/c"), x("/d"));
        let bytes = b"1,]".to_vec();
        let text = x("1,]");
        let made = Options { creates: true, truncates: false, at_end: true, mode: 0o600 };
        for (line, call) in [
            (
                format!("7 openat(AT_FDCWD<{d}>, \"{}\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3<{f}>", x("a b")),
                Call::Open { path: file.clone(), options: made },
            ),
            (
                format!("7 write(3<{f}>, \"{text}\", 3) = 3"),
                Call::Write { path: file.clone(), offset: None, bytes: bytes.clone() },
            ),
            (
                format!("7 pwrite64(3<{f}>, \"{text}\", 3, 4096) = 2"),
                Call::Write { path: file.clone(), offset: Some(4096), bytes: bytes[..2].to_vec() },
            ),
            (
                format!(
                    "7 writev(3<{f}>, [{{iov_base=\"{text}\", iov_len=3}}, {{iov_base=\"{text}\", iov_len=3}}], 2) = 6"
                ),
                Call::Write {
                    path: file.clone(),
                    offset: None,
                    bytes: [bytes.clone(), bytes.clone()].concat(),
                },
            ),
            (
                format!("7 sendto(3<{}>, \"{text}\", 3, MSG_NOSIGNAL, NULL, 0) = 3", x("socket:[8]")),
                Call::Send { socket: "[8]".to_owned(), bytes },
            ),
            (format!("7 ftruncate(3<{f}>, 9) = 0"), Call::SetLength { path: file.clone(), bytes: 9 }),
            (format!("7 fallocate(3<{f}>, 0, 1, 9) = 0"), Call::Allocate { path: file.clone(), bytes: 10 }),
            (
                format!("7 rename(\"{f}\", \"{c}\") = 0"),
                Call::Rename { from: file.clone(), to: other.clone() },
            ),
            (
                format!("7 linkat(AT_FDCWD<{d}>, \"{f}\", 4<{d}>, \"{}\", 0) = 0", x("c")),
                Call::Link { from: file.clone(), to: other.clone() },
            ),
            (format!("7 unlinkat(4<{d}>, \"{}\", 0) = 0", x("c")), Call::Remove { path: other.clone() }),
            (format!("7 mkdir(\"{c}\", 0700) = 0"), Call::MakeFolder { path: other, mode: 0o700 }),
            (
                format!("7 mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 3<{f}>, 0) = 0x7f00"),
                Call::MapShared { path: file },
            ),
        ] {
            assert_eq!(done(line.clone()), Some(call), "{line}");
        }
    }

    #[test]
    fn a_call_that_was_interrupted_in_the_trace_is_one_call() {
        let path = PathBuf::from("/d/w");
        let w = x("/d/w");
        let lines = [
            format!("7 fsync(3<{w}> <unfinished ...>"),
            format!("8 pwrite64(3<{w}>, \"{}\", 1, 0) = 1", x("x")),
            "7 <... fsync resumed>)                   = 0".to_owned(),
            format!("8 fdatasync(3<{w}>) = 0"),
        ];
        let write = Call::Write { path: path.clone(), offset: Some(0), bytes: b"x".to_vec() };
        let expected = [
            Step::FlushBegins(7, path.clone()),
            Step::Done(write),
            Step::FlushEnds(7),
            Step::FlushBegins(8, path),
            Step::FlushEnds(8),
        ];
        assert_eq!(steps(&lines), expected);
    }

    #[test]
    fn a_call_that_failed_or_only_looked_is_none() {
        for line in [
            "7 rename(\"\\x2f\", \"\\x2f\") = -1 ENOTEMPTY (Directory not empty)",
            "7 openat(AT_FDCWD<\\x2f>, \"\\x61\", O_RDONLY|O_CLOEXEC) = 3<\\x2f\\x61>",
            "7 mmap(NULL, 9, PROT_READ, MAP_PRIVATE, 3<\\x2f>, 0) = 0x7f00",
            "7 pwrite64(3<\\x2f>, \"\\x61\", 1, 0) = ?",
            "7 +++ exited with 0 +++",
            "7 --- SIGCHLD {si_signo=SIGCHLD} ---",
        ] {
            assert_eq!(done(line.to_owned()), None, "{line}");
        }
    }

    #[test]
    fn a_call_that_is_not_understood_is_told() {
        for line in [
            "7 pwrite64(3<\\x2f>, \"\\x61\"..., 2, 0) = 2",
            "7 fallocate(3<\\x2f>, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, 9) = 0",
            "7 mkdir(\"\\x61\", 0700) = 0",
        ] {
            assert!(matches!(done(line.to_owned()), Some(Call::Other { .. })), "{line}");
        }
    }
}
