//! Configuration, read once from the environment.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use rdev_services::RetentionLimits;

/// Runs coding agents, shell commands and git, and streams what they write.
///
/// Everything is configured by environment variables; each has an option of the same meaning.
#[derive(Debug, Clone, Parser)]
#[command(name = "rdev-api", version, max_term_width = 100)]
pub struct Config {
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Action>,

    /// Listen address
    #[arg(long, env = "RDEV_BIND", default_value = "127.0.0.1:8080", value_name = "IP:PORT", value_parser = address)]
    pub bind: SocketAddr,

    /// Another listen address, for /health, /ready and /metrics: then /metrics is there alone, and the others are
    /// there too
    #[arg(long, env = "RDEV_PROBE_BIND", value_name = "IP:PORT", value_parser = address)]
    pub probe_bind: Option<SocketAddr>,

    /// Folder for the SQLite file `rdev.db`, `workspaces/`, `runs/` and generated keys (mode 0600)
    #[arg(long, env = "RDEV_DATA_DIR", default_value = "./.rdev", value_name = "FOLDER",
        value_parser = PathBufValueParser::new().try_map(folder))]
    pub data_dir: PathBuf,

    /// `sqlite://FILE`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE` (13 or later), which several rdev-api
    /// may share; without it `rdev.db` in the data folder
    #[arg(long, env = "RDEV_DATABASE_URL", value_name = "URL", value_parser = database_url, hide_env_values = true)]
    pub database_url: Option<DatabaseUrl>,

    /// Where commands run: on this machine, or in the pods of a cluster, which is the one around this pod or
    /// that of KUBECONFIG. Without it: kubernetes inside a pod, else local
    #[arg(long, env = "RDEV_RUNTIME")]
    runtime: Option<Runtime>,

    /// Namespace of the pods; the local runtime has none and ignores it
    #[arg(long, env = "RDEV_NAMESPACE", default_value = "rdev", value_parser = namespace)]
    pub namespace: String,

    /// Bootstrap key with scope admin, 16 to 200 visible ASCII characters; generated on first start, and
    /// written to `admin.key` in the data folder
    #[arg(long, env = "RDEV_ADMIN_KEY", value_parser = admin_key, hide_env_values = true)]
    pub admin_key: Option<Secret>,

    /// 32 bytes in base64; signs tickets and encrypts credentials; generated in the data folder
    #[arg(long, env = "RDEV_MASTER_KEY", value_parser = master_key, hide_env_values = true)]
    pub master_key: Option<MasterKey>,

    /// Commands of projects run at once by this process
    #[arg(long, env = "RDEV_WORKER_CONCURRENCY", default_value = "8", value_parser = whole::<u32>(1, 1024))]
    pub worker_concurrency: u32,

    /// Tasks of the queue that the local runtime runs at once; in a cluster the pool is as large as it has workers
    #[arg(long, env = "RDEV_POOL_SLOTS", default_value = "2", value_parser = whole::<u32>(0, 256))]
    pub pool_slots: u32,

    /// Seconds between heartbeats of a silent event stream
    #[arg(long, env = "RDEV_HEARTBEAT_SECONDS", default_value = "10", value_parser = whole::<u64>(1, 300))]
    heartbeat_seconds: u64,

    /// A task whose worker is silent for so many seconds is taken over
    #[arg(long, env = "RDEV_LEASE_SECONDS", default_value = "30", value_parser = whole::<u64>(3, 3600))]
    lease_seconds: u64,

    /// Limit in seconds for a command that names none
    #[arg(long, env = "RDEV_COMMAND_TIMEOUT_SECONDS", default_value = "3600", value_parser = whole::<u64>(1, 604_800))]
    command_timeout_seconds: u64,

    /// Seconds that a command waits for its project's pod to be ready
    #[arg(long, env = "RDEV_POD_WAIT_SECONDS", default_value = "300", value_parser = whole::<u64>(1, 86_400))]
    pod_wait_seconds: u64,

    /// Seconds between two searches of a place for output whose copy is stored, which still takes space there
    #[arg(long, env = "RDEV_JOURNAL_SEARCH_SECONDS", default_value = "3600", value_parser = whole::<u64>(1, 86_400))]
    journal_search_seconds: u64,

    /// Days after which a command or task that has ended is removed, with all that is stored of it; 0: never
    #[arg(long, env = "RDEV_RETENTION_DAYS", default_value = "30", value_parser = whole::<u64>(0, 36_500))]
    retention_days: u64,

    /// MiB of output that the event log keeps, of all commands together: beyond that the oldest is removed; 0: no
    /// limit
    #[arg(long, env = "RDEV_RETENTION_LOG_MB", default_value = "10240", value_parser = whole::<u64>(0, 1_000_000_000))]
    retention_log_mb: u64,

    /// Requests a minute and key; a tenth of it may come at once
    #[arg(long, env = "RDEV_RATE_LIMIT_PER_MINUTE", default_value = "600", value_parser = whole::<u32>(1, 100_000_000))]
    pub rate_limit_per_minute: u32,

    /// Event streams that one key may have open at this process; without it three quarters of all connections
    #[arg(long, env = "RDEV_STREAMS_PER_KEY", value_parser = whole::<u32>(1, 1_000_000))]
    pub streams_per_key: Option<u32>,

    /// Proxies whose X-Forwarded-For counts, as CIDRs with commas between
    #[arg(long, env = "RDEV_TRUSTED_PROXIES", value_delimiter = ',', value_parser = cidr, value_name = "CIDR")]
    pub trusted_proxies: Vec<IpNet>,

    /// Names of this process's variables that commands of the local runtime see beside the usual ones, with commas
    /// between; none of rdev's own
    #[arg(long, env = "RDEV_COMMAND_ENV", value_delimiter = ',', value_parser = command_variable, value_name = "NAME")]
    pub command_env: Vec<String>,

    /// What is logged, as a filter of tracing: `info`, `rdev_engine=debug,warn`
    #[arg(long, env = "RDEV_LOG", default_value = "info", value_parser = log_filter)]
    pub log: String,

    /// Form of the log: text, or one JSON object a line; json inside a pod
    #[arg(long, env = "RDEV_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Set by Kubernetes in every pod
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    kubernetes_service_host: Option<String>,
}

/// What to do instead of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Print the OpenAPI document of this version
    Openapi,
    /// Look at everything that rdev needs, and say how to mend what is wrong
    Doctor,
    /// Bring the database's schema up to date, as every start does
    Migrate {
        /// Change nothing: list what is pending, with exit code 1 when something is
        #[arg(long)]
        check: bool,
    },
}

/// Where commands run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// On this machine, as this user.
    Local,
    /// In the pods of a cluster.
    Kubernetes,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The URL of a Postgres database, with its password.
    Postgres(Secret),
}

/// A text that no log and no `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

/// The key from which signing and encrypting keys are derived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKey(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl Config {
    /// Time between heartbeats of a silent event stream.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_seconds)
    }

    /// Time after which a silent worker's tasks are taken over.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// Limit for a command that names none.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_secs(self.command_timeout_seconds)
    }

    /// How long a command waits for its project's pod to be ready.
    pub fn pod_wait(&self) -> Duration {
        Duration::from_secs(self.pod_wait_seconds)
    }

    /// Time between two searches of a place for journals that nobody has freed.
    pub fn journal_search(&self) -> Duration {
        Duration::from_secs(self.journal_search_seconds)
    }

    /// How much is kept.
    pub fn keeping(&self) -> RetentionLimits {
        let (days, mib) = (self.retention_days, self.retention_log_mb);
        RetentionLimits {
            ended: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)),
            output_bytes: (mib > 0).then_some(mib * 1024 * 1024),
        }
    }

    /// Where commands run.
    pub fn runtime(&self) -> Runtime {
        let in_pod = self.kubernetes_service_host.is_some();
        self.runtime.unwrap_or(if in_pod { Runtime::Kubernetes } else { Runtime::Local })
    }

    /// Form of the log.
    pub fn log_format(&self) -> LogFormat {
        let in_pod = self.kubernetes_service_host.is_some();
        self.log_format.unwrap_or(if in_pod { LogFormat::Json } else { LogFormat::Text })
    }

    /// Where the database is.
    pub fn database(&self) -> DatabaseUrl {
        self.database_url.clone().unwrap_or_else(|| DatabaseUrl::Sqlite(self.data_dir.join("rdev.db")))
    }
}

/// Writes a wrong value's one line to standard error: the variable, the value, and what is accepted.
pub fn complain(error: &clap::Error) {
    let text = error.to_string();
    let line: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let mut line = name_the_variable(&line.join(" "));
    // Of the addresses only those that may hold a password are not shown.
    let holds_password = line.contains("RDEV_DATABASE_URL")
        && line.split("' for '").next().is_some_and(|value| value.contains('@'));
    if holds_password || ["RDEV_ADMIN_KEY", "RDEV_MASTER_KEY"].iter().any(|secret| line.contains(secret)) {
        line = hide_value(&line);
    }
    // Standard error may be closed; the exit code still tells.
    drop(writeln!(std::io::stderr(), "rdev-api: {}", line.trim_start_matches("error: ")));
}

/// clap names options (`--lease-seconds <…>`); people set variables.
fn name_the_variable(line: &str) -> String {
    let Some((before, option)) = line.split_once("'--") else {
        return line.to_owned();
    };
    let Some((option, after)) = option.split_once('\'') else {
        return line.to_owned();
    };
    let name = option.split([' ', '=']).next().unwrap_or(option);
    let variable = format!("RDEV_{}", name.to_uppercase().replace('-', "_"));
    format!("{before}'{variable}'{after}")
}

/// A key with a typing error is nearly a key: no log may show it.
fn hide_value(line: &str) -> String {
    match (line.find("value '"), line.find("' for '")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}value (not shown){}", &line[..from], &line[to + 1..])
        }
        _ => line.to_owned(),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "accepted is IP:PORT, such as 127.0.0.1:8080".to_owned())
}

/// Commands find programs in it by their PATH, which a colon would cut in two.
fn folder(path: PathBuf) -> Result<PathBuf, String> {
    let whole = std::path::absolute(&path).map_err(|error| error.to_string())?;
    let has_colon = whole.as_os_str().as_encoded_bytes().contains(&b':');
    if has_colon {
        return Err(format!(
            "accepted is a folder without ':' in its absolute path, here {}",
            whole.display()
        ));
    }
    Ok(path)
}

fn whole<T: TryFrom<u64>>(min: u64, max: u64) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("accepted is a whole number from {min} to {max}"))
    }
}

fn database_url(text: &str) -> Result<DatabaseUrl, String> {
    const ACCEPTED: &str = "accepted is sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    if let Some(file) = text.strip_prefix("sqlite://") {
        let is_file = !file.is_empty() && !file.contains('?');
        return is_file.then(|| DatabaseUrl::Sqlite(file.into())).ok_or_else(|| ACCEPTED.to_owned());
    }
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    let well_formed = |rest: &str| !rest.is_empty() && !rest.contains(char::is_whitespace);
    match rest {
        Some(rest) if well_formed(rest) => Ok(DatabaseUrl::Postgres(Secret(text.to_owned()))),
        _ => Err(ACCEPTED.to_owned()),
    }
}

fn namespace(text: &str) -> Result<String, String> {
    text.parse::<rdev_domain::ProjectId>()
        .map(|_| text.to_owned())
        .map_err(|_| "accepted are 1 to 63 of a-z, 0-9 and '-'".to_owned())
}

fn admin_key(text: &str) -> Result<Secret, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (16..=200).contains(&text.len()) {
        Ok(Secret(text.to_owned()))
    } else {
        Err("accepted are 16 to 200 visible ASCII characters".to_owned())
    }
}

fn master_key(text: &str) -> Result<MasterKey, String> {
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(MasterKey).ok_or_else(|| "accepted are 32 bytes in base64".to_owned())
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "accepted is a network such as 10.0.0.0/8".to_owned())
}

fn command_variable(text: &str) -> Result<String, String> {
    let name = text.trim();
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let well_formed = name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if well_formed && !name.starts_with("RDEV_") {
        return Ok(name.to_owned());
    }
    Err("accepted are names of variables with commas between, none of which begins with RDEV_".to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "accepted is a filter such as info or rdev_engine=debug,warn".to_owned())
}
