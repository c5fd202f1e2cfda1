//! The proxy for connections to the cluster, if any.
//!
//! kube takes it from the kubeconfig or from HTTPS_PROXY, and then matches NO_PROXY against the proxy's
//! own address in place of the cluster's. Here the decision is kubectl's.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kube::config::Kubeconfig;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// Kinds of proxies that kube supports.
const KINDS: [&str; 3] = ["http", "https", "socks5"];

/// Returns the proxy that a kubeconfig names for its current cluster.
pub(crate) fn named(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

/// Decides on the proxy. One named by the kubeconfig is used for every cluster; those of the environment
/// have exceptions.
///
/// # Errors
/// When the proxy is no address.
pub(crate) fn decide(
    named: Option<&str>,
    environment: &Matcher,
    cluster: &Uri,
) -> anyhow::Result<Option<Uri>> {
    // A `*` among the exceptions matches every name, and no address; a reserved name detects it.
    let for_anything = environment.intercept(&Uri::from_static("https://rdev.invalid"));
    let for_cluster = environment.intercept(cluster).filter(|_| for_anything.is_some());
    // ALL_PROXY may name a proxy of another kind, for other programs.
    let for_cluster =
        for_cluster.filter(|proxy| KINDS.contains(&proxy.uri().scheme_str().unwrap_or_default()));
    match (named, for_cluster) {
        (Some(named), _) => {
            let url = named.parse().with_context(|| format!("the kubeconfig's proxy-url {named:?}"))?;
            Ok(Some(url))
        }
        (None, Some(proxy)) => address(&proxy).map(Some),
        (None, None) => Ok(None),
    }
}

/// Returns the proxy's address with its user, as kube expects it.
fn address(proxy: &Intercept) -> anyhow::Result<Uri> {
    let Some(user) = proxy.basic_auth() else { return Ok(proxy.uri().clone()) };
    let user = user.to_str().ok().and_then(|user| STANDARD.decode(user.strip_prefix("Basic ")?).ok());
    let user = user.context("the user of HTTPS_PROXY cannot be read")?;
    let user = percent_encode(&user, NON_ALPHANUMERIC);
    let mut parts = proxy.uri().clone().into_parts();
    let authority = parts.authority.context("HTTPS_PROXY names no host")?;
    parts.authority = Some(format!("{user}@{authority}").parse().context("the user of HTTPS_PROXY")?);
    Uri::from_parts(parts).context("HTTPS_PROXY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_held_against_the_cluster() {
        let proxy = "http://10.1.2.3:3128";
        for (named, https, no, cluster, decided) in [
            (None, "", "", "https://192.0.2.1:6443", None),
            (None, proxy, "", "https://192.0.2.1:6443", Some("http://10.1.2.3:3128/")),
            (None, "10.1.2.3:3128", "", "https://192.0.2.1:6443", Some("http://10.1.2.3:3128/")),
            (None, proxy, "192.0.2.0/24", "https://192.0.2.1:6443", None),
            (None, proxy, ".corp.example", "https://kube.corp.example:6443", None),
            (None, proxy, "*", "https://192.0.2.1:6443", None),
            (None, "socks5://10.1.2.3:1080", "", "https://192.0.2.1:6443", Some("socks5://10.1.2.3:1080/")),
            (None, "socks4://10.1.2.3:1080", "", "https://192.0.2.1:6443", None),
            // The proxy's own address is no exception for the cluster.
            (None, proxy, "10.0.0.0/8", "https://192.0.2.1:6443", Some("http://10.1.2.3:3128/")),
            (
                None,
                "http://me:p%40ss@10.1.2.3:3128",
                "",
                "https://192.0.2.1",
                Some("http://me%3Ap%40ss@10.1.2.3:3128/"),
            ),
            (Some("http://127.0.0.1:8888"), proxy, "*", "https://192.0.2.1", Some("http://127.0.0.1:8888/")),
        ] {
            let environment = Matcher::builder().https(https).no(no).build();
            let found = decide(named, &environment, &cluster.parse().unwrap()).unwrap();
            let found = found.map(|found| found.to_string());
            assert_eq!(found.as_deref(), decided, "{named:?}, {https}, except {no:?}, {cluster}");
        }
        let error = decide(Some("http://[::1"), &Matcher::builder().build(), &Uri::from_static("https://c"));
        assert!(error.unwrap_err().to_string().contains("http://[::1"));
    }
}
