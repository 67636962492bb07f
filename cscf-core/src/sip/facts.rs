//! What can be said of a message in a few facts: for `cscf parse` and for the corpus tests. Made
//! with the parser and the checks every node uses.

use bytes::Bytes;

use super::message::Message;
use super::name::HeaderName;
use super::validate::{Rejected, read};

/// The facts of a message that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `request` or `response`.
    pub kind: &'static str,
    /// The method of a request.
    pub method: Option<String>,
    /// The status of a response.
    pub status: Option<u16>,
    /// The Request-URI of a request, as written.
    pub request_uri: Option<String>,
    /// Header lines; a folded line counts once.
    pub header_lines: usize,
    /// Via values.
    pub via_count: usize,
    /// The branch of the topmost Via.
    pub top_branch: Option<String>,
    /// The Call-ID.
    pub call_id: Option<String>,
    /// The number of CSeq.
    pub cseq: Option<u32>,
    /// The tag of From.
    pub from_tag: Option<String>,
    /// The tag of To.
    pub to_tag: Option<String>,
    /// Contact values; `*` is one.
    pub contact_count: usize,
    /// Route values.
    pub route_count: usize,
    /// The length of the body, without what follows Content-Length.
    pub body_bytes: usize,
}

/// The verdict on one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseFacts {
    /// Taken.
    Accept(Box<Facts>),
    /// Refused.
    Reject {
        /// What is wrong; the reason phrase if it is answered.
        reason: String,
        /// The offset of the fault, if it is at some place.
        offset: Option<usize>,
        /// The status of the answer, if there is one.
        status: Option<u16>,
    },
}

/// Reads one datagram as a node does and says what it found.
#[must_use]
pub fn facts(bytes: &Bytes) -> ParseFacts {
    match read(bytes) {
        Ok(message) => ParseFacts::Accept(Box::new(Facts::of(&message))),
        Err(Rejected::Answerable { status, reason, offset, .. }) => {
            ParseFacts::Reject { reason: reason.into_owned(), offset, status: Some(status) }
        }
        Err(Rejected::Unanswerable(fault)) => ParseFacts::Reject {
            reason: fault.reason.into_owned(),
            offset: Some(fault.offset),
            status: None,
        },
    }
}

impl Facts {
    /// The facts of a message that was read.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let (kind, method, status, request_uri) = match message {
            Message::Request(it) => {
                ("request", Some(it.method.to_string()), None, Some(it.request_uri.to_string()))
            }
            Message::Response(it) => ("response", None, Some(it.status), None),
        };
        let headers = message.headers();
        Self {
            kind,
            method,
            status,
            request_uri,
            header_lines: headers.len(),
            via_count: headers.values(HeaderName::Via).count(),
            top_branch: headers.top_branch().map(str::to_owned),
            call_id: headers.call_id().map(str::to_owned),
            cseq: headers.cseq().ok().map(|cseq| cseq.number),
            from_tag: headers.from_tag().map(str::to_owned),
            to_tag: headers.to_tag().map(str::to_owned),
            contact_count: headers.values(HeaderName::Contact).count(),
            route_count: headers.values(HeaderName::Route).count(),
            body_bytes: message.body().len(),
        }
    }
}
