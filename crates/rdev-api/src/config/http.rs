//! Limits and trust at the HTTP boundary.

use axum::http::{HeaderValue, Uri};
use clap::Args;
use ipnet::IpNet;

use super::parse::whole;

/// Limits and trust at the HTTP boundary.
#[derive(Debug, Clone, Args)]
pub struct HttpConfig {
    /// Requests a minute and key; a tenth of it may come at once
    #[arg(long, env = "RDEV_RATE_LIMIT_PER_MINUTE", default_value = "600", value_parser = whole::<u32>(1, 100_000_000))]
    pub rate_limit_per_minute: u32,

    /// Event streams that one key may have open at this process; without it three quarters of all connections
    #[arg(long, env = "RDEV_STREAMS_PER_KEY", value_parser = whole::<u32>(1, 1_000_000))]
    pub streams_per_key: Option<u32>,

    /// Proxies whose X-Forwarded-For counts, as CIDRs with commas between
    #[arg(long, env = "RDEV_TRUSTED_PROXIES", value_delimiter = ',', value_parser = cidr, value_name = "CIDR")]
    pub trusted_proxies: Vec<IpNet>,

    /// Origins whose pages may call from a browser, such as `https://app.example.org`, with commas between; without it
    /// browsers keep pages of other origins out
    #[arg(long, env = "RDEV_CORS_ORIGINS", value_delimiter = ',', value_parser = origin, value_name = "ORIGIN")]
    pub cors_origins: Vec<HeaderValue>,
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "accepted is a network such as 10.0.0.0/8".to_owned())
}

/// Accepts an origin as browsers write it, with which it is compared byte for byte: lower case, without a path, and
/// without the scheme's own port.
fn origin(text: &str) -> Result<HeaderValue, String> {
    const ACCEPTED: &str = "accepted is an origin as browsers send it, such as https://app.example.org: http or https, \
                            lower case, a port only where it is not the usual one, no path";
    let text = text.trim();
    let uri: Uri = text.parse().map_err(|_| ACCEPTED.to_owned())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(ACCEPTED.to_owned());
    };
    let port = authority.port_u16();
    let is_usual = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
    let is_canonical = text == format!("{scheme}://{authority}") && text == text.to_ascii_lowercase();
    if !matches!(scheme, "http" | "https") || is_usual || !is_canonical || authority.as_str().contains('@') {
        return Err(ACCEPTED.to_owned());
    }
    HeaderValue::from_str(text).map_err(|_| ACCEPTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for sound in ["https://app.example.org", "http://localhost:3000", "http://[::1]:8080"] {
            assert_eq!(origin(sound).unwrap(), sound);
        }
        for wrong in [
            "*",
            "null",
            "app.example.org",
            "ftp://app.example.org",
            "https://app.example.org/",
            "https://app.example.org/x",
            "https://App.example.org",
            "https://app.example.org:443",
            "https://user@app.example.org",
            "https://",
            "",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
