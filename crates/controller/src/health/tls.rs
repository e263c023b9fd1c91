//! TLS to a workload: its certificate is verified against the authorities that the host trusts, or not at all.

use std::sync::Arc;

use hythe_spec::Tls;
use hythe_spec::causes::with_causes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::reason::Reason;

/// Makes connections of one kind.
#[derive(Clone)]
pub(super) struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

pub(super) fn connector(how: Tls) -> Result<Connector, Reason> {
    trusting(how, Vec::new())
}

/// With these authorities beside the host's.
pub(super) fn trusting(how: Tls, authorities: Vec<CertificateDer<'static>>) -> Result<Connector, Reason> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |error: rustls::Error| Reason::NoTls(with_causes(&error));
    let verifier: Arc<dyn ServerCertVerifier> = match how {
        Tls::Verified => Arc::new(Verifier::new_with_extra_roots(authorities, provider.clone()).map_err(unusable)?),
        Tls::Insecure => Arc::new(Anybody(provider.clone())),
    };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        versions.map_err(unusable)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Connector(TlsConnector::from(Arc::new(config))))
}

pub(super) async fn connect(
    connector: &Connector,
    name: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Reason> {
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Reason::NoTls(error.to_string()))?;
    connector.0.connect(name, stream).await.map_err(|error| Reason::NoTls(with_causes(&error)))
}

/// Takes every certificate, as the component says; that its owner has the key is still verified.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
