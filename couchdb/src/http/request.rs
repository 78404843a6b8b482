//! A request to be sent.

use reqwest::{Body, Method};

use crate::{http::login::Login, path::resource::Resource};

/// The resource, the login and the JSON body of a request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) login: Option<&'a Login>,
    pub(crate) method: Method,
    pub(crate) resource: &'a Resource<'a>,
    pub(crate) body: Option<Body>,
}
