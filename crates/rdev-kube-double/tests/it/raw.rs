//! Exec client with access to frames, and below them to bytes.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use rdev_kube_double::Cluster;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::soon;

pub(crate) const V4: &str = "v4.channel.k8s.io";
pub(crate) const V5: &str = "v5.channel.k8s.io";

pub(crate) struct Exec {
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
    pub(crate) protocol: String,
}

/// Data received over the channels.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) status: Option<Status>,
    /// True after the server's close frame.
    pub(crate) closed: bool,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.status.as_ref()?.reason.as_deref()
    }

    pub(crate) fn exit_code(&self) -> Option<&str> {
        let status = self.status.as_ref()?;
        if status.status.as_deref() == Some("Success") {
            return Some("0");
        }
        let causes = status.details.as_ref()?.causes.as_ref()?;
        causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?.message.as_deref()
    }
}

/// Path of `default/demo`, with all three channels.
pub(crate) fn path(argv: &[&str]) -> String {
    path_of("default", "demo", "stdin=true&stdout=true&stderr=true", argv)
}

pub(crate) fn path_of(namespace: &str, pod: &str, options: &str, argv: &[&str]) -> String {
    let mut query = form_urlencoded::Serializer::new(options.to_owned());
    query.extend_pairs(argv.iter().map(|arg| ("command", arg)));
    format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?{}", query.finish())
}

pub(crate) async fn tls(cluster: &Cluster) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(cluster.address()).await.unwrap();
    let name = ServerName::IpAddress(cluster.address().ip().into());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

pub(crate) async fn open(cluster: &Cluster, path: &str, protocols: &str) -> Result<Exec, Error> {
    let mut request = format!("wss://{}{path}", cluster.address()).into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("Authorization", HeaderValue::from_str(&format!("Bearer {}", cluster.token())).unwrap());
    headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_str(protocols).unwrap());
    let (socket, response) = soon(client_async(request, tls(cluster).await)).await?;
    let protocol = response.headers().get("Sec-WebSocket-Protocol").unwrap().to_str().unwrap().to_owned();
    Ok(Exec { socket, protocol })
}

/// Runs a program in `default/demo` without input.
pub(crate) async fn run(cluster: &Cluster, protocol: &str, argv: &[&str]) -> Got {
    open(cluster, &path(argv), protocol).await.unwrap().rest().await
}

/// Returns the code and the text of a refused upgrade.
pub(crate) async fn refused(cluster: &Cluster, path: &str, protocols: &str) -> (u16, String) {
    match open(cluster, path, protocols).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap())
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the connection was upgraded"),
    }
}

impl Exec {
    pub(crate) async fn send(&mut self, channel: u8, data: &[u8]) {
        soon(self.socket.send(Message::binary([&[channel], data].concat()))).await.unwrap();
    }

    /// Returns the next piece of a channel that is not empty; `None` after the server's end.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match soon(self.socket.next()).await? {
                Ok(Message::Binary(bytes)) if bytes.len() > 1 => {
                    return Some((bytes[0], bytes[1..].to_vec()));
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Reads everything to the end.
    pub(crate) async fn rest(mut self) -> Got {
        let mut got = Got::default();
        while let Some(message) = soon(self.socket.next()).await {
            match message {
                Ok(Message::Binary(bytes)) => match bytes.split_first() {
                    Some((1, data)) => got.stdout.extend_from_slice(data),
                    Some((2, data)) => got.stderr.extend_from_slice(data),
                    Some((3, data)) if !data.is_empty() => {
                        got.status = Some(serde_json::from_slice(data).unwrap());
                    }
                    _ => {}
                },
                Ok(Message::Close(_)) => got.closed = true,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        got
    }
}

/// Requests an exec and returns the stream after the head of the answer, without decoding frames.
pub(crate) async fn bytes_of(cluster: &Cluster, argv: &[&str]) -> TlsStream<TcpStream> {
    let mut stream = tls(cluster).await;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {V5}\r\n\r\n",
        path(argv),
        cluster.address(),
        cluster.token()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}
