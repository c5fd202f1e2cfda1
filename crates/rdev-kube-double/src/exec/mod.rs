//! Exec: the checks before the connection is upgraded, and the upgrade.

mod context;
mod outcome;
mod session;
mod tap;

use std::sync::Arc;

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use self::context::enter;
use self::session::{ExecOrder, Session};
use crate::config::ExecProtocol;
use crate::http::answers::{Answer, Failure, full};
use crate::http::call::Call;
use crate::http::target::Query;

pub(crate) async fn answer(mut call: Call) -> Result<Answer, Failure> {
    let wanted = call.query.get("container").map(str::to_owned);
    let key = (
        call.target.namespace().unwrap_or_default().to_owned(),
        call.target.name().unwrap_or_default().to_owned(),
    );
    let found = call.inner.look(&key, |pod| enter(pod, wanted.as_deref(), &call));
    let context = found.map_err(|_| Failure::pod_not_found(&key.1))??;
    let order = order(&call.query)?;
    let (key, protocol) = negotiate(call.request.headers(), &call.inner.config.exec_protocols)?;
    let late = call.inner.config.late_node_errors && protocol == ExecProtocol::V5;
    let context = match context {
        Ok(context) => {
            // When the node itself upgrades the connection, a silent node leaves the client without an
            // answer.
            if !late {
                context.inner.runtimes.answers(&context.pod).await;
            }
            Ok(context)
        }
        Err(error) if late => Err(error.late),
        Err(error) => return Err(error.early),
    };
    let session = Session {
        cut: call.inner.faults.take_cut(),
        cuts: call.inner.faults.exec_cuts(),
        idle_limit: call.inner.faults.idle_limit(),
        end: call.line.end.clone(),
        socket: Arc::clone(&call.line.socket),
        protocol,
        order: Arc::new(order),
    };
    let upgraded = hyper::upgrade::on(&mut call.request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => session.run(upgraded, context).await,
            Err(error) => tracing::debug!(%error, "an exec connection was not upgraded"),
        }
    });
    switching(&key, protocol)
}

fn order(query: &Query) -> Result<ExecOrder, Failure> {
    let order = ExecOrder {
        argv: query.all("command"),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        tty: query.flag("tty"),
    };
    if order.argv.is_empty() {
        return Err(Failure::bad_request("you must specify at least 1 command for the container"));
    }
    if !(order.stdin || order.stdout || order.stderr) {
        return Err(Failure::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    if order.tty && order.stderr {
        return Err(Failure::bad_request("tty and stderr cannot both be true"));
    }
    Ok(order)
}

fn negotiate(headers: &HeaderMap, known: &[ExecProtocol]) -> Result<(HeaderValue, ExecProtocol), Failure> {
    let has = |name: HeaderName, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let key =
        headers.get(SEC_WEBSOCKET_KEY).filter(|_| has(CONNECTION, "upgrade") && has(UPGRADE, "websocket"));
    let key =
        key.ok_or_else(|| Failure::bad_request("Upgrade request required: only WebSocket is served"))?;
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    let protocol = offered.find_map(|name| known.iter().find(|protocol| protocol.name() == name));
    Ok((key.clone(), *protocol.ok_or_else(Failure::no_common_protocol)?))
}

fn switching(key: &HeaderValue, protocol: ExecProtocol) -> Result<Answer, Failure> {
    let mut answer = Response::new(full(bytes::Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Failure::bad_request("invalid Sec-WebSocket-Key"))?;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name()));
    Ok(answer)
}
