//! Dispatch of requests.

pub(crate) mod answers;
pub(crate) mod call;
mod discovery;
mod list;
mod pods;
mod protobuf;
pub(crate) mod target;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};

use self::answers::{Answer, Failure, text};
use self::call::{Call, Line};
use self::target::{Query, Target};
use crate::access::AccessRequest;
use crate::config::ExecVerbs;
use crate::exec;
use crate::identities::Identity;
use crate::inner::Inner;
use crate::requests;
use crate::selector::Selector;

pub(crate) async fn handle(inner: Arc<Inner>, line: Line, request: Request<Incoming>) -> Answer {
    answer(inner, line, request).await.unwrap_or_else(|failure| failure.answer())
}

async fn answer(inner: Arc<Inner>, line: Line, request: Request<Incoming>) -> Result<Answer, Failure> {
    let target = Target::parse(request.uri().path());
    let query = Query::parse(request.uri().query());
    let verb = target.verb(request.method(), &query);
    let resource = target.resource().unwrap_or(request.uri().path()).to_owned();
    let user = user(&inner, &request);
    let selector =
        Selector::parse(target.namespace(), query.get("labelSelector"), query.get("fieldSelector"));
    let name = target.name().or_else(|| selector.as_ref().ok()?.name()).map(str::to_owned);
    let needs = needs(&inner, &target, &verb);
    inner.requests.add(requests::Request {
        verb: verb.clone(),
        resource: resource.clone(),
        namespace: target.namespace().map(str::to_owned),
        name: name.clone(),
        label_selector: query.get("labelSelector").map(str::to_owned),
        field_selector: query.get("fieldSelector").map(str::to_owned),
        resource_version: query.get("resourceVersion").map(str::to_owned),
        command: query.all("command"),
        needs: needs.clone(),
        user: user.as_ref().map(|user| user.user.clone()),
        at: Instant::now(),
    });
    tokio::time::sleep(inner.faults.latency()).await;
    if let Some(refusal) = inner.faults.take_refusal(&verb, &resource) {
        return Err(Failure::refused(refusal, &verb, &resource, name.as_deref()).await);
    }
    match target {
        Target::Health => return Ok(text(StatusCode::OK, "ok")),
        Target::Version => return Ok(discovery::version(&inner.config)),
        _ => {}
    }
    let user = user.ok_or_else(Failure::unauthorized)?;
    for verb in &needs {
        let (resource, namespace) = (resource.as_str(), target.namespace());
        let asked = AccessRequest { verb, group: "", resource, namespace, name: name.as_deref() };
        if !user.access.allows(&asked) {
            let kind = resource.split('/').next().unwrap_or_default();
            return Err(Failure::forbidden(asked.refusal(&user.user), kind, name.as_deref()));
        }
    }
    let selector = selector.map_err(Failure::bad_request)?;
    Call { inner, line, target, query, selector, user, request }.answer().await
}

/// Returns the verbs that must be allowed. Discovery and access reviews are free for all users.
fn needs(inner: &Inner, target: &Target, verb: &str) -> Vec<String> {
    match target {
        Target::Namespace(_) | Target::Pods { .. } | Target::Pod { .. } => vec![verb.to_owned()],
        Target::Exec { .. } if verb == "get" && inner.config.exec_verbs == ExecVerbs::New => {
            vec![verb.to_owned(), "create".to_owned()]
        }
        Target::Exec { .. } => vec![verb.to_owned()],
        Target::Health | Target::Version | Target::Discovery(_) | Target::Review | Target::Unknown => {
            Vec::new()
        }
    }
}

fn user(inner: &Inner, request: &Request<Incoming>) -> Option<Arc<Identity>> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    inner.identities.get(header.strip_prefix("Bearer ")?.trim())
}

impl Call {
    async fn answer(self) -> Result<Answer, Failure> {
        let method = self.request.method().clone();
        match (&self.target, method) {
            (Target::Discovery(what), Method::GET) => Ok(discovery::answer(*what, self.inner.address)),
            (Target::Review, Method::POST) => self.review().await,
            (Target::Namespace(name), Method::GET) => self.namespace(name),
            (Target::Pods { .. }, Method::GET) if self.query.flag("watch") => watch::start(&self),
            (Target::Pods { .. }, Method::GET) => list::answer(&self),
            (Target::Pod { namespace, name }, Method::GET) => self.pod(namespace, name),
            (Target::Pod { .. }, Method::DELETE) => self.delete().await,
            (Target::Exec { .. }, Method::GET | Method::POST) => exec::answer(self).await,
            (Target::Unknown, _) => Err(Failure::no_such_path()),
            _ => Err(Failure::no_such_method()),
        }
    }
}
