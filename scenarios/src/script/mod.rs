//! The scenario language: YAML whose steps read as sentences. `docs/scenario-language.md` describes
//! it for users; this module reads it, with the place of every mistake.

mod branches;
mod capture;
mod device;
mod explain;
mod matcher;
mod parameter;
mod parse;
mod party;
mod quiet;
mod request;
mod runner;
mod seen;
mod sentence;
mod shows;
mod steps;
mod words;

pub use branches::Branch;
pub use capture::Captures;
pub use device::{DUT, DeviceCase, Need};
pub use matcher::Matcher;
pub use parameter::values as parameter_values;
pub use parse::read_scenario;
pub use runner::{Failure, Judge, Stage, Unmet, judged, run};
pub use seen::field_values;
pub use shows::Shows;
pub(crate) use words::at_word;

use cscf_core::config::{
    DnsConfig, NodeConfig, NumberingConfig, Position, SecAgree, SubscriberConfig,
};
use cscf_core::dialog::Refresher;
use cscf_core::fault::Rule;
use cscf_core::ifc::InitialFilterCriteria;
use cscf_core::time::Duration;
use cscf_core::transport::Transport;

use crate::lab::NetworkOptions;
use crate::ue::{
    CallOptions, Change, CodecSet, Dtmf, EmergencyTimers, Gruu, KeepAlive, Mistakes, Protection,
    Refers, Resources, Robot,
};

/// A scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// One line saying what it shows.
    pub title: String,
    /// Who takes part, in the order of the file.
    pub parties: Vec<Party>,
    /// What the simulated network does (virtual runs only).
    pub network: NetworkOptions,
    /// Settings of the lab that differ from the built-in one: `key: value` lines of a lab file.
    pub lab: LabChanges,
    /// Why it runs in virtual time only, where it says so.
    pub only_virtual: Option<String>,
    /// Why it cannot be run with `--ipsec`, where it says so.
    pub clear_text: Option<String>,
    /// What it judges of a device, if it is a case of a suite.
    pub test: Option<DeviceCase>,
    /// The response codes it shows.
    pub shows: Vec<Shows>,
    /// What nodes do wrong on purpose from the beginning, each with its place.
    pub faults: Vec<(Position, Rule)>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// What a scenario changes in the lab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabChanges {
    /// Accept AKA without security agreement.
    pub aka_without_sec_agree: Option<bool>,
    /// What the P-CSCF wants of the security agreement.
    pub sec_agree: Option<SecAgree>,
    /// Whether the P-CSCF subscribes to the reg event.
    pub reg_event_subscription: Option<bool>,
    /// Whether the P-CSCF knows flows (RFC 5626).
    pub outbound: Option<bool>,
    /// Shortest registration interval.
    pub expires_min: Option<Duration>,
    /// Longest registration interval.
    pub expires_max: Option<Duration>,
    /// Further nodes, or others in the place of those of the same name. They get addresses of the
    /// instance, and keep their ports.
    pub nodes: Vec<NodeConfig>,
    /// Whether the networks of the lab trust each other.
    pub interconnect: Option<bool>,
    /// What becomes of numbers.
    pub numbering: Option<NumberingConfig>,
    /// What the DNS knows.
    pub dns: Option<DnsConfig>,
    /// Nodes that the others take for strangers.
    pub untrusted: Vec<(Position, String)>,
    /// Further subscribers, or others in the place of those of the same name.
    pub subscribers: Vec<SubscriberConfig>,
    /// Filter criteria of subscribers that stay as they are otherwise, by name.
    pub filter_criteria: Vec<(String, Vec<InitialFilterCriteria>)>,
}

/// A UE in a scenario.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its name in the steps.
    pub name: String,
    /// Its identities and credentials, where they are not those of the subscriber of that name.
    pub subscriber: Option<SubscriberConfig>,
    /// The subscriber whose further device it is; its name is its own.
    pub of: Option<(Position, String)>,
    /// The instance of the device, e.g. `urn:gsma:imei:…`.
    pub instance: Option<String>,
    /// The number of its flow (RFC 5626).
    pub reg_id: Option<u32>,
    /// How it keeps its flow alive.
    pub keep_alive: Option<KeepAlive>,
    /// The public identity it registers.
    pub impu: Option<String>,
    /// The P-CSCFs it knows, by name, the first one first.
    pub pcscfs: Vec<(Position, String)>,
    /// Which Contact it gives others.
    pub gruu: Option<Gruu>,
    /// What it agrees on with the P-CSCF.
    pub security: Option<Protection>,
    /// Whether it tries again by itself after a failed registration.
    pub retries: Option<bool>,
    /// Whether it knows early IMS security.
    pub early_security: Option<bool>,
    /// The timers of its emergency registration, if it registers for emergency.
    pub emergency: Option<EmergencyTimers>,
    /// Whether it knows SMS over IP.
    pub sms: Option<bool>,
    /// What it does wrong: words of the language, e.g. `wrong key`.
    pub mistakes: Mistakes,
    /// Whether it uses preconditions.
    pub preconditions: Option<bool>,
    /// Whether its provisional responses may be reliable.
    pub reliable: Option<bool>,
    /// `None`: by UDP.
    pub transport: Option<Transport>,
    /// Whether it subscribes to its own registration state.
    pub reg_event: Option<bool>,
    /// When the resources of a call are there.
    pub resources: Option<Resources>,
    /// Its codecs.
    pub codecs: Option<CodecSet>,
    /// Whether it answers with every common codec.
    pub all_codecs: Option<bool>,
    /// Whether it can video.
    pub video: Option<bool>,
    /// The session interval it asks for.
    pub session_expires: Option<Duration>,
    /// The shortest session interval it takes.
    pub min_se: Option<Duration>,
    /// Who is to refresh the sessions it begins.
    pub refresher: Option<Refresher>,
    /// The info packages it takes.
    pub info_packages: Vec<String>,
    /// Whether it calls on where a 3xx sends it.
    pub follows_redirects: Option<bool>,
    /// Whether it calls again with what a 488 allows.
    pub lowers_offer: Option<bool>,
    /// What it does with a REFER.
    pub refers: Option<Refers>,
    /// How many calls it has at a time.
    pub calls: Option<usize>,
    /// What it does when it is called, without being told.
    pub when_called: Option<Robot>,
    /// Whether it is on a 3GPP radio access (P-Access-Network-Info).
    pub radio: Option<bool>,
    /// Its access type in P-Access-Network-Info, e.g. `3GPP-NR-FDD`.
    pub access: Option<String>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands.
    pub at: Position,
    /// The sentence as written.
    pub text: String,
    /// What it means.
    pub kind: StepKind,
    /// What it expects is a condition of what follows, no verdict on a device.
    pub when: bool,
    /// Where it stands written that it must be so.
    pub clause: Option<String>,
    /// The catalogue entries that this step proves.
    pub proves: Vec<(Position, String)>,
    /// The captured values it uses: `icid` for `$icid`.
    pub uses: Vec<(Position, String)>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// A user decides something.
    Command {
        /// Who.
        ue: String,
        /// What.
        order: Order,
    },
    /// A node stops at once.
    Crash {
        /// Which node.
        node: String,
    },
    /// Something must happen.
    Expect(Expectation),
    /// Something must not happen for that long.
    Never(Expectation),
    /// The operator orders something.
    Operate(cscf_core::operator::Order),
    /// A node that was stopped starts again.
    Restart {
        /// Which node.
        node: String,
    },
    /// Several lists of steps run side by side.
    Together(Vec<Branch>),
    /// Nothing is done for that long.
    Wait(Duration),
}

/// A user's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Takes the call.
    Answer,
    /// Does something about the call with somebody.
    About {
        /// Name of a party, or a URI.
        whom: String,
        /// What.
        order: Box<Self>,
    },
    /// Calls a party or URI.
    Call {
        /// Name of a party, or a URI.
        target: String,
        /// How.
        options: CallOptions,
    },
    /// Gives up a call that is not answered.
    Cancel,
    /// Switches off.
    Deregister,
    /// Does something with other headers.
    Dressed {
        /// Names and values; `None` takes the header out.
        headers: Vec<(String, Option<String>)>,
        /// What.
        order: Box<Self>,
    },
    /// Presses digits.
    Dtmf {
        /// Which.
        digits: String,
        /// How they travel.
        by: Dtmf,
    },
    /// Ends all registrations of the identity.
    DeregisterAll,
    /// Asks what is registered.
    Fetch,
    /// Ends the call.
    HangUp,
    /// Puts the call on hold, or takes it back.
    Hold {
        /// Hold, or not.
        on: bool,
        /// By UPDATE, not by re-INVITE.
        by_update: bool,
    },
    /// Loses the bearer of the call.
    LoseBearer,
    /// Sends a text.
    Message {
        /// Name of a party, or a URI.
        target: String,
        /// The text.
        text: String,
    },
    /// Sends a short message over IP.
    Sms {
        /// Name of a party, a number, or a URI with one.
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
    /// Asks for capabilities.
    Options {
        /// Name of a party, or a URI.
        target: String,
    },
    /// Keeps what is published, or takes it back.
    KeepPublication {
        /// Keeps it.
        keep: bool,
    },
    /// Publishes presence.
    Publish {
        /// The basic status.
        status: String,
        /// The interval wished for.
        expires: Option<Duration>,
    },
    /// Sends the call that rings elsewhere.
    Redirect {
        /// Name of a party, or a URI.
        target: String,
    },
    /// Registers.
    Register {
        /// The interval wished for.
        expires: Option<Duration>,
    },
    /// Sends a request as the scenario writes it.
    Request {
        /// Any method.
        method: String,
        /// Name of a party, or a URI.
        target: String,
        /// What is other than a UE would write it.
        changes: Vec<Change>,
    },
    /// Refuses the call.
    Reject {
        /// The status.
        status: u16,
    },
    /// Registers again before the time.
    Reregister,
    /// Alerts its user.
    Ring,
    /// Subscribes to the own registration state.
    Subscribe,
    /// Transfers the other end of the call.
    Transfer {
        /// Name of a party, or a URI.
        target: String,
        /// Attended: the own call with that party is replaced.
        attended: bool,
        /// REFER in a dialog of its own.
        outside: bool,
        /// Without a subscription.
        quiet: bool,
    },
    /// Adds video to the call, or drops it.
    Video {
        /// Adds.
        on: bool,
    },
    /// Ends a subscription to an event.
    Unwatch {
        /// Name of a party, or a URI.
        target: String,
        /// The event package.
        event: String,
    },
    /// Subscribes to an event of somebody.
    Watch {
        /// Name of a party, or a URI.
        target: String,
        /// The event package.
        event: String,
    },
}

/// What must (or must not) be seen.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// At which node.
    pub node: String,
    /// What.
    pub what: Seen,
    /// Within which time.
    pub within: Duration,
    /// Not before so long after the last command, or the last message that was expected.
    pub no_earlier: Option<Duration>,
    /// What its message must look like.
    pub fields: Vec<FieldExpectation>,
}

/// An event to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A message coming in or going out.
    Message {
        /// Coming in.
        received: bool,
        /// `INVITE`, `183`, `UAR`.
        label: String,
        /// For a response: the method it answers.
        answers: Option<String>,
        /// The other end.
        peer: Option<String>,
    },
    /// A refusal whose cause is told.
    Diagnosis,
    /// A decision by this clause.
    Note {
        /// `TS 24.229 §5.4.1.2.2`.
        clause: String,
    },
    /// A state.
    State(String),
}

/// One line under an expectation.
#[derive(Clone, Debug)]
pub struct FieldExpectation {
    /// Where the key stands.
    pub at: Position,
    /// Where the value stands.
    pub value_at: Position,
    /// Header name, or `request_uri`, `reason`, `body`.
    pub name: String,
    /// The parameter of the header that is looked at, where it is not the whole value.
    pub parameter: Option<String>,
    /// What it must be.
    pub matcher: Matcher,
    /// The name under which what is found is kept.
    pub capture: Option<String>,
}
