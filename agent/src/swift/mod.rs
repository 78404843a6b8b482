//! The object store of the cloud, as the project of the user who sent a command.
//!
//! Trove passes the user's token on. The agent has no account of its own, so it can reach the object store only
//! during such a command. The URL is that of the configuration, or that of the service catalog in the request
//! (`trove/common/clients.py`, `swift_client`, the same from 12.0.0 to 26.0.0).
//!
//! The token goes to this URL only: redirects are not followed, and no proxy is used.

mod account;
mod error;

use std::time::Duration;

use reqwest::{header::HeaderValue, redirect};
use tokio::time::Instant;
use trove_couchdb_config::SwiftSettings;
use trove_couchdb_protocol::trove::{Caller, Endpoint};
use url::Url;

use crate::system::tls;
pub use account::{Account, Header, Place};
pub use error::SwiftError;

/// To open a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// The object store that the configuration names.
#[derive(Debug, Clone)]
pub struct Swift(SwiftSettings);

impl Swift {
    /// Sends no request.
    pub fn new(settings: &SwiftSettings) -> Self {
        Self(settings.clone())
    }

    /// The account of a user's project, for requests until `deadline`.
    ///
    /// # Errors
    /// The user's request has no token, or nothing says where the object store is.
    pub async fn account(&self, caller: &Caller, deadline: Instant) -> Result<Account, SwiftError> {
        let token = caller.token.as_ref().ok_or(SwiftError::NoToken)?;
        let mut token = HeaderValue::from_str(token.expose()).map_err(|_| SwiftError::NoToken)?;
        token.set_sensitive(true);
        let url = self.url(caller)?;
        let config = match url.scheme() {
            "https" => tls::client_config(&self.0.tls).await,
            _ => tls::nobody_trusted(),
        };
        let tls =
            |problem: String| SwiftError::Insecure { origin: url.origin().ascii_serialization(), problem };
        let config = config.map_err(|error| tls(error.to_string()))?;
        // A client for each command: a renewed file of authorities takes effect at once.
        let http = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tls_backend_preconfigured(config)
            .build()
            .map_err(|error| tls(error::innermost(&error)))?;
        Ok(Account { http, url, token, limit: self.0.timeout, deadline, tls: self.0.tls.clone() })
    }

    fn url(&self, caller: &Caller) -> Result<Url, SwiftError> {
        let text = match &self.0.url {
            Some(url) => {
                let project = caller.project_id.as_deref().filter(|id| is_plain(id));
                format!("{url}{}", project.ok_or(SwiftError::NoProject)?)
            }
            None => self.of_catalog(caller)?.to_owned(),
        };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut url = url.filter(Url::has_host).ok_or(SwiftError::NoUrl)?;
        url.set_query(None);
        url.set_fragment(None);
        Ok(url)
    }

    fn of_catalog<'a>(&self, caller: &'a Caller) -> Result<&'a str, SwiftError> {
        let SwiftSettings { service_type, endpoint_type, region, .. } = &self.0;
        let fits = |one: &&Endpoint| {
            one.service_type == *service_type
                && one.endpoint_type == *endpoint_type
                && (region.is_none() || one.region == *region)
        };
        let found = caller.endpoints.iter().find(fits).map(|one| one.url.as_str());
        found.ok_or_else(|| SwiftError::NoEndpoint {
            service_type: service_type.clone(),
            endpoint_type: endpoint_type.clone(),
            region: region.clone(),
        })
    }
}

/// Whether an id can be appended to a URL. Ids of Keystone are hexadecimal.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(url: Option<&str>, region: Option<&str>) -> Swift {
        Swift(SwiftSettings {
            url: url.map(str::to_owned),
            service_type: "object-store".to_owned(),
            endpoint_type: "publicURL".to_owned(),
            region: region.map(str::to_owned),
            timeout: Duration::from_secs(1),
            tls: tls::Files::default(),
        })
    }

    fn user(project: &str, urls: &[(&str, &str)]) -> Caller {
        let endpoint = |(region, url): &(&str, &str)| Endpoint {
            service_type: "object-store".to_owned(),
            endpoint_type: "publicURL".to_owned(),
            region: Some((*region).to_owned()),
            url: (*url).to_owned(),
        };
        let endpoints = urls.iter().map(endpoint).collect();
        Caller { project_id: Some(project.to_owned()), endpoints, ..Caller::default() }
    }

    #[test]
    fn the_configured_url_comes_before_the_catalog() {
        let catalog = [("R1", "http://one/v1/AUTH_p"), ("R2", "https://two/v1/AUTH_p")];
        let url = |swift: Swift, user: &Caller| swift.url(user).map(|url| url.to_string());
        let p = user("p", &catalog);
        assert_eq!(url(settings(Some("http://c/v1/AUTH_"), None), &p).unwrap(), "http://c/v1/AUTH_p");
        assert_eq!(url(settings(None, None), &p).unwrap(), "http://one/v1/AUTH_p");
        assert_eq!(url(settings(None, Some("R2")), &p).unwrap(), "https://two/v1/AUTH_p");
        assert!(matches!(url(settings(None, Some("R3")), &p), Err(SwiftError::NoEndpoint { .. })));
        for project in ["", "../x", "p/q", "p?x", "p#x"] {
            let told = url(settings(Some("http://c/v1/AUTH_"), None), &user(project, &[]));
            assert_eq!(told, Err(SwiftError::NoProject), "{project}");
        }
    }

    #[test]
    fn a_url_of_another_kind_is_refused() {
        for url in ["file:///etc/passwd", "ftp://h/", "", "http://", "unix:/run/x", "//h/x"] {
            let told = settings(None, None).url(&user("p", &[("R", url)]));
            assert_eq!(told, Err(SwiftError::NoUrl), "{url}");
        }
    }
}
