//! What the bench may order a UE to do.

use bytes::Bytes;
use cscf_core::sip::Request;
use cscf_core::time::Duration;

use super::Change;

/// An order of the user. What the protocol obliges a UE to do, it does unasked.
#[derive(Clone, Debug)]
pub enum UeCommand {
    /// Does something about the call with somebody.
    About {
        /// The public identities of that person.
        whom: Vec<String>,
        /// What is done.
        command: Box<Self>,
    },
    /// Answers the call that rings.
    Answer,
    /// Calls somebody.
    Call {
        /// A URI, a number or a name.
        target: String,
        /// How.
        options: CallOptions,
    },
    /// Gives up the call that is not answered yet.
    Cancel,
    /// Ends the registration.
    Deregister,
    /// Does something with other headers than it would have: those of the messages that leave at
    /// once.
    Dressed {
        /// Names and values; `None` takes the header out. `body` and `request_uri` count as names.
        headers: Vec<(String, Option<String>)>,
        /// What is done.
        command: Box<Self>,
    },
    /// Ends all registrations of the identity.
    DeregisterAll,
    /// Asks which contacts are registered.
    FetchRegistrations,
    /// Ends the call.
    Hangup,
    /// Puts the call on hold.
    Hold,
    /// Keeps what is published for another interval, or takes it back (RFC 3903 §4.4, §4.5).
    KeepPublication {
        /// Keeps it.
        keep: bool,
    },
    /// Publishes the presence of the user (RFC 3903 §4.1, §4.3).
    Publish {
        /// The basic status, `open` or `closed`.
        status: String,
        /// The interval wished for; `None`: an hour.
        expires: Option<Duration>,
    },
    /// Puts the call on hold, or takes it back, by UPDATE.
    HoldByUpdate {
        /// Hold, or not.
        on: bool,
    },
    /// The bearer of the call is gone.
    LoseBearer,
    /// Sends the call that rings elsewhere, with 302.
    Redirect {
        /// A URI, a number or a name.
        target: String,
    },
    /// Registers.
    Register {
        /// The interval wished for; `None`: the configured one.
        expires: Option<Duration>,
    },
    /// Refuses the call that rings.
    Reject {
        /// With this status, 300 to 699.
        status: u16,
    },
    /// Refreshes the registration now.
    Reregister,
    /// Takes the call from hold.
    Resume,
    /// Tells the caller that it rings.
    Ring,
    /// Presses digits in the call.
    SendDtmf {
        /// 0–9, `*`, `#`, A–D.
        digits: String,
        /// How they travel.
        by: Dtmf,
    },
    /// Sends INFO in the call.
    SendInfo {
        /// Content-Type of the body.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// Sends a MESSAGE (RFC 3428).
    SendMessage {
        /// A URI, a number or a name.
        target: String,
        /// Plain text.
        text: String,
    },
    /// Sends a short message over IP (TS 24.341 §5.3.1).
    SendSms {
        /// A number, or a URI with one.
        target: String,
        /// The text.
        text: String,
        /// Whether a status report is wished for.
        status_report: bool,
    },
    /// The memory for short messages is full, or free.
    SmsMemory {
        /// Full.
        full: bool,
    },
    /// Asks what somebody can (RFC 3261 §11).
    SendOptions {
        /// A URI, a number or a name.
        target: String,
    },
    /// Sends this request as it is, towards the P-CSCF.
    SendRaw {
        /// Complete but for Via.
        request: Box<Request>,
    },
    /// Sends a request outside dialogs that is other than a UE would write it.
    SendRequest {
        /// Any method.
        method: String,
        /// A URI, a number or a name.
        target: String,
        /// What is other.
        changes: Vec<Change>,
    },
    /// Subscribes to the own registration state again.
    SubscribeReg,
    /// Transfers the other end of the call to somebody (RFC 3515).
    Transfer {
        /// A URI, a number or a name.
        target: String,
        /// How.
        how: Transfer,
    },
    /// Adds video to the call, or drops it.
    Video {
        /// Adds.
        on: bool,
    },
    /// Ends the subscription to an event of somebody.
    Unwatch {
        /// A URI, a number or a name.
        target: String,
        /// The event package.
        event: String,
    },
    /// Subscribes to an event of somebody (RFC 6665).
    Watch {
        /// A URI, a number or a name.
        target: String,
        /// The event package, e.g. `presence`.
        event: String,
    },
}

/// How a call is made, where it differs from the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// With preconditions or without; `None`: as configured.
    pub preconditions: Option<bool>,
    /// Whether the INVITE has no offer (RFC 3261 §13.2.1).
    pub offerless: bool,
    /// Whether the call begins with video.
    pub video: bool,
}

/// How digits travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtmf {
    /// In INFO as of old: `application/dtmf-relay`.
    Info,
    /// In INFO of the package `infoDtmf` (RFC 6086).
    Package,
    /// As telephone-event beside the voice (RFC 4733): no message.
    Rtp,
}

/// How a call is transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The public identities of the one whose call with us is to be replaced; none: a blind
    /// transfer.
    pub replaces: Vec<String>,
    /// REFER in a dialog of its own with Target-Dialog (RFC 4538), not in that of the call.
    pub outside: bool,
    /// Without a subscription (RFC 4488).
    pub quiet: bool,
}
