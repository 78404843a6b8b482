//! The user who sent a command: what logs and modules need to know of it.
//!
//! The service catalog has the form of Keystone's API 2, whatever the cloud speaks (`X-Service-Catalog`); that
//! of API 3 is accepted as well. It is an empty list if the control plane has a URL for each service.

use std::fmt;

use serde_json::{Map, Value};

use crate::{context::Context, secret::Secret};

/// The sender of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Whether the user is an administrator of Trove.
    pub is_admin: bool,
    /// The user's project.
    pub project_id: Option<String>,
    /// The user's token. Operators of the machine have none.
    pub token: Option<Secret>,
    /// The service catalog.
    pub endpoints: Vec<Endpoint>,
}

/// One URL of the service catalog.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The type of the service, such as `object-store`.
    pub service_type: String,
    /// `publicURL`, `internalURL` or `adminURL`.
    pub endpoint_type: String,
    /// The region.
    pub region: Option<String>,
    /// The URL, with the id of the user's project.
    pub url: String,
}

impl Caller {
    /// The sender of the command with this context.
    pub fn of(context: &Context) -> Self {
        let entries = context.entries();
        let catalog = entries.get("service_catalog").and_then(Value::as_array).into_iter().flatten();
        Self {
            is_admin: entries.get("is_admin").and_then(Value::as_bool).unwrap_or_default(),
            project_id: context.project_id().map(str::to_owned),
            token: text(entries, "auth_token").map(Secret::new),
            endpoints: catalog.filter_map(Value::as_object).flat_map(endpoints).collect(),
        }
    }
}

fn endpoints(service: &Map<String, Value>) -> Vec<Endpoint> {
    let Some(service_type) = text(service, "type") else { return Vec::new() };
    let all = service.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let one = |entry: &Map<String, Value>| {
        let region = text(entry, "region").or_else(|| text(entry, "region_id"));
        let endpoint = |endpoint_type: String, url: &str| Endpoint {
            service_type: service_type.to_owned(),
            endpoint_type,
            region: region.map(str::to_owned),
            url: url.to_owned(),
        };
        let of_three = text(entry, "interface")
            .zip(text(entry, "url"))
            .map(|(interface, url)| endpoint(format!("{interface}URL"), url));
        let of_two = ["publicURL", "internalURL", "adminURL"]
            .into_iter()
            .filter_map(|name| Some(endpoint(name.to_owned(), text(entry, name)?)));
        of_two.chain(of_three).collect::<Vec<_>>()
    };
    all.filter_map(Value::as_object).flat_map(one).collect()
}

fn text<'a>(entries: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    entries.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// Without the URL: a broker that forges requests could write anything into it.
impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("region", &self.region).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

    use serde_json::json;

    use super::*;

    fn caller(context: Value) -> Caller {
        Caller::of(&Context::new(serde_json::from_value(context).unwrap()))
    }

    fn urls(catalog: Value) -> Vec<(String, String, Option<String>)> {
        let endpoints = caller(json!({ "service_catalog": catalog })).endpoints;
        endpoints.into_iter().map(|one| (one.endpoint_type, one.url, one.region)).collect()
    }

    #[test]
    fn the_token_is_a_secret_and_the_project_has_three_names() {
        let user = caller(json!({"is_admin": true, "auth_token": "gAAAA", "tenant": "p"}));
        assert!(user.is_admin);
        assert_eq!((user.token.clone(), user.project_id.as_deref()), (Some(Secret::new("gAAAA")), Some("p")));
        assert!(!format!("{user:?}").contains("gAAAA"));
        assert_eq!(caller(json!({})), Caller::default());
        assert_eq!(
            caller(json!({"is_admin": "yes", "auth_token": "", "service_catalog": "x"})),
            Caller::default()
        );
    }

    #[test]
    fn both_forms_of_the_catalog_are_read_and_nonsense_is_passed_over() {
        let two = json!([{"type": "object-store", "name": "swift", "endpoints": [
            {"region": "R1", "publicURL": "http://p/v1/AUTH_x", "adminURL": "http://a/v1"},
        ]}]);
        let region = || Some("R1".to_owned());
        let expected = [
            ("publicURL".to_owned(), "http://p/v1/AUTH_x".to_owned(), region()),
            ("adminURL".to_owned(), "http://a/v1".to_owned(), region()),
        ];
        assert_eq!(urls(two), expected);
        let three = json!([{"type": "object-store", "endpoints": [
            {"region_id": "R1", "interface": "public", "url": "http://p/v1/AUTH_x"},
        ]}]);
        assert_eq!(urls(three), expected[..1]);
        for nonsense in [
            json!(null),
            json!({}),
            json!([1, {}, {"type": 1}, {"type": "x", "endpoints": [[], {"publicURL": 5}]}]),
        ] {
            assert!(urls(nonsense).is_empty());
        }
    }
}
