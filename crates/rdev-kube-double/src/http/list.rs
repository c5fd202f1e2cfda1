//! Lists, in pages on request.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde::{Deserialize, Serialize};

use super::answers::{Answer, Failure, bytes_of_json};
use super::call::Call;
use crate::store::{Key, Objects};

/// Beginning of every single pod; omitted in lists.
const HEAD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","#;

/// Continuation of a list: opaque to clients.
#[derive(Serialize, Deserialize)]
struct Continue {
    version: u64,
    after: Key,
}

pub(super) fn answer(call: &Call) -> Result<Answer, Failure> {
    let limit = match call.query.get("limit").map(str::parse::<usize>) {
        None | Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return Err(Failure::bad_request("invalid limit")),
    };
    let (objects, version, after) = state(call)?;
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut matching =
        objects.range((start, Bound::Unbounded)).filter(|(_, object)| call.selector.matches(&object.pod));
    let page: Vec<_> = matching.by_ref().take(limit).collect();
    let left = matching.count();

    let mut metadata = ListMeta { resource_version: Some(version.to_string()), ..ListMeta::default() };
    if let Some((key, _)) = page.last().filter(|_| left > 0) {
        call.inner.world().store.keep_at(version, &objects);
        metadata.continue_ = Some(write(&Continue { version, after: (*key).clone() }));
        // With a selector the real server does not count.
        metadata.remaining_item_count = i64::try_from(left).ok().filter(|_| call.selector.is_empty());
    }
    let metadata = serde_json::to_vec(&metadata).unwrap_or_default();
    let size: usize = page.iter().map(|(_, object)| object.json.len()).sum();
    let mut body = Vec::with_capacity(size + metadata.len() + HEAD.len() * 4);
    body.extend_from_slice(br#"{"kind":"PodList","apiVersion":"v1","metadata":"#);
    body.extend_from_slice(&metadata);
    body.extend_from_slice(br#","items":["#);
    for (number, (_, object)) in page.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        match object.json.strip_prefix(HEAD) {
            Some(rest) => {
                body.push(b'{');
                body.extend_from_slice(rest);
            }
            None => body.extend_from_slice(&object.json),
        }
    }
    body.extend_from_slice(b"]}\n");
    Ok(bytes_of_json(StatusCode::OK, body.into()))
}

/// Returns the state to list from: the present one, or the one in which the list began.
fn state(call: &Call) -> Result<(Arc<Objects>, u64, Option<Key>), Failure> {
    let world = call.inner.world();
    if let Some(token) = call.query.get("continue") {
        let token = read(token).ok_or_else(|| Failure::bad_request("continue key is not valid"))?;
        let objects = world.store.at(token.version).map_err(|_| Failure::old_continue())?;
        return Ok((objects, token.version, Some(token.after)));
    }
    if call.query.get("resourceVersionMatch") == Some("Exact") {
        let asked = call.query.get("resourceVersion").and_then(|version| version.parse().ok());
        let version = asked.ok_or_else(|| Failure::bad_request("invalid resourceVersion"))?;
        let objects = world.store.at(version).map_err(|expired| Failure::expired(version, expired))?;
        return Ok((objects, version, None));
    }
    Ok((world.store.objects(), world.store.version(), None))
}

fn write(token: &Continue) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).unwrap_or_default())
}

fn read(token: &str) -> Option<Continue> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}
