//! Why a handshake failed, in words that name the side at fault.

use std::io;

use rustls::{
    AlertDescription, CertificateError, CommonState, Error, InvalidMessage, PeerIncompatible,
};
use tokio_tungstenite::tungstenite::error::Error as WsError;

use crate::host::conn;

/// Why a WebSocket of another protocol is refused.
pub(super) const NO_SUBPROTOCOL: &str =
    "WebSocket: the client does not offer the subprotocol sip (RFC 7118 4)";

/// Version and cipher of a session, e.g. `TLSv1.3, TLS13_AES_256_GCM_SHA384`.
pub(super) fn session(session: &CommonState) -> String {
    let version = session.protocol_version().and_then(|it| it.as_str()).unwrap_or("TLS");
    let suite = session.negotiated_cipher_suite().and_then(|it| it.suite().as_str());
    format!("{version}, {}", suite.unwrap_or("unknown cipher"))
}

/// What went wrong with TLS.
pub(super) fn of_tls(fault: &io::Error) -> String {
    let of_tls = fault.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match of_tls {
        Some(fault) => format!("TLS: {}", words(fault)),
        None if fault.kind() == io::ErrorKind::UnexpectedEof => {
            "TLS: the peer closed the connection without saying so".to_owned()
        }
        None => conn::cause_of(fault),
    }
}

fn words(fault: &Error) -> String {
    match fault {
        Error::NoCertificatesPresented => {
            "the client shows no certificate, and client_ca asks for one".to_owned()
        }
        Error::InvalidCertificate(fault) => of_certificate(fault, "the peer's certificate"),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(what) => of_message(what),
        Error::PeerIncompatible(what) => of_incompatible(what),
        other => other.to_string(),
    }
}

/// What is wrong with a certificate or key of our own files.
pub(super) fn of_file(fault: &Error) -> String {
    match fault {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "no CA of the file under `ca` has signed it".to_owned(),
        Error::InvalidCertificate(fault) => of_certificate(fault, "it"),
        other => other.to_string(),
    }
}

fn of_certificate(fault: &CertificateError, whose: &str) -> String {
    match fault {
        // Another CA of the same name gives a bad signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("{whose} is signed by no CA that is trusted here")
        }
        CertificateError::Expired => format!("{whose} has expired"),
        CertificateError::ExpiredContext { time, not_after } => {
            let since = days(time.as_secs().saturating_sub(not_after.as_secs()));
            format!("{whose} has expired {since} ago")
        }
        CertificateError::NotValidYet => format!("{whose} is not valid yet"),
        CertificateError::NotValidYetContext { time, not_before } => {
            let left = days(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("{whose} becomes valid in {left} only: is the clock right?")
        }
        CertificateError::NotValidForName => format!("{whose} is for somebody else"),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "{whose} is for somebody else: wanted {}, it names {}",
            expected.to_str(),
            if presented.is_empty() { "nobody".to_owned() } else { presented.join(", ") }
        ),
        CertificateError::BadEncoding => format!("{whose} is no X.509 certificate"),
        CertificateError::Revoked => format!("{whose} was revoked"),
        CertificateError::UnhandledCriticalExtension => {
            format!("{whose} has a critical extension that is not known here")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{whose} is for another purpose (its extended key usage)")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!("{whose} is signed by an algorithm that is not known here")
        }
        other => format!("{whose} is of no use: {}", sentence(&format!("{other:?}"))),
    }
}

/// A span of time as people say it.
fn days(secs: u64) -> String {
    match (secs / 86_400, secs / 60) {
        (0, minutes) => format!("{minutes} min"),
        (1, _) => "a day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}

fn of_message(what: &InvalidMessage) -> String {
    match what {
        InvalidMessage::InvalidContentType => {
            "what came is no TLS; a client without TLS is to use the port of UDP and TCP".to_owned()
        }
        InvalidMessage::UnknownProtocolVersion => {
            "what came is no version of TLS that is known here".to_owned()
        }
        other => format!("what came is no TLS: {}", sentence(&format!("{other:?}"))),
    }
}

fn of_incompatible(what: &PeerIncompatible) -> String {
    let words = match what {
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "no version of TLS in common",
        PeerIncompatible::NoCipherSuitesInCommon => "no cipher in common",
        PeerIncompatible::NoKxGroupsInCommon => "no group for the key exchange in common",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "no signature scheme in common"
        }
        other => return format!("nothing in common: {}", sentence(&format!("{other:?}"))),
    };
    words.to_owned()
}

/// The words of a name such as `EcPointsExtensionRequired`.
fn sentence(name: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            out.push(' ');
        }
        out.push(letter.to_ascii_lowercase());
        before = letter;
    }
    out
}

fn of_alert(alert: AlertDescription) -> String {
    let what = match alert {
        AlertDescription::UnknownCA => "the peer does not trust the CA of our certificate",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the peer does not take our certificate"
        }
        AlertDescription::CertificateExpired => "the peer says that our certificate has expired",
        AlertDescription::CertificateRequired => "the peer asks for a certificate of ours",
        AlertDescription::ProtocolVersion => "the peer speaks no version of TLS that is allowed",
        _ => "the peer ends the handshake",
    };
    format!("{what} (alert: {})", sentence(&format!("{alert:?}")))
}

/// What went wrong with a WebSocket.
pub(super) fn of_web_socket(fault: &WsError) -> String {
    match fault {
        WsError::Io(fault) => of_tls(fault),
        WsError::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            match std::str::from_utf8(body) {
                Ok(text) if !text.is_empty() => text.chars().take(200).collect(),
                _ => format!("WebSocket: the server answers {}", response.status()),
            }
        }
        other => format!("WebSocket: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_sentences() {
        let at =
            |days: u64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(days * 86_400));
        let expired = CertificateError::ExpiredContext { time: at(12), not_after: at(2) };
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(2) };
        let other = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("p1.ims.example").expect("a name"),
            presented: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        for (fault, said) in [
            (expired, "the peer's certificate has expired 10 days ago"),
            (early, "the peer's certificate becomes valid in a day only: is the clock right?"),
            (
                other,
                "the peer's certificate is for somebody else: wanted p1.ims.example, it names \
                 localhost, 127.0.0.1",
            ),
            (CertificateError::UnknownRevocationStatus, "is of no use: unknown revocation status"),
        ] {
            let told = words(&Error::InvalidCertificate(fault));
            assert!(told.contains(said), "{told}");
        }
        let alert = words(&Error::AlertReceived(AlertDescription::UnknownCA));
        assert_eq!(alert, "the peer does not trust the CA of our certificate (alert: unknown ca)");
        let none = words(&Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon));
        assert_eq!(none, "no group for the key exchange in common");
        let text = words(&Error::InvalidMessage(InvalidMessage::MissingKeyExchange));
        assert_eq!(text, "what came is no TLS: missing key exchange");
    }
}
