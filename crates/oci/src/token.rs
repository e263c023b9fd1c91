//! From a registry's challenge to an `Authorization` header: Basic, or a Bearer token from the server it names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::Error;
use crate::auth::Credential;
use crate::exchange::Exchange;

/// What to send with a request.
#[derive(Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// Whether the user's credentials stand behind it (a token may be an anonymous one).
    pub(crate) with_credentials: bool,
}

/// The challenges that registries make.
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The strongest challenge of an answer that we can meet.
    fn among(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered: Vec<_> = values.flat_map(|value| ChallengeParser::new(value).map_while(Result::ok)).collect();
        let offers = |scheme: &str| offered.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let bearer = offers("bearer").and_then(|challenge| {
            let realm = parameter(challenge, "realm")?;
            Some(Self::Bearer { realm, service: parameter(challenge, "service") })
        });
        bearer.or_else(|| offers("basic").map(|_| Self::Basic))
    }
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Exchange<'_> {
    /// The answer to a challenge; `None` where there is nothing to answer with. Only the registry itself may challenge: whoever it sends
    /// a request on to would otherwise choose where the credentials of the registry go.
    pub(crate) async fn authorize(&self, answer: &Response) -> Result<Option<Authorization>, Error> {
        if !self.is_own(answer.url()) {
            return Ok(None);
        }
        let Some(challenge) = Challenge::among(answer.headers()) else {
            return Ok(None);
        };
        let credential = self.registry.auth().find(self.image).await?;
        let header = match (challenge, &credential) {
            (Challenge::Basic, Some(Credential::Password { username, password })) => self.basic(username, password)?,
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service }, _) => {
                self.bearer(&realm, service.as_deref(), credential.as_ref()).await?
            }
        };
        Ok(Some(Authorization { header, with_credentials: credential.is_some() }))
    }

    async fn bearer(
        &self,
        realm: &str,
        service: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<HeaderValue, Error> {
        let answer = self.ask_for_token(realm, service, credential).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            // It is the token server that is absent, which says nothing about the image.
            return Err(self.invalid(&format!("its token server `{realm}` is not found")));
        }
        if !answer.status().is_success() {
            return Err(self.refused(answer, credential.is_some()).await);
        }
        let token = serde_json::from_slice::<Token>(&self.body(answer).await?).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        let token = token.ok_or_else(|| self.invalid(&format!("`{realm}` gave no token")))?;
        self.secret(&format!("Bearer {token}"))
    }

    async fn ask_for_token(
        &self,
        realm: &str,
        service: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<Response, Error> {
        let mut url =
            Url::parse(realm).map_err(|error| self.invalid(&format!("`{realm}` is not an address: {error}")))?;
        if !matches!(url.scheme(), "https" | "http") || (self.base.starts_with("https:") && url.scheme() != "https") {
            return Err(self.invalid(&format!("it wants credentials sent unencrypted to `{realm}`")));
        }
        let scope = format!("repository:{}:{}", self.image.path, self.actions);
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(service.map(|service| ("service", service)));
        let Some(Credential::Token(refresh)) = credential else {
            url.query_pairs_mut().extend_pairs(fields);
            let basic = match credential {
                Some(Credential::Password { username, password }) => Some(self.basic(username, password)?),
                _ => None,
            };
            return self
                .send(Method::GET, url.as_str(), |request| match &basic {
                    Some(basic) => request.header(AUTHORIZATION, basic.clone()),
                    None => request,
                })
                .await;
        };
        fields.extend([("grant_type", "refresh_token"), ("client_id", "hythe"), ("refresh_token", refresh)]);
        // A form is written like a query, and the URL type writes queries.
        let mut form = url.clone();
        form.query_pairs_mut().clear().extend_pairs(fields);
        let form = form.query().unwrap_or_default().to_owned();
        let form_type = "application/x-www-form-urlencoded";
        self.send(Method::POST, url.as_str(), |request| request.header(CONTENT_TYPE, form_type).body(form.clone()))
            .await
    }

    fn basic(&self, username: &str, password: &str) -> Result<HeaderValue, Error> {
        self.secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    }

    fn secret(&self, text: &str) -> Result<HeaderValue, Error> {
        let mut value =
            HeaderValue::from_str(text).map_err(|_| self.invalid("the token has characters no header can hold"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
