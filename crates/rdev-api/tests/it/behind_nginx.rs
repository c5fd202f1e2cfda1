//! The clients of docs/clients, and a page with a ticket, behind nginx with TLS as docs/tls.md sets it up.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use rdev_client::types::{self, Data, List, Ticket};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::clocks::with_clock;
use crate::documents::{blocks, document};
use crate::support::{Fixture, eventually, free_address, nginx, within};

/// nginx with the block of docs/tls.md, for a server at an address; it ends when this is dropped.
struct Nginx {
    _process: Child,
    folder: tempfile::TempDir,
    url: String,
}

impl Nginx {
    async fn before(server: SocketAddr) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(at("fullchain.pem"), certified.cert.pem()).unwrap();
        fs::write(at("privkey.pem"), certified.signing_key.serialize_pem()).unwrap();
        let mut site = blocks("docs/tls.md", "nginx").remove(0);
        for (shown, here) in [
            ("listen 443 ", format!("listen {address} ")),
            ("rdev.example.org", "localhost".to_owned()),
            ("/etc/ssl/rdev", folder.path().display().to_string()),
            ("127.0.0.1:8080", server.to_string()),
        ] {
            assert!(site.contains(shown), "{shown:?} is not in {site}");
            site = site.replace(shown, &here);
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {};\n", at(of)))
            .concat();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; master_process off; pid {}; error_log {}; events {{}}\nhttp {{ access_log off;\n{temporary}{site}}}",
            at("pid"),
            at("errors")
        );
        fs::write(at("nginx.conf"), config).unwrap();
        let mut command = Command::new(nginx());
        command.args(["-p", &at(""), "-c", &at("nginx.conf"), "-e", &at("errors")]).kill_on_drop(true);
        let process = command.spawn().expect("nginx can be run");
        let listens = async || tokio::net::TcpStream::connect(address).await.ok().map(drop);
        eventually("nginx", listens).await;
        Self { _process: process, url: format!("https://localhost:{}", address.port()), folder }
    }

    fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("fullchain.pem")
    }

    /// Asks by curl, without a key; returns status and body. A stream is cut after its first bytes.
    async fn asks(&self, path: &str) -> (u16, String) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-N", "--max-time", "2", "-w", "\n%{http_code}", "--cacert"]);
        curl.arg(self.certificate()).arg(format!("{}{path}", self.url));
        let output = within("curl", curl.kill_on_drop(true).output()).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

/// Starts a client of docs/clients, which trusts the certificate.
fn client(nginx: &Nginx, (interpreter, file): (&str, &str), key: &str, line: &str) -> Child {
    Command::new(interpreter)
        .arg(document("docs/clients").join(file))
        .args([nginx.url.as_str(), "demo", line])
        .env("RDEV_API_KEY", key)
        .env("SSL_CERT_FILE", nginx.certificate())
        .env("NODE_EXTRA_CA_CERTS", nginx.certificate())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A bot's command goes on while its server is killed twice, and nginx answers 502 meanwhile.
#[tokio::test]
async fn bots_lose_no_line_behind_nginx_when_the_server_dies() {
    let fixture = Fixture::new().with("RDEV_BIND", free_address().to_string());
    let mut server = fixture.with("RDEV_TRUSTED_PROXIES", "127.0.0.1/32").start().await;
    let (nginx, key) = (Nginx::before(server.client().address).await, server.client().key.unwrap());
    for (n, bot) in [("python3", "run.py"), ("node", "run.mjs")].into_iter().enumerate() {
        let line = format!("echo one; until [ -e go{n} ]; do sleep 0.02; done; echo two; exit 3");
        server.kill9().await;
        let bot = client(&nginx, bot, &key, &line);
        eventually("a 502", async || (nginx.asks("/health").await.0 == 502).then_some(())).await;
        server.restart().await;
        eventually("the begin of the command", async || server.busy().await.then_some(())).await;
        server.kill9().await;
        server.touch(&format!("go{n}")).await;
        eventually("the end of the command", async || (!server.busy().await).then_some(())).await;
        server.restart().await;
        let output = within("the end of the bot", bot.wait_with_output()).await.unwrap();
        let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((said.0.as_ref(), output.status.code()), ("one\ntwo\n", Some(3)), "{}", said.1);
    }
    let ran = server.client().get("/projects/demo/commands").send().await.json::<List<types::Command>>(200);
    assert_eq!(ran.data.len(), 2, "each ran once");
}

/// A page's ticket expires, and the next one opens the stream where the page was.
#[tokio::test]
async fn an_expired_ticket_is_refused_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    set(&clock, "+0");
    let server = with_clock(Fixture::new(), &clock).start().await;
    let nginx = Nginx::before(server.client().address).await;
    let client = server.client();
    let accepted = client.shell_on("s", "echo one; echo two").await;
    client.ended(&accepted.id).await;
    let path = "/projects/demo/events?stream_id=s";
    let ticket = async || {
        let body: Data<Ticket> = client.post("/events/ticket", &json!({"path": path})).send().await.json(200);
        body.data.ticket
    };
    let first = ticket().await;
    let (status, body) = nginx.asks(&format!("{path}&ticket={first}")).await;
    assert!(status == 200 && body.contains(r#""line":"one""#), "{status} {body}");
    set(&clock, "+61m");
    let (status, body) = nginx.asks(&format!("{path}&last_event_id=1&ticket={first}")).await;
    assert!(status == 401 && body.contains("this ticket is not valid"), "{status} {body}");
    let next = ticket().await;
    let (status, body) = nginx.asks(&format!("{path}&last_event_id=1&ticket={next}")).await;
    assert!(status == 200 && body.contains(r#""line":"two""#) && !body.contains(r#""line":"one""#), "{body}");
}

fn set(clock: &Path, to: &str) {
    fs::write(clock, format!("{to}\n")).unwrap();
}
