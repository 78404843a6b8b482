//! One request, before it is sent.

use reqwest::{Body, Method};

use crate::{http::login::Login, path::resource::Resource};

/// What is asked, by whom, and with which body of JSON.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) login: Option<&'a Login>,
    pub(crate) method: Method,
    pub(crate) resource: &'a Resource<'a>,
    pub(crate) body: Option<Body>,
}
