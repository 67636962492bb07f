//! What is remembered between a forwarded request and its responses.

use std::sync::Arc;

use cscf_core::role::Side;
use cscf_core::sip::Request;
use cscf_core::transport::{Flow, SaId};

use crate::dialogs::Direction;
use crate::emergency::Attempt;
use crate::held::Held;
use crate::security::Agreement;
use crate::tokens::{DialogId, UeId};

/// A transaction through this node, in memory of its own: a tree has room for more than is in it,
/// and moves what is in it when something goes. A call is shared with whoever handles a response.
#[derive(Clone, Debug)]
pub(crate) enum Exchange {
    /// Any request but REGISTER.
    Call(Arc<Call>),
    /// REGISTER.
    Register(Box<Register>),
}

/// A REGISTER on its way to the home network.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    /// The UE's record.
    pub(crate) ue: UeId,
    /// Key of the identity in To.
    pub(crate) aor: Arc<str>,
    /// What it asks for.
    pub(crate) wish: Wish,
    /// The flow it came by.
    pub(crate) flow: Flow,
    /// Timer values of its access.
    pub(crate) side: Side,
    /// Whether it registers for outbound.
    pub(crate) outbound: bool,
    /// Whether it sends keep-alives.
    pub(crate) kept: bool,
    /// The request, kept while there are entry points left to try.
    pub(crate) request: Option<Box<Request>>,
    /// The next entry point to try.
    pub(crate) next_entry: usize,
    /// What to agree on when the challenge comes.
    pub(crate) agreement: Option<Box<Agreement>>,
    /// Whether TLS is agreed on: the challenge says so.
    pub(crate) tls: bool,
    /// The security associations it confirms.
    pub(crate) answers: Option<SaId>,
    /// Its challenge, until nobody has refused the associations that it tells of.
    pub(crate) held: Option<Box<Held>>,
}

/// What a REGISTER asks for (RFC 3261 §10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To bind or remove this contact.
    Contact(Box<str>),
    /// Nothing; it has no Contact.
    Query,
    /// To remove all contacts.
    RemoveAll,
}

/// Any other request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The UE of this side.
    pub(crate) ue: UeId,
    /// The security associations by which it came or went.
    pub(crate) sa: Option<SaId>,
    /// Which way the request went.
    pub(crate) direction: Direction,
    /// The dialog it made or belongs to.
    pub(crate) dialog: Option<DialogId>,
    /// Whether it made the dialog.
    pub(crate) makes_dialog: bool,
    /// The To tag of the fork that ends with this exchange's final response (BYE, last NOTIFY), or
    /// with a 481.
    pub(crate) fork: Option<Box<str>>,
    /// Whether any final response but a challenge ends the fork.
    pub(crate) ends: bool,
    /// Whether a 481 ends the fork.
    pub(crate) may_end: bool,
    /// A request outside a dialog, which the UE's S-CSCF must have answered at least provisionally.
    pub(crate) unanswered: bool,
    /// The charging identifier.
    pub(crate) icid: Box<str>,
    /// The inter-operator identifier of the request.
    pub(crate) orig_ioi: Option<Box<str>>,
    /// Whether the request had a session description.
    pub(crate) offered: bool,
    /// What is needed to try another E-CSCF.
    pub(crate) emergency: Option<Box<Attempt>>,
    /// Whom the request called; asserted in the UE's responses.
    pub(crate) called_party: Option<Box<str>>,
}

impl Call {
    /// A request outside any dialog, or of a dialog not known here.
    #[must_use]
    pub(crate) const fn new(ue: UeId, direction: Direction, icid: Box<str>) -> Self {
        Self {
            ue,
            sa: None,
            direction,
            dialog: None,
            makes_dialog: false,
            fork: None,
            ends: false,
            may_end: false,
            unanswered: false,
            icid,
            orig_ioi: None,
            offered: false,
            emergency: None,
            called_party: None,
        }
    }
}
