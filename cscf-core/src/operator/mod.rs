//! What an operator may order a running node, as values: one text form for the command line, the
//! control interface, scenarios and the pipe to a node process; and what a node answers.
//!
//! A node that has no part in an order says so ([`OrderError::NotHere`]), so that an order can be
//! given to all that may have one.

mod fault;
mod metrics;
mod parse;
mod table;
mod workload;

use std::fmt;

use crate::cx::{CxCommand, CxResult, DeregistrationReason};
use crate::policy::Conduct;
use crate::registrar::ContactEvent;
use crate::time::Duration;

pub use fault::FaultOrder;
pub use metrics::{FAMILIES, MetricFamily, MetricKind, Samples, family_named, labels_of};
pub use parse::{USAGE, VERBS};
pub use table::Table;
pub use workload::{Refused, Workload};

/// An order to a node. Users are named by private identity, as the nodes know them; before it is
/// resolved with a lab ([`Order::subject_mut`]) a name of the lab may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Takes contacts of a user away at its S-CSCF (TS 24.229 §5.4.1.5).
    Deregister {
        /// The private identity.
        who: String,
        /// One contact only.
        contact: Option<String>,
        /// What the subscribers are told: rejected, deactivated or probation.
        event: ContactEvent,
    },
    /// Empties a node: a P-CSCF sends new UEs to another one (TS 24.229 §5.2.2.1), and new work
    /// gets 503 everywhere; or no longer.
    Drain {
        /// The node.
        node: String,
        /// From now on, or no longer.
        on: bool,
    },
    /// About fault rules of nodes.
    Fault(FaultOrder),
    /// Reads, or changes, what a node process logs.
    Log {
        /// The node.
        node: String,
        /// From now on, in the syntax of `CSCF_LOG`, e.g. `debug`; none: only to be read.
        filter: Option<String>,
    },
    /// Loses all data of a user at its S-CSCF, as a restart would (TS 23.380 §4).
    Forget {
        /// The private identity.
        who: String,
    },
    /// How the HSS behaves from now on.
    Hss {
        /// What it does.
        mood: HssMood,
        /// With which questions; none: all.
        to: Option<CxCommand>,
        /// With how many of them; none: until told otherwise.
        times: Option<u32>,
    },
    /// Loses bearers of a user now (TS 24.229 §5.2.8.1).
    BearerLost {
        /// The private identity.
        who: String,
        /// That of the signalling; else those of the sessions.
        signalling: bool,
    },
    /// Gives requests an answer that the node would not give by itself.
    Inject {
        /// The node.
        node: String,
        /// The status, 300 to 699; none: no longer.
        status: Option<u16>,
        /// Only to requests of this method; none: to all.
        method: Option<String>,
        /// To how many of them; none: until told otherwise.
        times: Option<u32>,
    },
    /// Has an application server start something of its own (TS 24.229 §5.7.3).
    Originate {
        /// The server.
        node: String,
        /// What.
        what: Originated,
        /// Who it goes to: a name of the lab, or a URI.
        target: String,
        /// For whom: a name of the lab, or a URI; none: as itself.
        on_behalf_of: Option<String>,
    },
    /// Has an application server end the calls that it has itself.
    HangUp {
        /// The server.
        node: String,
    },
    /// Refuses new work with 503, or no longer.
    Overload {
        /// The node.
        node: String,
        /// The Retry-After in seconds; none: no longer.
        retry_after: Option<u32>,
    },
    /// How the policy function behaves from now on.
    Policy {
        /// Towards whom; none: everybody.
        who: Option<String>,
        /// What it does when it is asked for resources.
        conduct: Conduct,
    },
    /// Pushes the profile of a user to its S-CSCF, after these changes (TS 29.228 §6.2).
    Ppr {
        /// The private identity.
        who: String,
        /// What is changed in it.
        changes: Vec<ProfileChange>,
    },
    /// Has a user authenticate anew within this time (TS 24.229 §5.4.1.6).
    Reauthenticate {
        /// The private identity.
        who: String,
        /// What is left of the time of its contacts.
        within: Duration,
    },
    /// Has the HSS end registrations (TS 29.228 §6.1.3).
    Rtr {
        /// The private identity.
        who: String,
        /// Public identities; none: all of the private one.
        impus: Vec<String>,
        /// Why.
        reason: DeregistrationReason,
    },
    /// Has the HSS take up, change or let go a subscriber.
    Subscriber {
        /// Its name in the lab where it is new, else the private identity.
        name: String,
        /// What becomes of it.
        change: SubscriberChange,
    },
    /// Tells what the node holds.
    Show {
        /// What.
        what: Show,
        /// Only rows in which one of these stands; none: all.
        of: Vec<String>,
    },
}

/// What an application server starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Originated {
    /// A call.
    Call,
    /// A message with this text.
    Message(String),
    /// A short message with this text, from the service centre.
    ShortMessage(String),
}

/// How an HSS answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HssMood {
    /// With this result and no data.
    Answers(CxResult),
    /// Authentication vectors whose MAC is wrong.
    BadMac,
    /// With a right header and AVPs that are none.
    Garbage,
    /// With success and data nobody can read.
    Garbled,
    /// As it should, so much later.
    Late(Duration),
    /// As it should.
    Normal,
    /// Authentication vectors whose sequence number was used before.
    OldSqn,
    /// Not at all.
    Silent,
}

/// A change of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileChange {
    /// A public identity is barred from now on.
    Bar(String),
    /// Charging data go to this function from now on: an `aaa:` URI.
    Charging(String),
    /// The password for SIP digest from now on.
    Password(String),
    /// A public identity is barred no longer.
    Unbar(String),
}

/// What becomes of a subscriber of the HSS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriberChange {
    /// It is new, with this entry of a lab file in one line.
    Add(String),
    /// It has this entry from now on; who serves it is told (TS 29.228 §6.2), or has to let it go
    /// where its identities change.
    Change(String),
    /// It is let go; who serves it is told before (TS 29.228 §6.1.3).
    Remove,
}

/// What a node may be asked to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Challenges that wait for their answer.
    Challenges,
    /// Dialogs it has on record.
    Dialogs,
    /// How it is: draining, overloaded, peers that can be reached.
    Health,
    /// Security associations with their keys, for Wireshark.
    Keys,
    /// What it has counted.
    Metrics,
    /// The last refusals with their causes.
    Refusals,
    /// Contacts and their times.
    Registrations,
    /// Security associations.
    Sas,
    /// Subscriptions of the HSS with their state.
    Subscribers,
    /// SIP transactions, lingering ones included.
    Transactions,
}

impl Show {
    /// Every kind with its word.
    pub const ALL: [(&'static str, Self); 10] = [
        ("challenges", Self::Challenges),
        ("dialogs", Self::Dialogs),
        ("health", Self::Health),
        ("keys", Self::Keys),
        ("metrics", Self::Metrics),
        ("refusals", Self::Refusals),
        ("registrations", Self::Registrations),
        ("sas", Self::Sas),
        ("subscribers", Self::Subscribers),
        ("transactions", Self::Transactions),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(word, _)| word)
    }
}

/// Who or what an order is about.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A node of the lab.
    Node(&'a mut String),
    /// Nobody in particular.
    Nobody,
    /// A user.
    User(&'a mut String),
    /// What rows are chosen by.
    Users(&'a mut Vec<String>),
}

impl Order {
    /// Who it is about, to be resolved with a lab.
    pub const fn subject_mut(&mut self) -> Subject<'_> {
        match self {
            Self::BearerLost { who, .. }
            | Self::Deregister { who, .. }
            | Self::Forget { who }
            | Self::Policy { who: Some(who), .. }
            | Self::Ppr { who, .. }
            | Self::Reauthenticate { who, .. }
            | Self::Rtr { who, .. }
            | Self::Subscriber {
                name: who,
                change: SubscriberChange::Remove | SubscriberChange::Change(_),
            } => Subject::User(who),
            Self::Drain { node, .. }
            | Self::HangUp { node }
            | Self::Inject { node, .. }
            | Self::Log { node, .. }
            | Self::Originate { node, .. }
            | Self::Overload { node, .. } => Subject::Node(node),
            Self::Fault(_)
            | Self::Hss { .. }
            | Self::Policy { who: None, .. }
            | Self::Subscriber { .. } => Subject::Nobody,
            Self::Show { of, .. } => Subject::Users(of),
        }
    }
}

/// What a node answers to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderAnswer {
    /// It is done, or under way: one line.
    Done(String),
    /// What was asked to be shown.
    Table(Table),
}

impl OrderAnswer {
    /// It is done, or under way.
    pub fn done(text: impl Into<String>) -> Self {
        Self::Done(text.into())
    }
}

/// Why an order was not obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// The node has no part in such an order.
    NotHere,
    /// It has, and cannot: one line with the reason.
    Refused(String),
}

impl OrderError {
    /// The node cannot obey.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHere => f.write_str("this node has no part in such an order"),
            Self::Refused(text) => f.write_str(text),
        }
    }
}

/// What a node gives back for an order.
pub type OrderResult = Result<OrderAnswer, OrderError>;
