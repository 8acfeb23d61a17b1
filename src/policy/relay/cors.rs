//! The CORS protocol (Fetch s3.3) on a route's behalf: preflights are answered without the upstream, and of the answers'
//! CORS headers only the gateway's own are left.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::deny::Deny;
use crate::policy::Denial;
use crate::policy::origin::Origins;
use crate::policy::route::Route;

/// What a route lets pages of other origins do.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Methods.
    pub methods: Vec<Method>,
    /// Headers of requests.
    pub headers: Vec<HeaderName>,
    /// Whether cookies come along.
    pub credentials: bool,
    /// The two lists, a third of what may be read, and seconds for which that may be remembered, as they are said.
    pub said: Said,
}

/// The lists as values of headers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the headers say it")]
pub struct Said {
    pub allow_methods: HeaderValue,
    pub allow_headers: HeaderValue,
    pub expose_headers: Option<HeaderValue>,
    pub max_age: HeaderValue,
}

/// Whether a request only asks what may be sent (Fetch s4.8).
#[must_use]
pub fn is_preflight(parts: &Parts) -> bool {
    let has = |name: HeaderName| parts.headers.contains_key(name);
    parts.method == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    /// Whether a page may send what its browser asks for.
    ///
    /// # Errors
    /// `origin_forbidden` or `preflight_refused`.
    pub fn check_preflight(&self, route: &Route, asked: &HeaderMap) -> Result<(), Denial> {
        let origin = asked.get(header::ORIGIN).map(HeaderValue::as_bytes);
        let allowed = route.origins.as_ref().map_or(Err(Deny::OriginForbidden), |origins| origins.check(origin));
        allowed.map_err(|deny| Denial::new(deny, "not on the route's list"))?;
        let refused = |why| Err(Denial::new(Deny::PreflightRefused, why));
        let mut methods = asked.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).iter();
        let (Some(method), None) = (methods.next(), methods.next()) else { return refused("two methods") };
        if !self.methods.iter().any(|known| known.as_str().as_bytes() == method.as_bytes()) {
            return refused("a method that is not in allow_methods");
        }
        let lists = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let mut names = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let is_known =
            |name: &[u8]| self.headers.iter().any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name));
        if names.all(|name| name.is_empty() || is_known(name)) {
            Ok(())
        } else {
            refused("a header that is not in allow_headers")
        }
    }

    /// What a page is told that asked and may.
    #[must_use]
    pub fn preflight(&self, route: &Route, asked: &HeaderMap) -> (StatusCode, HeaderMap) {
        let mut headers = HeaderMap::new();
        self.name(route, asked, &mut headers);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.said.allow_methods.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.said.allow_headers.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.said.max_age.clone());
        (StatusCode::NO_CONTENT, headers)
    }

    /// Puts the gateway's words into an answer in place of the upstream's. A page that is not on the list is told nothing.
    pub fn answer(&self, route: &Route, asked: &HeaderMap, headers: &mut HeaderMap) {
        const NAMES: [HeaderName; 6] = [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ];
        for name in NAMES {
            headers.remove(name);
        }
        self.name(route, asked, headers);
        if let Some(names) =
            self.said.expose_headers.clone().filter(|_| headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN))
        {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }

    /// Names the page, if the route lets it in; either way the answer is for no other page.
    fn name(&self, route: &Route, asked: &HeaderMap, headers: &mut HeaderMap) {
        let Some(origins) = &route.origins else { return };
        if matches!(origins, Origins::Any) {
            // Never with credentials: so it compiled.
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = asked.get(header::ORIGIN).filter(|origin| route.names_origin(origin)) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}
