//! Tables of headers: what each message of a device must have, may not have, and how it must look
//! (TS 34.229-1 annex A). They are data, `packs.yaml`; a step of a case that names a header wins
//! over them.

use std::sync::OnceLock;

use cscf_core::config::{Node, Problems, Reader, Value, read_tree};
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::trace::{TraceEvent, TraceKind, Wire};

use crate::script::{FieldExpectation, Matcher, field_values, parameter_values};

/// What a table is about, and when.
#[derive(Debug)]
struct Pack {
    /// The messages, as in a scenario: `INVITE`, `183 for INVITE`.
    messages: Vec<String>,
    when: Vec<When>,
    clause: String,
    lines: Vec<(String, Option<String>, Matcher)>,
}

/// A condition of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The device has a card.
    Aka,
    /// The message came without a security association.
    Clear,
    /// The device has a password.
    Digest,
    /// It came over one.
    Protected,
    /// A request outside dialogs.
    Initial,
    /// A request inside a dialog.
    Inside,
    /// It holds no answer to a challenge.
    Unanswered,
    /// It holds one.
    Answered,
    /// It has a body of SDP.
    Sdp,
    /// It asks for a reliable provisional response, or is one.
    Reliable,
}

impl When {
    const NAMED: [(&str, Self); 10] = [
        ("aka", Self::Aka),
        ("answered", Self::Answered),
        ("clear", Self::Clear),
        ("digest", Self::Digest),
        ("initial", Self::Initial),
        ("inside", Self::Inside),
        ("protected", Self::Protected),
        ("reliable", Self::Reliable),
        ("sdp", Self::Sdp),
        ("unanswered", Self::Unanswered),
    ];
}

/// Stands in a table for the device's own private identity.
const OWN_IMPI: &str = "its own IMPI";

/// What is known of the device besides its messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// It has a card.
    pub(super) aka: bool,
    /// Its private identity.
    pub(super) impi: String,
    /// The protected ports of the P-CSCFs are not among these.
    pub(super) clear_ports: Vec<u16>,
}

/// A header that is missing, too much or wrong.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) name: String,
    pub(super) clause: String,
    pub(super) text: String,
}

/// Looks at a message of the device.
pub(super) fn check(
    event: &TraceEvent,
    own: &[FieldExpectation],
    conditions: &Conditions,
) -> Vec<Fault> {
    let (TraceKind::Received(wire) | TraceKind::Sent(wire)) = &event.kind else {
        return Vec::new();
    };
    let Ok(message) = sip::parse(&wire.bytes) else { return Vec::new() };
    let label = label(&message);
    let mut out = Vec::new();
    for pack in all().iter().filter(|pack| pack.messages.contains(&label)) {
        if !pack.when.iter().all(|when| holds(*when, &message, wire, conditions)) {
            continue;
        }
        for (header, parameter, matcher) in &pack.lines {
            let overridden = own.iter().any(|field| {
                field.name.eq_ignore_ascii_case(header) && field.parameter == *parameter
            });
            let values = field_values(event, header, parameter.as_deref());
            let own_identity = matcher.text() == OWN_IMPI;
            let filled;
            let matcher = if own_identity {
                filled = Matcher::Exact(conditions.impi.clone());
                &filled
            } else {
                matcher
            };
            if overridden || matcher.accepts(&values) {
                continue;
            }
            let parameter = parameter.iter().map(|name| format!(";{name}")).collect::<String>();
            let name = format!("{header}{parameter}");
            let what = match matcher {
                Matcher::Absent => format!("{name} must not be there: {}", values.join(" | ")),
                _ if values.is_empty() => format!("{name} is missing"),
                matcher => {
                    format!("{name} is wrong: expected {matcher}, is {}", values.join(" | "))
                }
            };
            let text = format!("{label}: {what}");
            out.push(Fault { message: label.clone(), name, clause: pack.clause.clone(), text });
        }
    }
    out
}

fn label(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => {
            let cseq = response.headers.get(HeaderName::CSeq).unwrap_or_default();
            format!("{} for {}", response.status, cseq.split_whitespace().nth(1).unwrap_or(""))
        }
    }
}

fn holds(when: When, message: &Message, wire: &Wire, conditions: &Conditions) -> bool {
    let headers = message.headers();
    let of = |name, parameter| {
        let header: Vec<String> = headers.get(name).map(str::to_owned).into_iter().collect();
        parameter_values(&header, parameter)
    };
    let tagged = || !of(HeaderName::To, "tag").is_empty();
    let answered = || {
        let responses = of(HeaderName::Authorization, "response");
        responses.iter().any(|response| !response.is_empty())
    };
    match when {
        When::Aka => conditions.aka,
        When::Digest => !conditions.aka,
        When::Clear => conditions.clear_ports.contains(&wire.local.port()),
        When::Protected => !conditions.clear_ports.contains(&wire.local.port()),
        When::Initial => !tagged(),
        When::Inside => tagged(),
        When::Answered => answered(),
        When::Unanswered => !answered(),
        When::Sdp => {
            let kind = headers.get(HeaderName::ContentType).unwrap_or_default();
            kind.trim().to_ascii_lowercase().starts_with("application/sdp")
        }
        When::Reliable => headers.has_token(HeaderName::Require, "100rel"),
    }
}

/// The tables, read once.
fn all() -> &'static [Pack] {
    static ALL: OnceLock<Vec<Pack>> = OnceLock::new();
    // A unit test reads them; a mistake in them leaves no table.
    ALL.get_or_init(|| read(include_str!("packs.yaml")).unwrap_or_default())
}

fn read(source: &str) -> Result<Vec<Pack>, Problems> {
    let tree = read_tree(source)?;
    let mut problems = Problems::default();
    let Value::Seq(items) = &tree.value else {
        problems.push(tree.at, "tables must be a list", None);
        return Err(problems);
    };
    let packs = items.iter().map(|item| pack(item, &mut problems)).collect();
    if problems.is_empty() { Ok(packs) } else { Err(problems) }
}

fn pack(node: &Node, problems: &mut Problems) -> Pack {
    let mut reader = Reader::new(node, "a table", problems);
    let messages = reader.required("messages", problems).map(words).unwrap_or_default();
    let clause = reader.required("clause", problems).and_then(Node::text).unwrap_or_default();
    let conditions = reader.optional("when");
    let conditions = conditions.map(|node| (node.at, words(node))).unwrap_or_default();
    let mut when = Vec::new();
    for word in conditions.1 {
        match When::NAMED.iter().find(|(name, _)| *name == word) {
            Some((_, known)) => when.push(*known),
            None => problems.push(conditions.0, format!("unknown condition `{word}`"), None),
        }
    }
    let headers = reader.required("headers", problems);
    let mut lines = Vec::new();
    if let Some(Value::Map(entries)) = headers.map(|node| &node.value) {
        for entry in entries {
            let (name, parameter) = match entry.key.split_once(';') {
                Some((name, parameter)) => (name, Some(parameter.to_owned())),
                None => (entry.key.as_str(), None),
            };
            match Matcher::read(entry.node.text().unwrap_or_default()) {
                Ok(matcher) => lines.push((name.to_owned(), parameter, matcher)),
                Err(fault) => problems.push(entry.node.at, fault, None),
            }
        }
    }
    reader.finish(problems);
    Pack { messages, when, clause: clause.to_owned(), lines }
}

fn words(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Seq(items) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
        _ => node.text().map(str::to_owned).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_read_without_a_mistake() {
        let packs = read(include_str!("packs.yaml")).expect("reads");
        assert!(packs.len() >= 15, "{}", packs.len());
    }
}
