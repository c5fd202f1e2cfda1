//! API discovery, for clients that query the server's resources first.

use std::net::SocketAddr;

use hyper::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    APIGroup, APIGroupList, APIResource, APIResourceList, APIVersions, GroupVersionForDiscovery,
    ServerAddressByClientCIDR,
};
use k8s_openapi::apimachinery::pkg::version::Info;

use super::answers::{Answer, json};
use super::target::Discovery;
use crate::config::Config;

const AUTHORIZATION: &str = "authorization.k8s.io";

pub(super) fn version(config: &Config) -> Answer {
    let (major, minor) = config.version;
    let info = Info {
        major: major.to_string(),
        minor: minor.to_string(),
        git_version: format!("v{major}.{minor}.0-double"),
        git_tree_state: "clean".to_owned(),
        go_version: "go1".to_owned(),
        compiler: "gc".to_owned(),
        platform: "linux/amd64".to_owned(),
        ..Info::default()
    };
    json(StatusCode::OK, &info)
}

pub(super) fn answer(what: Discovery, address: SocketAddr) -> Answer {
    match what {
        Discovery::Api => {
            let addresses = ServerAddressByClientCIDR {
                client_cidr: "0.0.0.0/0".to_owned(),
                server_address: address.to_string(),
            };
            let versions = APIVersions {
                versions: vec!["v1".to_owned()],
                server_address_by_client_cidrs: vec![addresses],
            };
            json(StatusCode::OK, &versions)
        }
        Discovery::Apis => json(StatusCode::OK, &APIGroupList { groups: vec![authorization_group()] }),
        Discovery::AuthorizationGroup => json(StatusCode::OK, &authorization_group()),
        Discovery::Core => {
            let mut pods = resource("pods", "Pod", true, &["delete", "get", "list", "watch"]);
            pods.short_names = Some(vec!["po".to_owned()]);
            pods.categories = Some(vec!["all".to_owned()]);
            pods.singular_name = "pod".to_owned();
            let exec = resource("pods/exec", "PodExecOptions", true, &["create", "get"]);
            let mut namespaces = resource("namespaces", "Namespace", false, &["get"]);
            namespaces.short_names = Some(vec!["ns".to_owned()]);
            namespaces.singular_name = "namespace".to_owned();
            resources("v1", vec![namespaces, pods, exec])
        }
        Discovery::Authorization => {
            let reviews = resource("selfsubjectaccessreviews", "SelfSubjectAccessReview", false, &["create"]);
            resources("authorization.k8s.io/v1", vec![reviews])
        }
    }
}

fn authorization_group() -> APIGroup {
    let version =
        GroupVersionForDiscovery { group_version: format!("{AUTHORIZATION}/v1"), version: "v1".to_owned() };
    APIGroup {
        name: AUTHORIZATION.to_owned(),
        versions: vec![version.clone()],
        preferred_version: Some(version),
        server_address_by_client_cidrs: None,
    }
}

fn resources(group_version: &str, resources: Vec<APIResource>) -> Answer {
    json(StatusCode::OK, &APIResourceList { group_version: group_version.to_owned(), resources })
}

fn resource(name: &str, kind: &str, namespaced: bool, verbs: &[&str]) -> APIResource {
    APIResource {
        name: name.to_owned(),
        kind: kind.to_owned(),
        namespaced,
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..APIResource::default()
    }
}
