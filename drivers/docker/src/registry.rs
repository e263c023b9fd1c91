//! Registries, where the driver or the engine needs to be known there: credentials, and what went wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::{HeaderMap, HeaderValue};
use hythe_oci::auth::{Credential, Files, server_address};
use hythe_runtime::{Error, ErrorKind, Result};
use hythe_spec::ImageRef;
use serde_json::json;

/// Where other tools keep credentials.
pub(crate) fn auth_files() -> Files {
    Files::from_env(&|name| std::env::var(name).ok())
}

/// An error of the registry client, in the words of the seam.
pub(crate) fn of_registry(operation: &'static str, error: hythe_oci::Error) -> Error {
    let translated = Error::new(error.kind().into(), operation, error.to_string()).temporary(error.is_temporary());
    match error.next_step() {
        Some(hint) => translated.hint(hint),
        None => translated,
    }
}

/// What the API calls an auth configuration.
pub(crate) async fn auth_document(operation: &'static str, image: &ImageRef) -> Result<Option<serde_json::Value>> {
    let server = server_address(image);
    let found = auth_files().find(image).await.map_err(|error| of_registry(operation, error))?;
    Ok(found.map(|credential| match credential {
        Credential::Password { username, password } => {
            json!({ "username": username, "password": password, "serveraddress": server })
        }
        Credential::Token(token) => json!({ "identitytoken": token, "serveraddress": server }),
    }))
}

/// The header that carries credentials; a push needs one even without any.
pub(crate) async fn registry_auth(operation: &'static str, image: &ImageRef) -> Result<HeaderMap> {
    let document = auth_document(operation, image).await?.unwrap_or_else(|| json!({}));
    secret_header(operation, "x-registry-auth", &document)
}

/// A document in a header, kept out of logs.
pub(crate) fn secret_header(
    operation: &'static str,
    name: &'static str,
    document: &serde_json::Value,
) -> Result<HeaderMap> {
    let unusable =
        |error| Error::new(ErrorKind::Invalid, operation, "the credentials do not fit a header").source(error);
    let mut value = HeaderValue::try_from(URL_SAFE.encode(document.to_string())).map_err(unusable)?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    Ok(headers)
}
