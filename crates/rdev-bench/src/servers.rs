//! The measured programs: started on a free port, measured, stopped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rdev_client::types::ShellBody;
use rustix::process::{Pid, Signal, kill_process};

use crate::http::{Connection, request};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Name of the project in every new server.
pub(crate) const PROJECT: &str = "demo";
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
/// Clock ticks per second in `/proc/PID/stat`.
const TICKS: f64 = 100.0;

/// A running server; dropping it stops the server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a program whose standard output and error go to `log`.
    pub(crate) fn start(mut command: Command, port: u16, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, port })
    }

    /// Waits for the first answer to `GET path`.
    pub(crate) async fn ready(&mut self, path: &str) -> anyhow::Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        let get = request("GET", path, &[], "");
        loop {
            if let Ok(mut connection) = Connection::open(self.port).await
                && let Ok((200..=299, _)) = connection.call(&get).await
            {
                return Ok(());
            }
            self.check()?;
            anyhow::ensure!(Instant::now() < until, "nothing answers on port {}", self.port);
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Fails when the server has ended.
    fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        anyhow::ensure!(ended.is_none(), "the server on port {} has ended: {ended:?}", self.port);
        Ok(())
    }

    /// Returns the resident memory of the process, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        memory(self.child.id(), "status", "VmRSS:")
    }

    /// Returns the most resident memory that the process has had, in bytes.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<f64> {
        memory(self.child.id(), "status", "VmHWM:")
    }

    /// Returns the memory of the process and its children, in bytes; shared pages count once.
    pub(crate) fn tree_memory(&self) -> anyhow::Result<f64> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(own).chain(children).map(|pid| memory(pid, "smaps_rollup", "Pss:")).sum()
    }

    /// Returns the processor time of the process and its children, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(own).chain(children).map(cpu).sum()
    }

    /// Kills the server, as a crash would.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), pid) {
            kill_process(pid, Signal::TERM).ok();
        }
        let until = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                self.child.kill().ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn memory(pid: u32, file: &str, field: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// Returns the processor time of a process, in seconds.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("no name")?.1;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next().context("utime")??, ticks.next().context("stime")??);
    Ok((user + system) / TICKS)
}

/// Returns a free port below those that the kernel assigns to outgoing connections.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed)).take(1_000);
    ports.find(is_free).context("no port is free")
}

/// An rdev server with its data.
#[derive(Debug)]
pub(crate) struct Rdev {
    pub(crate) server: Server,
    pub(crate) key: String,
}

impl Rdev {
    /// Starts the server, and waits until it answers.
    pub(crate) async fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::start_with(program, data, &[]).await
    }

    /// Starts the server with more settings, each as variable and value, and waits until it answers.
    pub(crate) async fn start_with(
        program: &Path,
        data: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command
            .env("RDEV_DATA_DIR", data)
            .env("RDEV_BIND", format!("127.0.0.1:{port}"))
            .env("RDEV_RATE_LIMIT_PER_MINUTE", "100000000")
            .envs(settings.iter().copied());
        let mut server = Server::start(command, port, &data.with_extension("log"))?;
        server.ready("/health").await?;
        let key = fs::read_to_string(data.join("admin.key"))?.trim().to_owned();
        Ok(Self { server, key })
    }

    /// Returns a client for calls that are not measured.
    pub(crate) fn client(&self) -> rdev_client::Result<rdev_client::Client> {
        rdev_client::Client::new(&format!("http://127.0.0.1:{}", self.server.port), Some(&self.key))
    }

    /// Starts a command with a timeout of two minutes; returns its id and the path of its events.
    pub(crate) async fn submit(&self, command: &str) -> anyhow::Result<(String, String)> {
        let body = ShellBody { timeout_seconds: Some(120.into()), ..ShellBody::new(command) };
        let accepted = self.client()?.run_shell(PROJECT, &body).await?;
        Ok((accepted.id, accepted.stream_url))
    }

    /// Returns the text of a request whose bytes or time are measured.
    pub(crate) fn request(&self, method: &str, path: &str, accept: &str, body: &str) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.key);
        request(method, path, &[("Authorization", &bearer), ("Accept", accept)], body)
    }
}

/// Runs `sandbox-agent server`.
pub(crate) async fn sandbox_agent(program: &Path, folder: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command.args(["server", "--no-token", "--no-telemetry", "--port", &port.to_string()]);
    command.env("HOME", folder).current_dir(folder);
    let mut server = Server::start(command, port, &folder.join("sandbox-agent.log"))?;
    server.ready("/v1/health").await?;
    Ok(server)
}

/// Runs websocketd, which starts `command` for each connection.
pub(crate) async fn websocketd(command: &str, folder: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut program = Command::new("websocketd");
    program.args([&format!("--port={port}"), "--address=127.0.0.1", "--loglevel=error", "sh", "-c", command]);
    let mut server = Server::start(program, port, &folder.join("websocketd.log"))?;
    while crate::http::connect(port).await.is_err() {
        server.check()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(server)
}

/// Runs nginx with nchan: messages published to `/pub` are delivered as server-sent events from `/sub`.
pub(crate) async fn nchan(folder: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let folder: PathBuf = folder.join("nginx");
    fs::create_dir_all(&folder)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {}/{kind};\n", folder.display()))
        .collect();
    let conf = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;\n\
         daemon off;\nworker_processes 2;\nworker_rlimit_nofile 32768;\npid {0}/pid;\n\
         error_log {0}/error.log crit;\nevents {{ worker_connections 16384; }}\n\
         http {{\n{temporary}  access_log off;\n  keepalive_requests 10000000;\n  tcp_nodelay on;\n\
         \x20 nchan_shared_memory_size 256M;\n  nchan_message_buffer_length 4000;\n\
         \x20 nchan_message_timeout 60s;\n  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n\
         \x20   location = /health {{ return 204; }}\n\
         \x20   location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; }}\n\
         \x20   location = /sub {{ nchan_subscriber eventsource; nchan_channel_id $arg_id;\n\
         \x20     nchan_subscriber_first_message oldest; nchan_subscriber_timeout 0; }}\n  }}\n}}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, conf)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut server = Server::start(command, port, &folder.join("log"))?;
    server.ready("/health").await?;
    Ok(server)
}

/// Runs this program as a server of the events in a file.
pub(crate) async fn loopback(file: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["loopback", "--port", &port.to_string(), "--file"]).arg(file);
    let mut server = Server::start(command, port, &file.with_extension("log"))?;
    server.ready("/health").await?;
    Ok(server)
}

/// Serves an axum route that does nothing: the upper bound of requests per second.
pub(crate) fn empty_route(port: u16) -> anyhow::Result<()> {
    let route = axum::routing::get(|| async {});
    let app = axum::Router::new().route("/", route);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        axum::serve(listener, app).await.map_err(Into::into)
    })
}
