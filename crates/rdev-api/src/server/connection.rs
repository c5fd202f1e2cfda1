//! One connection: requests and responses by hyper, the rest of an event stream, and an error response to bytes that are
//! no request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::departure::Departure;
use super::exchange::{Exchange, ExchangeBody, ExchangeStream};
use super::handoff::{Handoff, write_rest};
use super::limits::{CONNECTION_BUFFER_BYTES, HEAD_BYTES_MAX, LINGER_TIMEOUT};
use super::permits::ConnectionPermit;
use crate::error::ApiError;
use crate::metrics::Closed;
use crate::middleware::Refusal;
use crate::request::Peer;
use rdev_api_types::ErrorCode;

/// Service and stop signal of a listener, shared by its connections.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) app: TowerToHyperService<Router>,
    pub(super) stop: CancellationToken,
}

/// State of a connection when hyper is done with it.
enum End {
    /// The rest of an event stream is to be written.
    Streams(TcpStream, BoxStream<'static, Bytes>),
    /// The last bytes read were no request.
    Refused(TcpStream, ApiError),
    /// Nothing is left to be written.
    Over(TcpStream),
}

impl Serving {
    /// Serves the connection to its end, or until it is evicted for another one.
    pub(super) async fn serve(
        self,
        stream: TcpStream,
        peer: Peer,
        permit: ConnectionPermit,
        head_timeout: Duration,
    ) {
        let usage = permit.0.clone();
        tokio::select! {
            // A request that has arrived goes before an eviction.
            biased;
            () = self.to_the_end(stream, peer, &permit, head_timeout) => {}
            () = usage.evicted() => {
                Closed::MadeRoom.count();
                tracing::debug!(?peer, "an idle connection was evicted");
            }
        }
    }

    async fn to_the_end(
        &self,
        stream: TcpStream,
        peer: Peer,
        permit: &ConnectionPermit,
        head_timeout: Duration,
    ) {
        // Boxed, so that its memory is freed when it ends.
        let stream = match Box::pin(self.requests(stream, peer, permit, head_timeout)).await {
            End::Streams(stream, rest) => {
                if let Err(error) = write_rest(stream, rest).await {
                    tracing::debug!(%error, "the subscriber has disconnected");
                }
                return;
            }
            End::Refused(mut stream, error) => {
                Box::pin(self.refuse(&mut stream, peer, error)).await;
                stream
            }
            End::Over(stream) => stream,
        };
        Box::pin(self.linger(stream)).await;
    }

    /// Has hyper read requests and write responses, until the connection ends or an event stream is handed off.
    async fn requests(
        &self,
        stream: TcpStream,
        peer: Peer,
        permit: &ConnectionPermit,
        head_timeout: Duration,
    ) -> End {
        let (exchange, handoff) = (Exchange::new(permit.0.clone()), Handoff::default());
        let (stream, departure) = (Arc::new(stream), Departure::default());
        let (of_requests, for_requests, app) = (exchange.clone(), handoff.clone(), self.app.clone());
        let departure_of_requests = departure.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            of_requests.begin_request();
            departure_of_requests.begin_request();
            request.extensions_mut().insert(departure_of_requests.clone());
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(of_requests.usage().clone());
            // Before 1.1 there is no chunked encoding, and hyper knows what to do instead.
            if request.version() == Version::HTTP_11 {
                request.extensions_mut().insert(for_requests.clone());
            }
            let (response, exchange) = (app.call(request), of_requests.clone());
            async move { response.await.map(|response| response.map(|body| ExchangeBody { body, exchange })) }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_buf_size(CONNECTION_BUFFER_BYTES)
            .max_header_size(HEAD_BYTES_MAX)
            // A client may close its sending side and still read.
            .half_close(true)
            .serve_connection(TokioIo::new(ExchangeStream::new(stream.clone(), exchange.clone())), service);
        let mut stopped = Some(pin!(self.stop.cancelled()));
        let ended = poll_fn(|context| {
            if stopped.as_mut().is_some_and(|stopped| stopped.as_mut().poll(context).is_ready()) {
                stopped = None;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(ended.map(|()| None));
            }
            departure.look(&stream, context);
            // What hyper could not write yet is still its own to write.
            if exchange.is_blocked() {
                return Poll::Pending;
            }
            handoff.take().map_or(Poll::Pending, |rest| Poll::Ready(Ok(Some(rest))))
        })
        .await;
        let parts = connection.into_parts();
        let (of_hyper, refused) = parts.io.into_inner().into_parts();
        drop(of_hyper);
        let stream = Arc::into_inner(stream).expect("hyper had the other one");
        match ended {
            Ok(Some(rest)) => End::Streams(stream, rest),
            Ok(None) => End::Over(stream),
            Err(error) => {
                // Clients come and go as they like.
                tracing::debug!(%error, "the connection ended early");
                let refusal =
                    exchange.is_idle().then(|| refusal(&error, refused, &parts.read_buf, head_timeout));
                match refusal.flatten() {
                    Some(refusal) => End::Refused(stream, refusal),
                    None => End::Over(stream),
                }
            }
        }
    }

    /// Has the app write the error response to bytes that hyper could not parse: a request in their place carries the
    /// error, so the response has its envelope and its request id as any other.
    async fn refuse(&self, stream: &mut TcpStream, peer: Peer, error: ApiError) {
        const IN_ITS_PLACE: &[u8] = b"GET / HTTP/1.1\r\nhost: rdev\r\n\r\n";
        let app = self.app.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Refusal(error.clone()));
            let response = app.call(request);
            async move { response.await as Result<Response<Body>, _> }
        });
        let io = TokioIo::new(tokio::io::join(IN_ITS_PLACE, stream));
        let refused = http1::Builder::new().half_close(true).keep_alive(false).serve_connection(io, service);
        if let Err(error) = refused.await {
            tracing::debug!(%error, "writing an error response failed");
        }
    }

    /// Waits for the client to close its side: a connection closed while the client still sends is reset, and the client
    /// loses the response that it has yet to read.
    async fn linger(&self, mut stream: TcpStream) {
        let mut ignored = [0; 8 * 1024];
        let closes = async { while matches!(stream.read(&mut ignored).await, Ok(1..)) {} };
        // A client that does not close in time is cut.
        timeout(LINGER_TIMEOUT, self.stop.run_until_cancelled(closes)).await.ok();
    }
}

/// Returns the error response for a connection that ended before a request was parsed; `None` where nobody waits for a
/// response.
fn refusal(
    error: &hyper::Error,
    refused: Option<StatusCode>,
    head: &[u8],
    head_timeout: Duration,
) -> Option<ApiError> {
    let invalid = |why: &dyn std::fmt::Display| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::InvalidRequest,
            format!("this is no HTTP/1.1 request: {why}"),
        )
    };
    let long_line = || head.iter().take(HEAD_BYTES_MAX).all(|byte| *byte != b'\n');
    match refused {
        Some(StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) if long_line() => {
            let message = format!("accepted are {HEAD_BYTES_MAX} bytes for the whole head of a request");
            Some(ApiError::new(StatusCode::URI_TOO_LONG, ErrorCode::UriTooLong, message))
        }
        Some(status @ StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
            let message = format!("accepted are {HEAD_BYTES_MAX} bytes and 100 header fields");
            Some(ApiError::new(status, ErrorCode::HeadTooLarge, message))
        }
        Some(_) => Some(invalid(error)),
        None if error.is_parse_version_h2() => {
            let message = "HTTP/2 is not spoken here; HTTP/1.1 is";
            Some(ApiError::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                ErrorCode::HttpVersionNotSupported,
                message,
            ))
        }
        None if head.is_empty() => None,
        None if error.is_timeout() => {
            let message =
                format!("the head of the request did not arrive within {} s", head_timeout.as_secs());
            Some(ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::HeadTimeout, message))
        }
        None if error.is_incomplete_message() => Some(invalid(&"it ends within its head")),
        None => error.is_parse().then(|| invalid(error)),
    }
}
