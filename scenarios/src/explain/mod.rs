//! `cscf explain`: reads traffic of anybody and says what violates which clause, who sent it, and
//! what to change.
//!
//! A rule looks at what its sender made, not at what was passed on; where a device cannot be told
//! (UE, P-CSCF, other nodes) its rules are silent. What was only captured in part is never held
//! against anybody: each rule needs both messages that contradict each other.

mod basics;
mod dialogs;
mod identity;
mod media;
mod offers;
mod registration;
mod reliable;
mod render;
mod rule;
mod security;
mod services;
mod timers;
pub(crate) mod traffic;
mod trail;

use std::collections::BTreeMap;

use cscf_core::sip::{HeaderName, Method};

pub use render::{json, rules_as_markdown, rules_as_text, text};
pub use rule::{Rule, Severity};

use crate::capture::Capture;
use rule::{DETAIL_MAX, Found, Raw};
use traffic::{Item, Kind, Traffic};

/// Frames told of one finding at most.
const FRAMES_MAX: usize = 20;

/// All rules, in the order of their topics.
#[must_use]
pub fn rules() -> Vec<&'static Rule> {
    let topics = [
        basics::RULES,
        dialogs::RULES,
        security::RULES,
        registration::RULES,
        identity::RULES,
        reliable::RULES,
        media::RULES,
        timers::RULES,
        services::RULES,
    ];
    topics.into_iter().flatten().copied().collect()
}

/// Which rules are looked at.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these, or those that begin so; all if there are none.
    pub only: Vec<String>,
    /// Not these.
    pub ignore: Vec<String>,
}

impl Selection {
    /// Whether a rule is looked at.
    #[must_use]
    pub fn takes(&self, rule: &Rule) -> bool {
        let names = |list: &[String]| {
            list.iter().any(|it| rule.id.to_ascii_uppercase().starts_with(&it.to_ascii_uppercase()))
        };
        (self.only.is_empty() || names(&self.only)) && !names(&self.ignore)
    }

    /// A name in the selection that is no rule's and no topic's.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        let known =
            |text: &&String| rules().iter().any(|it| it.id.starts_with(&text.to_ascii_uppercase()));
        self.only
            .iter()
            .chain(&self.ignore)
            .find(|it| it.is_empty() || !known(it))
            .map(String::as_str)
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule that is violated.
    pub rule: &'static Rule,
    /// Who sent what violates it.
    pub device: String,
    /// What the device is: `UE`, `P-CSCF`, `network` or nothing where it cannot be told.
    pub kind: &'static str,
    /// The dialog or registration, in words.
    pub subject: String,
    /// The frames in question, the last of the first place last; at most 20.
    pub frames: Vec<u64>,
    /// How often.
    pub count: usize,
    /// What the first of them says, with the values.
    pub detail: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By device, then by dialog, then in the order of frames.
    pub findings: Vec<Finding>,
    /// SIP messages looked at.
    pub messages: usize,
    /// Who was seen: name and what it is.
    pub devices: Vec<(String, &'static str)>,
    /// What could not be read of the file.
    pub flaws: Vec<String>,
}

impl Report {
    /// How many findings are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|it| it.rule.severity == severity).count()
    }
}

/// Looks at a capture by the selected rules.
#[must_use]
pub fn explain(capture: &Capture, selection: &Selection) -> Report {
    let traffic = Traffic::of(capture);
    let mut found = Found::default();
    let described = offers::described(&traffic);
    basics::check(&traffic, &mut found);
    dialogs::check(&traffic, &mut found);
    security::check(&traffic, &mut found);
    registration::check(&traffic, &mut found);
    identity::check(&traffic, &mut found);
    reliable::check(&traffic, &described, &mut found);
    media::check(&traffic, &described, &mut found);
    timers::check(&traffic, &mut found);
    services::check(&traffic, &mut found);
    let raw = found.0.into_iter().filter(|it| selection.takes(it.rule)).collect();
    let devices = traffic.devices.iter().map(|it| (it.name.clone(), kind_word(it.kind))).collect();
    let mut flaws = capture.flaws.clone();
    let all = capture.messages.len();
    if all > traffic::MESSAGES_MAX {
        flaws.push(format!("{all} messages, of which {} were looked at", traffic::MESSAGES_MAX));
    }
    let messages = traffic.items.len() + traffic.unreadable.len();
    Report { findings: grouped(&traffic, raw), messages, devices, flaws }
}

const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Edge => "P-CSCF",
        Kind::Network => "network",
        Kind::Ue => "UE",
        Kind::Unknown => "",
    }
}

/// One finding for each device, dialog and rule.
fn grouped(traffic: &Traffic, raw: Vec<Raw>) -> Vec<Finding> {
    let first = first_of_calls(traffic);
    let mut out: Vec<Finding> = Vec::new();
    let mut places: BTreeMap<(usize, String, &'static str), usize> = BTreeMap::new();
    for it in raw {
        let subject = it.item.and_then(|index| traffic.item(index));
        let subject = subject.map_or_else(String::new, |item| subject_of(item, &first));
        let place = (it.device, subject.clone(), it.rule.id);
        if let Some(finding) = places.get(&place).and_then(|at| out.get_mut(*at)) {
            finding.count += 1;
            let new = it.frames.into_iter().filter(|frame| !finding.frames.contains(frame));
            let room = FRAMES_MAX.saturating_sub(finding.frames.len());
            let new: Vec<u64> = new.take(room).collect();
            finding.frames.extend(new);
            continue;
        }
        places.insert(place, out.len());
        let device = traffic.device(it.device);
        out.push(Finding {
            rule: it.rule,
            device: device.name.clone(),
            kind: kind_word(device.kind),
            subject,
            frames: it.frames,
            count: 1,
            detail: it.detail.chars().take(DETAIL_MAX).collect(),
        });
    }
    out.sort_by(|a, b| {
        let key = |it: &Finding| (it.device.clone(), it.subject.clone(), it.rule.severity);
        key(a).cmp(&key(b)).then(a.frames.cmp(&b.frames)).then(a.rule.id.cmp(b.rule.id))
    });
    out
}

/// The request that began each Call-ID.
fn first_of_calls(traffic: &Traffic) -> BTreeMap<&str, &Item> {
    let mut first: BTreeMap<&str, &Item> = BTreeMap::new();
    for item in traffic.items.iter().filter(|item| item.as_request().is_some()) {
        first.entry(&item.call_id).or_insert(item);
    }
    first
}

/// The dialog or registration of a message, in words.
fn subject_of(item: &Item, first: &BTreeMap<&str, &Item>) -> String {
    let uri = |name| {
        let address = item.headers().address(name);
        address.map_or_else(|_| item.header(name).to_owned(), |it| it.uri.to_string())
    };
    if item.method == Method::Register {
        return format!("registration of {}", uri(HeaderName::To));
    }
    let first = first.get(item.call_id.as_str()).copied().unwrap_or(item);
    let of = |name| {
        let address = first.headers().address(name);
        address.map_or_else(|_| first.header(name).to_owned(), |it| it.uri.to_string())
    };
    format!(
        "{} from {} to {}, Call-ID {}",
        first.method,
        of(HeaderName::From),
        of(HeaderName::To),
        item.call_id
    )
}
