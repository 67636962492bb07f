//! Why a handshake failed, in words that name the side at fault.

use std::io;

use rustls::{AlertDescription, CertificateError, CommonState, Error};
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
        Error::InvalidCertificate(fault) => match fault {
            // Another CA of the same name gives a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the peer's certificate is signed by no CA that is trusted here".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the peer's certificate has expired ({fault})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the peer's certificate is not valid yet ({fault})")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the peer's certificate is for somebody else ({fault})")
            }
            other => format!("the peer's certificate is of no use: {other}"),
        },
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(what) => format!("what came is no TLS ({what:?})"),
        Error::PeerIncompatible(what) => format!("no version or cipher in common ({what:?})"),
        other => other.to_string(),
    }
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
    format!("{what} (alert {alert:?})")
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
