//! Single pods, single namespaces, and access reviews.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReviewStatus};
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use serde::de::DeserializeOwned;

use super::answers::{Answer, Failure, bytes_of_json, json};
use super::call::Call;
use super::protobuf;
use super::target::{Query, Target};
use crate::access::AccessRequest;
use crate::pod::PodHandle;

/// Most bytes of a body, as on the real server.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
const DEFAULT_GRACE_SECONDS: i64 = 30;

impl Call {
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Result<Answer, Failure> {
        let key = (namespace.to_owned(), name.to_owned());
        let objects = self.inner.world().store.objects();
        let object = objects.get(&key).ok_or_else(|| Failure::pod_not_found(name))?;
        Ok(bytes_of_json(StatusCode::OK, object.json.clone()))
    }

    /// Returns a namespace. One that was never created exists while it has pods.
    pub(super) fn namespace(&self, name: &str) -> Result<Answer, Failure> {
        let inhabited = self.inner.world().pods.keys().any(|(namespace, _)| namespace == name);
        if !inhabited && !["default", "kube-system"].contains(&name) {
            return Err(Failure::namespace_not_found(name));
        }
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                creation_timestamp: Some(self.inner.created.clone()),
                ..ObjectMeta::default()
            },
            status: Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None }),
            ..Namespace::default()
        };
        Ok(json(StatusCode::OK, &namespace))
    }

    pub(super) async fn delete(self) -> Result<Answer, Failure> {
        let Self { inner, target, query, request, .. } = self;
        let (Some(namespace), Some(name)) = (target.namespace(), target.name()) else {
            return Err(Failure::no_such_path());
        };
        let body = read(request).await?;
        let options: DeleteOptions =
            if body.bytes.is_empty() { DeleteOptions::default() } else { body.parse()? };
        let key = (namespace.to_owned(), name.to_owned());
        let uid = inner.look(&key, |pod| pod.uid.clone()).map_err(|_| Failure::pod_not_found(name))?;
        let wanted = options.preconditions.and_then(|conditions| conditions.uid);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != uid) {
            let message = format!(
                "Operation cannot be fulfilled on pods \"{name}\": Precondition failed: UID in precondition: \
                 {wanted}, UID in object meta: {uid}"
            );
            return Err(Failure::conflict(message, name));
        }
        let grace = grace(&query)?.or(options.grace_period_seconds).unwrap_or(DEFAULT_GRACE_SECONDS);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let before = inner.world().store.objects().get(&key).map(|object| object.json.clone());
        let pod = PodHandle { inner: inner.clone(), key: key.clone() };
        let deleted = tokio::task::spawn_blocking(move || pod.delete(grace)).await;
        if !matches!(deleted, Ok(Ok(()))) {
            return Err(Failure::pod_not_found(name));
        }
        let after = inner.world().store.objects().get(&key).map(|object| object.json.clone());
        let object = after.or(before).ok_or_else(|| Failure::pod_not_found(name))?;
        Ok(bytes_of_json(StatusCode::OK, object))
    }

    pub(super) async fn review(self) -> Result<Answer, Failure> {
        debug_assert_eq!(self.target, Target::Review);
        let body = read(self.request).await?;
        let mut review: SelfSubjectAccessReview = if body.kind.starts_with(protobuf::MEDIA_TYPE) {
            protobuf::review(&body.bytes).ok_or_else(|| Failure::bad_request("the review is not readable"))?
        } else {
            body.parse()?
        };
        let mut status = SubjectAccessReviewStatus::default();
        if let Some(wanted) = &review.spec.resource_attributes {
            let mut resource = wanted.resource.clone().unwrap_or_default();
            if let Some(below) = wanted.subresource.as_deref().filter(|below| !below.is_empty()) {
                resource = format!("{resource}/{below}");
            }
            let given = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
            let (namespace, name) = (given(&wanted.namespace), given(&wanted.name));
            let asked = AccessRequest {
                verb: wanted.verb.as_deref().unwrap_or_default(),
                group: wanted.group.as_deref().unwrap_or_default(),
                resource: &resource,
                namespace: namespace.as_deref(),
                name: name.as_deref(),
            };
            status.allowed = self.user.access.allows(&asked);
        }
        review.status = Some(status);
        Ok(json(StatusCode::CREATED, &review))
    }
}

fn grace(query: &Query) -> Result<Option<i64>, Failure> {
    let parse = |text: &str| text.parse().map_err(|_| Failure::bad_request("invalid gracePeriodSeconds"));
    query.get("gracePeriodSeconds").map(parse).transpose()
}

struct Body {
    kind: String,
    bytes: Bytes,
}

impl Body {
    fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.kind.is_empty() && !self.kind.starts_with("application/json") {
            return Err(Failure::unsupported_media_type());
        }
        serde_json::from_slice(&self.bytes).map_err(|error| Failure::bad_request(error.to_string()))
    }
}

async fn read(request: Request<Incoming>) -> Result<Body, Failure> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let bytes = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let bytes = bytes.map_err(|error| Failure::bad_request(error.to_string()))?.to_bytes();
    Ok(Body { kind, bytes })
}
