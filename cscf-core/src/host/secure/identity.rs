//! Who a certificate is for (RFC 5922 §7): a server's must name the domain or host that the client
//! wanted, by a `sip` URI if it has any, else by its DNS names and addresses.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

/// Checks the certificates of SIP servers.
#[derive(Debug)]
pub(super) struct SipServers {
    pub(super) roots: RootCertStore,
    pub(super) provider: Arc<CryptoProvider>,
}

impl SipServers {
    /// Whether a certificate is one of ours to trust, at this time.
    pub(super) fn trusts(
        &self,
        cert: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(cert)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)
    }
}

impl ServerCertVerifier for SipServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.trusts(end_entity, intermediates, now)?;
        is_for(end_entity, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate is for this server (RFC 5922 §7.1): a `sip` URI says so alone, and where
/// there are such URIs nothing else counts.
fn is_for(cert: &CertificateDer<'_>, server: &ServerName<'_>) -> Result<(), Error> {
    let domains = domains(cert);
    if domains.is_empty() {
        return verify_server_name(&ParsedCertificate::try_from(cert)?, server);
    }
    let wanted = server.to_str();
    if domains.iter().any(|domain| domain.eq_ignore_ascii_case(&wanted)) {
        return Ok(());
    }
    let presented = domains.iter().map(|domain| format!("sip:{domain}")).collect();
    let expected = server.to_owned();
    Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }))
}

/// The SIP domains a certificate names: its `sip` URIs without a user (RFC 5922 §7.1).
fn domains(cert: &CertificateDer<'_>) -> Vec<String> {
    let Ok(cert) = EndEntityCert::try_from(cert) else { return Vec::new() };
    let of_sip = |uri: &str| {
        let (scheme, domain) = uri.split_once(':')?;
        let is_domain = scheme.eq_ignore_ascii_case("sip") && !domain.contains('@');
        is_domain.then(|| domain.to_owned())
    };
    cert.valid_uri_names().filter_map(of_sip).collect()
}

/// The names in a certificate, for the trace.
pub(super) fn names(cert: &CertificateDer<'_>) -> String {
    let mut names: Vec<String> =
        domains(cert).into_iter().map(|domain| format!("sip:{domain}")).collect();
    if let Ok(cert) = EndEntityCert::try_from(cert) {
        names.extend(cert.valid_dns_names().map(str::to_owned));
    }
    if names.is_empty() { "without names".to_owned() } else { names.join(" ") }
}
