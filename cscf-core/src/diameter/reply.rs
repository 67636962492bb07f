//! What is needed to answer a request: what comes back of it, and why it is refused
//! (RFC 6733 §6.2, §7).

use crate::diameter::codec::{Avp, Fault, Header, Message};
use crate::diameter::dictionary as avp;

/// What must be kept of a request to answer it.
#[derive(Clone, Debug)]
pub(super) struct RequestHead {
    pub(super) header: Header,
    /// Session-Id, which comes first.
    pub(super) session: Option<Avp>,
    /// Every Proxy-Info, in order, which come last.
    pub(super) proxies: Vec<Avp>,
}

impl RequestHead {
    /// A request of which only the header can be read.
    pub(super) const fn unreadable(header: Header) -> Self {
        Self { header, session: None, proxies: Vec::new() }
    }

    pub(super) fn of(request: &Message) -> Self {
        Self {
            header: request.header,
            session: request.find(&avp::SESSION_ID).cloned(),
            proxies: request.all(&avp::PROXY_INFO).cloned().collect(),
        }
    }
}

/// Why a request is refused below the application.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Result-Code.
    pub(super) code: u32,
    /// Error-Message.
    pub(super) text: String,
    /// What goes into Failed-AVP.
    pub(super) failed: Option<Avp>,
}

impl Refusal {
    pub(super) const fn new(code: u32, text: String) -> Self {
        Self { code, text, failed: None }
    }
}

impl From<&Fault> for Refusal {
    fn from(fault: &Fault) -> Self {
        let failed = fault.avp.as_deref().cloned();
        Self { code: fault.result_code(), text: fault.to_string(), failed }
    }
}
