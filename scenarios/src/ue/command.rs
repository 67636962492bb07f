//! What the bench may order a UE to do.

use bytes::Bytes;
use cscf_core::sip::Request;
use cscf_core::time::Duration;

use super::Change;

/// An order of the user. What the protocol obliges a UE to do, it does unasked.
#[derive(Clone, Debug)]
pub enum UeCommand {
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
}
