//! An agent as its clients address it: where it listens, and what lets them in.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request};
use http_body_util::Full;

use crate::{ClientError, Endpoint};

/// What a Unix socket is called: nobody looks at it.
const UNIX_HOST: &str = "hythe";

/// Where an agent listens, and the token for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) token: Option<Token>,
}

/// A secret that is never shown.
#[derive(Clone)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Target {
    /// Gives a request what every request to this agent has.
    pub(crate) fn address(&self, request: &mut Request<Full<Bytes>>) -> Result<(), ClientError> {
        let host = match &self.endpoint {
            Endpoint::Unix(_) => UNIX_HOST,
            Endpoint::Tcp(address) => address,
        };
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(host).map_err(http::Error::from)?);
        if let (Endpoint::Tcp(_), Some(Token(token))) = (&self.endpoint, &self.token) {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(http::Error::from)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(())
    }
}
