//! Specification of a command: given on the command line, or sent on standard input, where neither a long
//! prompt nor a secret meets the size limit and the visibility of an argument list.

/// Specification of a command for its supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The program and its arguments; at least one.
    pub argv: Vec<String>,
    /// Variables set over the runner's own environment.
    pub env: Vec<(String, String)>,
    /// Working directory; the runner's own when empty.
    pub cwd: String,
    /// Timeout in milliseconds; 0: none.
    pub timeout_ms: u64,
    /// Grace time in milliseconds, between the first signal and SIGKILL.
    pub grace_ms: u64,
    /// Approximate limit of stored output in bytes, 0: none. Output over the limit is announced.
    pub journal_bytes_max: u64,
    /// Stops with SIGINT to the command's main process first, SIGTERM after half of the grace time.
    /// Agents end their own children, and report, only on SIGINT.
    pub interrupt_first: bool,
    /// Number of the first event: a run may continue the numbers of an earlier one.
    pub first_seq: u64,
    /// Standard input of the command; `None`: /dev/null.
    pub stdin: Option<Vec<u8>>,
}

/// Request to run a command or to attach to it, sent on standard input: a program that waits for its
/// request can be started before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// Id of the run.
    pub id: String,
    /// Sequence number after which events are wanted.
    pub after: u64,
    /// Handling of a missing run: start it, or report it as lost.
    pub mode: Mode,
    /// Identity of the folder of runs; empty: any.
    pub identity: String,
    /// Command to start when the id is new.
    pub spec: Spec,
}

/// Handling of a request whose run does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Start the run: it was never started before.
    Start,
    /// Report the run as lost: it was started, and its folder is gone. It must not run a second time.
    Attach,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Attach => "attach",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Start, Self::Attach].into_iter().find(|mode| mode.word() == word)
    }
}

impl RunRequest {
    /// Encodes a line with id, number, mode and identity, then the encoded specification.
    pub fn encode(&self) -> Vec<u8> {
        let mut out =
            format!("{} {} {} {}\n", self.id, self.after, self.mode.word(), self.identity).into_bytes();
        out.extend_from_slice(&self.spec.encode());
        out
    }

    /// Reads one request and not a byte more; `None` when the input ends before it begins.
    pub fn read(from: &mut impl std::io::Read) -> std::io::Result<Option<Self>> {
        let mut line = Vec::new();
        let mut byte = [0];
        while from.read(&mut byte)? == 1 && byte != *b"\n" {
            line.push(byte[0]);
            if line.len() > REQUEST_LINE_BYTES_MAX {
                return Err(invalid("standard input holds no run request"));
            }
        }
        if line.is_empty() {
            return Ok(None);
        }
        let line = String::from_utf8(line).map_err(|_| invalid("standard input holds no run request"))?;
        let mut words = line.splitn(4, ' ');
        let (Some(id), Some(after), Some(mode), Some(identity)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(invalid("standard input holds no run request"));
        };
        let after =
            after.parse().map_err(|_| invalid("the sequence number of the request is no whole number"))?;
        let mode =
            Mode::of(mode).ok_or_else(|| invalid("the mode of the request is neither start nor attach"))?;
        Ok(Some(Self {
            id: id.to_owned(),
            after,
            mode,
            identity: identity.to_owned(),
            spec: Spec::read(from)?,
        }))
    }
}

/// Longest first line: the longest id, the largest number, and an identity.
const REQUEST_LINE_BYTES_MAX: usize = 512;
/// Most bytes of an encoded specification.
pub const SPEC_BYTES_MAX: usize = 16 * 1024 * 1024;
const MAGIC: &[u8; 4] = b"RDS2";

impl Spec {
    /// Returns a specification without limits and input, with a grace time of 5 s.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: Vec::new(),
            cwd: String::new(),
            timeout_ms: 0,
            grace_ms: 5_000,
            journal_bytes_max: 0,
            interrupt_first: false,
            first_seq: 1,
            stdin: None,
        }
    }

    /// Encodes for the runner's standard input: a magic number, the length of the rest, the fields. The
    /// length makes closing the channel unnecessary, which old exec protocols cannot do.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_list(&mut out, &self.argv);
        let env: Vec<&str> = self.env.iter().flat_map(|(k, v)| [k.as_str(), v.as_str()]).collect();
        put_list(&mut out, &env);
        put(&mut out, self.cwd.as_bytes());
        for number in [self.timeout_ms, self.grace_ms, self.journal_bytes_max, self.first_seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(self.interrupt_first));
        out.push(u8::from(self.stdin.is_some()));
        put(&mut out, self.stdin.as_deref().unwrap_or_default());
        with_length(MAGIC, &out)
    }

    /// Reads one encoded specification and not a byte more.
    pub fn read(from: &mut impl std::io::Read) -> std::io::Result<Self> {
        let body = read_with_length(from, MAGIC, SPEC_BYTES_MAX)?
            .ok_or_else(|| invalid("standard input holds no command specification"))?;
        Self::decode(&mut Reader(&body)).ok_or_else(|| invalid("the command specification is damaged"))
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let argv = reader.list()?;
        let flat = reader.list()?;
        let env = flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let cwd = reader.text()?;
        let (timeout_ms, grace_ms, journal_bytes_max) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let first_seq = reader.u64()?;
        let flags = reader.take(2)?;
        let (interrupt_first, has_stdin) = (flags[0] != 0, flags[1] != 0);
        let stdin = reader.block()?.to_vec();
        if argv.is_empty() || first_seq == 0 || !flat.len().is_multiple_of(2) || !reader.0.is_empty() {
            return None;
        }
        Some(Self {
            argv,
            env,
            cwd,
            timeout_ms,
            grace_ms,
            journal_bytes_max,
            interrupt_first,
            first_seq,
            stdin: has_stdin.then_some(stdin),
        })
    }
}

/// Most bytes of arguments on standard input.
pub const ARGUMENTS_BYTES_MAX: usize = 1024 * 1024;
const ARGUMENTS_MAGIC: &[u8; 4] = b"RDA1";

/// Encodes arguments for `--arguments-stdin`: a magic number, the length of the rest, the arguments.
pub fn encode_arguments(arguments: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    put_list(&mut out, arguments);
    with_length(ARGUMENTS_MAGIC, &out)
}

/// Reads such arguments and not a byte more.
///
/// # Errors
/// When the input cannot be read, or holds none.
pub fn read_arguments(from: &mut impl std::io::Read) -> std::io::Result<Vec<String>> {
    let body = read_with_length(from, ARGUMENTS_MAGIC, ARGUMENTS_BYTES_MAX)?
        .ok_or_else(|| invalid("standard input holds no arguments"))?;
    let mut reader = Reader(&body);
    reader.list().filter(|_| reader.0.is_empty()).ok_or_else(|| invalid("the arguments are damaged"))
}

/// Encodes a magic number, the length of the body, and the body.
fn with_length(magic: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [magic, &(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// Reads such a body and not a byte more; `None` for another magic number, or a body that is too long.
fn read_with_length(
    from: &mut impl std::io::Read,
    magic: &[u8; 4],
    bytes_max: usize,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0_u8; 8];
    from.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if &head[..4] != magic || length > bytes_max {
        return Ok(None);
    }
    let mut body = vec![0_u8; length];
    from.read_exact(&mut body)?;
    Ok(Some(body))
}

fn invalid(message: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_list<T: AsRef<str>>(out: &mut Vec<u8>, items: &[T]) {
    out.extend_from_slice(&(items.len() as u32).to_le_bytes());
    for item in items {
        put(out, item.as_ref().as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.block()?.to_vec()).ok()
    }

    fn list(&mut self) -> Option<Vec<String>> {
        let count = self.u32()?;
        (0..count).map(|_| self.text()).collect()
    }
}
