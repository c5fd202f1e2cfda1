//! A folder of runs for each test, and readers of its output.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdev_runner::frame::{Body, CutReason, Decoder, Exit, Frame, Stream};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_rdev-runner");
/// Longest time of any step here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of runs. When it is dropped, its runs end.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.path().join("runs")
    }

    pub(crate) fn run_folder(&self, id: &str) -> PathBuf {
        self.runs().join(id)
    }

    /// Returns a call of the program with these arguments, separated by blanks, and no input.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args.split_ascii_whitespace()).env("RDEV_RUNS_DIR", self.runs()).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn call(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn start(&self, id: &str, options: &str, script: &str) -> Command {
        let mut command = self.command(&format!("run --id {id} {options}"));
        command.args(["--", "sh", "-c", script]);
        command
    }

    /// Runs a shell script to its end and returns its frames.
    pub(crate) fn sh(&self, id: &str, options: &str, script: &str) -> Vec<Frame> {
        let output = self.start(id, options, script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        frames(&output.stdout)
    }

    pub(crate) fn attach(&self, id: &str, after: u64) -> Vec<Frame> {
        let output = self.call(&format!("attach --id {id} --after {after}"));
        assert!(output.status.success(), "{output:?}");
        frames(&output.stdout)
    }

    /// Starts a shell script and attaches to it.
    pub(crate) fn live(&self, id: &str, options: &str, script: &str) -> Live {
        Live::new(self.start(id, options, script))
    }

    pub(crate) fn supervisor(&self, id: &str) -> i32 {
        let meta = fs::read_to_string(self.run_folder(id).join("meta")).unwrap();
        let pid = meta.lines().find_map(|line| line.strip_prefix("supervisor_pid="));
        pid.unwrap().parse().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(self.runs()) else {
            return;
        };
        for entry in entries.flatten() {
            let id = entry.file_name().into_string().unwrap_or_default();
            if self.call(&format!("cancel --id {id}")).stdout == b"cancelling\n" {
                self.call(&format!("attach --id {id} --after 1000000000"));
            }
        }
    }
}

/// An attachment that is read frame by frame. Dropping it kills it.
pub(crate) struct Live {
    pub(crate) child: Child,
    stdout: ChildStdout,
    decoder: Decoder,
    ready: VecDeque<Frame>,
}

impl Live {
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self { child, stdout, decoder: Decoder::default(), ready: VecDeque::new() }
    }

    /// Tells whether it is connected to the supervisor: what it has received may be from the journal alone.
    pub(crate) fn is_connected(&self) -> bool {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let is_socket = |file: PathBuf| {
            let target = fs::read_link(file).unwrap_or_default();
            target.to_string_lossy().starts_with("socket:")
        };
        // Whoever runs the tests may have given sockets as the first three.
        let is_own = |file: &DirEntry| !["0", "1", "2"].map(OsStr::new).contains(&&*file.file_name());
        files.flatten().any(|file| is_own(&file) && is_socket(file.path()))
    }

    /// Returns the next frame, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut bytes = [0; 4096];
        while self.ready.is_empty() {
            let n = self.stdout.read(&mut bytes).unwrap();
            if n == 0 {
                return None;
            }
            self.decoder.push(&bytes[..n]);
            while let Some((frame, _)) = self.decoder.next_frame().unwrap() {
                self.ready.push_back(frame);
            }
        }
        self.ready.pop_front()
    }

    /// Reads until this text was written to standard output.
    pub(crate) fn until(&mut self, text: &str) -> Vec<Frame> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next() {
            seen.push(frame);
            if String::from_utf8_lossy(&bytes(&seen, Stream::Stdout)).contains(text) {
                return seen;
            }
        }
        panic!("ended before {text:?}: {seen:?}");
    }

    pub(crate) fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns all frames of an attachment, which must begin with a greeting and have no gap.
pub(crate) fn frames(raw: &[u8]) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    decoder.push(raw);
    let mut frames = Vec::new();
    while let Some((frame, _)) = decoder.next_frame().unwrap() {
        frames.push(frame);
    }
    assert_eq!(decoder.pending(), 0, "a torn frame at the end");
    assert!(matches!(frames[0].body, Body::Hello { .. }), "{:?}", frames[0]);
    let mut next = frames[0].first_seq;
    for frame in &frames {
        assert_eq!(frame.first_seq, next, "a gap before {frame:?}");
        next += u64::from(frame.count);
    }
    frames
}

/// Returns the bytes written to one stream.
pub(crate) fn bytes(frames: &[Frame], from: Stream) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        if let Body::Output { stream, bytes, .. } = &frame.body
            && *stream == from
        {
            out.extend_from_slice(bytes);
        }
    }
    out
}

pub(crate) fn stdout(frames: &[Frame]) -> String {
    String::from_utf8(bytes(frames, Stream::Stdout)).unwrap()
}

pub(crate) fn stderr(frames: &[Frame]) -> String {
    String::from_utf8(bytes(frames, Stream::Stderr)).unwrap()
}

/// Returns the exit entry, which must be the last frame and the only one.
pub(crate) fn exit(frames: &[Frame]) -> Exit {
    let exits = frames.iter().filter(|frame| matches!(frame.body, Body::Exit(_)));
    assert_eq!(exits.count(), 1);
    match frames.last().unwrap().body {
        Body::Exit(exit) => exit,
        ref other => panic!("{other:?} after the exit entry"),
    }
}

pub(crate) fn started(frames: &[Frame]) -> bool {
    matches!(frames[0].body, Body::Hello { started: true, .. })
}

/// Returns reason, number of events and number of bytes of each cut.
pub(crate) fn cuts(frames: &[Frame]) -> Vec<(CutReason, u32, u64)> {
    let cut = |frame: &Frame| match frame.body {
        Body::Cut { reason, bytes } => Some((reason, frame.count, bytes)),
        _ => None,
    };
    frames.iter().filter_map(cut).collect()
}

/// Returns the processes with this text in their environment.
pub(crate) fn tagged(tag: &str) -> Vec<i32> {
    processes("environ", tag)
}

/// Returns the processes of `sleep` with this duration.
pub(crate) fn working(duration: &str) -> Vec<i32> {
    processes("cmdline", &format!("sleep\0{duration}\0"))
}

/// Returns the processes with this text in their file in /proc.
fn processes(file: &str, text: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
        if let Some(pid) = pid
            && memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        {
            found.push(pid);
        }
    }
    found
}

/// Polls for a condition that no event reports.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal as an operator would.
pub(crate) fn signal(pid: i32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}
