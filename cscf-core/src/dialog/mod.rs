//! Dialogs (RFC 3261 §12): identity, early and confirmed state, route set, remote target, sequence
//! numbers, and requests inside a dialog. What happens in a dialog (sessions, subscriptions) is the
//! user agent's, in [`crate::ua`].

mod between;
pub mod field;
mod route_set;
mod session_timer;
mod texts;

pub use between::Between;
pub use route_set::{ROUTES_MAX, RouteSet};
pub use session_timer::{IntervalTooSmall, MIN_SE, Refresher, SessionTimer, TimerPolicy, due};
pub use texts::Texts;

use crate::sip::{Contacts, HeaderName, Headers, Method, Request, Response};

/// What names a dialog at one of its ends (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: String,
    /// Our own tag.
    pub local_tag: String,
    /// The peer's tag; empty for a peer of RFC 2543 that gives none.
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog that a request received claims to be in: To holds our tag (RFC 3261 §12.2.2).
    #[must_use]
    pub fn of_request(request: &Request) -> Self {
        Self::of(&request.headers, request.to_tag(), request.from_tag())
    }

    /// The dialog that a response received belongs to: From holds our tag.
    #[must_use]
    pub fn of_response(response: &Response) -> Self {
        Self::of(&response.headers, response.from_tag(), response.to_tag())
    }

    fn of(headers: &Headers, local: Option<&str>, remote: Option<&str>) -> Self {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Self { call_id: text(headers.call_id()), local_tag: text(local), remote_tag: text(remote) }
    }
}

/// How far a dialog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogState {
    /// Made by a 101–199 with a To tag.
    Early,
    /// Made or confirmed by a 2xx.
    Confirmed,
}

/// Who sent the request that made the dialog; that end owns the Call-ID (RFC 3261 §14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogSide {
    /// We sent it.
    Caller,
    /// We received it.
    Callee,
}

/// Why a dialog cannot come from a message; the culprit is the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogError {
    /// No readable Contact, so no remote target (RFC 3261 §12.1).
    #[error("no Contact to send requests to")]
    ContactMissing,
    /// No readable CSeq.
    #[error("CSeq is missing or unreadable")]
    CSeqUnreadable,
    /// The response has no To tag.
    #[error("no To tag")]
    ToTagMissing,
}

/// The CSeq of a request in the dialog is not above the last one; answered with 500
/// (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CSeq {found} is not above {last}")]
pub struct OutOfOrder {
    /// The number received.
    pub found: u32,
    /// The last one taken.
    pub last: u32,
}

/// One end of a dialog. Everything is copied out of the messages that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// Its name.
    pub id: DialogId,
    /// Early or confirmed.
    pub state: DialogState,
    /// Whether we are caller or callee.
    pub side: DialogSide,
    /// The remote target: the URI of the peer's Contact.
    pub remote_target: String,
    /// The route set.
    pub routes: RouteSet,
    /// Our From value, tag included.
    local: String,
    /// Our To value, tag included.
    remote: String,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The caller's dialog from its request and a response of 101–199 or 2xx (RFC 3261 §12.1.2).
    ///
    /// # Errors
    ///
    /// [`DialogError`] when the response has no To tag or Contact, or the request no CSeq.
    pub fn at_caller(request: &Request, response: &Response) -> Result<Self, DialogError> {
        let id = DialogId::of_response(response);
        if id.remote_tag.is_empty() {
            return Err(DialogError::ToTagMissing);
        }
        let local_cseq = request.cseq().map_err(|_| DialogError::CSeqUnreadable)?.number;
        Ok(Self {
            id,
            state: state_after(response),
            side: DialogSide::Caller,
            remote_target: contact(&response.headers).ok_or(DialogError::ContactMissing)?,
            routes: RouteSet::of_response(&response.headers),
            local: text(&response.headers, HeaderName::From),
            remote: text(&response.headers, HeaderName::To),
            local_cseq,
            remote_cseq: None,
        })
    }

    /// The callee's dialog from the request and the tag it gives (RFC 3261 §12.1.1); early until
    /// [`Dialog::confirm`].
    ///
    /// # Errors
    ///
    /// [`DialogError`] when the request has no Contact or CSeq.
    pub fn at_callee(request: &Request, local_tag: &str) -> Result<Self, DialogError> {
        let remote_cseq = request.cseq().map_err(|_| DialogError::CSeqUnreadable)?.number;
        let mut id = DialogId::of_request(request);
        let to = text(&request.headers, HeaderName::To);
        let local = if id.local_tag.is_empty() { format!("{to};tag={local_tag}") } else { to };
        local_tag.clone_into(&mut id.local_tag);
        Ok(Self {
            id,
            state: DialogState::Early,
            side: DialogSide::Callee,
            remote_target: contact(&request.headers).ok_or(DialogError::ContactMissing)?,
            routes: RouteSet::of_request(&request.headers),
            local,
            remote: text(&request.headers, HeaderName::From),
            local_cseq: 0,
            remote_cseq: Some(remote_cseq),
        })
    }

    /// The subscriber's dialog from its SUBSCRIBE and the NOTIFY that makes it, whether or not the
    /// 2xx is there yet (RFC 6665 §4.4.1).
    ///
    /// # Errors
    ///
    /// [`DialogError`] when one has no CSeq, or the NOTIFY no tag or Contact.
    pub fn at_subscriber(subscribe: &Request, notify: &Request) -> Result<Self, DialogError> {
        let local_tag = subscribe.from_tag().unwrap_or_default();
        let mut dialog = Self::at_callee(notify, local_tag)?;
        if dialog.id.remote_tag.is_empty() {
            return Err(DialogError::ToTagMissing);
        }
        dialog.side = DialogSide::Caller;
        dialog.state = DialogState::Confirmed;
        dialog.local = text(&subscribe.headers, HeaderName::From);
        dialog.local_cseq = subscribe.cseq().map_err(|_| DialogError::CSeqUnreadable)?.number;
        // The NOTIFY itself is still to be taken in its order.
        dialog.remote_cseq = None;
        Ok(dialog)
    }

    /// Our own To value (callee) or From value (caller), tag included.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The peer's From or To value, tag included.
    #[must_use]
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The number of our last request in the dialog (or of the one that made it).
    #[must_use]
    pub const fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The dialog becomes confirmed. At the caller the route set and the target are taken anew from
    /// the 2xx, since an early one may come from an element of RFC 2543 (RFC 3261 §13.2.2.4).
    pub fn confirm(&mut self, response: &Response) {
        if self.state == DialogState::Early && self.side == DialogSide::Caller {
            self.routes = RouteSet::of_response(&response.headers);
        }
        self.state = DialogState::Confirmed;
        if self.side == DialogSide::Caller {
            self.refresh_target(&response.headers);
        }
    }

    /// Takes the remote target from the Contact of a target refresh request or its 2xx, if it has
    /// one (RFC 3261 §12.2; INVITE, UPDATE, SUBSCRIBE, NOTIFY).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(target) = contact(headers) {
            self.remote_target = target;
        }
    }

    /// Goes on with this number in a dialog whose own is lost: the next request has one above it.
    pub const fn continue_from(&mut self, cseq: u32) {
        self.local_cseq = cseq;
        self.state = DialogState::Confirmed;
    }

    /// A new request in the dialog, its CSeq one above the last (RFC 3261 §12.2.1.1). Via and
    /// Contact are for others to add.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.build(method, self.local_cseq)
    }

    /// The ACK of a 2xx to the INVITE with this CSeq (RFC 3261 §13.2.2.4).
    #[must_use]
    pub fn ack(&self, invite_cseq: u32) -> Request {
        self.build(Method::Ack, invite_cseq)
    }

    /// Checks and takes the CSeq of a request received in the dialog (RFC 3261 §12.2.2). ACK is not
    /// a new request and passes.
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`]; the answer is 500. An unreadable CSeq passes: it was refused before.
    pub fn take_cseq(&mut self, request: &Request) -> Result<(), OutOfOrder> {
        if request.method == Method::Ack {
            return Ok(());
        }
        let Ok(found) = request.cseq().map(|cseq| cseq.number) else { return Ok(()) };
        match self.remote_cseq {
            Some(last) if found <= last => Err(OutOfOrder { found, last }),
            _ => {
                self.remote_cseq = Some(found);
                Ok(())
            }
        }
    }

    fn build(&self, method: Method, number: u32) -> Request {
        let mut request = Request::new(method, "");
        request.headers.push(HeaderName::MaxForwards, "70");
        self.routes.apply(&mut request, &self.remote_target);
        request.headers.push(HeaderName::From, &self.local);
        request.headers.push(HeaderName::To, &self.remote);
        request.headers.push(HeaderName::CallId, &self.id.call_id);
        let line = format!("{number} {}", request.method);
        request.headers.push(HeaderName::CSeq, &line);
        request.headers.push(HeaderName::ContentLength, "0");
        request
    }
}

const fn state_after(response: &Response) -> DialogState {
    if response.is_success() { DialogState::Confirmed } else { DialogState::Early }
}

fn contact(headers: &Headers) -> Option<String> {
    match headers.contacts().ok()? {
        Contacts::List(list) => list.first().map(|contact| contact.uri.to_string()),
        Contacts::Star => None,
    }
}

fn text(headers: &Headers, name: HeaderName) -> String {
    headers.fields(name).next().map(|field| field.unfolded().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
