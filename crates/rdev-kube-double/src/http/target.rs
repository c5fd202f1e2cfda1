//! Path and query of a request.

use hyper::Method;

/// A known path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Health,
    Version,
    Discovery(Discovery),
    Review,
    Namespace(String),
    Pods { namespace: Option<String> },
    Pod { namespace: String, name: String },
    Exec { namespace: String, name: String },
    Unknown,
}

/// Paths of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovery {
    Api,
    Apis,
    Core,
    AuthorizationGroup,
    Authorization,
}

impl Target {
    pub(crate) fn parse(path: &str) -> Self {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["healthz" | "readyz" | "livez", ..] => Self::Health,
            ["version"] => Self::Version,
            ["api"] => Self::Discovery(Discovery::Api),
            ["apis"] => Self::Discovery(Discovery::Apis),
            ["api", "v1"] => Self::Discovery(Discovery::Core),
            ["apis", "authorization.k8s.io"] => Self::Discovery(Discovery::AuthorizationGroup),
            ["apis", "authorization.k8s.io", "v1"] => Self::Discovery(Discovery::Authorization),
            ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => Self::Review,
            ["api", "v1", "pods"] => Self::Pods { namespace: None },
            ["api", "v1", "namespaces", namespace, rest @ ..] => {
                let namespace = (*namespace).to_owned();
                match rest {
                    [] => Self::Namespace(namespace),
                    ["pods"] => Self::Pods { namespace: Some(namespace) },
                    ["pods", name] => Self::Pod { namespace, name: (*name).to_owned() },
                    ["pods", name, "exec"] => Self::Exec { namespace, name: (*name).to_owned() },
                    _ => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }

    /// Returns the resource of the path, if it has one.
    pub(crate) fn resource(&self) -> Option<&'static str> {
        match self {
            Self::Review => Some("selfsubjectaccessreviews"),
            Self::Namespace(_) => Some("namespaces"),
            Self::Pods { .. } | Self::Pod { .. } => Some("pods"),
            Self::Exec { .. } => Some("pods/exec"),
            Self::Health | Self::Version | Self::Discovery(_) | Self::Unknown => None,
        }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Pods { namespace } => namespace.as_deref(),
            Self::Namespace(namespace) | Self::Pod { namespace, .. } | Self::Exec { namespace, .. } => {
                Some(namespace)
            }
            Self::Health | Self::Version | Self::Discovery(_) | Self::Review | Self::Unknown => None,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Namespace(name) | Self::Pod { name, .. } | Self::Exec { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Returns the verb, as roles name it.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> String {
        let many = matches!(self, Self::Pods { .. });
        let verb = match *method {
            Method::GET if many && query.flag("watch") => "watch",
            Method::GET if many => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if many => "deletecollection",
            Method::DELETE => "delete",
            _ => return method.as_str().to_ascii_lowercase(),
        };
        if self.resource().is_none() { method.as_str().to_ascii_lowercase() } else { verb.to_owned() }
    }
}

/// Query of a request, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        Self(form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "True" | "TRUE"))
    }
}
