//! What of an HSS outlives it, as text: sequence numbers, assigned S-CSCFs, registration states and
//! restoration data (TS 33.102 §C.1, TS 29.228 §6.1, TS 23.380 §4). It is made and taken here; that
//! it gets into a file and back is the host's work.
//!
//! One JSON object a line: first what the file is, then one line for each private identity that has
//! used a sequence number and for each implicit registration set that has an S-CSCF, last how many
//! lines there were. A text that is damaged or another's is refused whole.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::{Sqn, from_hex};
use crate::cx::{Restoration, RestoredContact, RestoredSubscription};
use crate::hss::store::{
    AssignedServer, Credentials, ImplicitSet, Secret, SetState, Store, Subscription,
};

/// The form below; another one has another number.
const VERSION: u32 = 1;

/// A kept state that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {text}")]
pub struct StateFault {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

impl StateFault {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, column: 1, text: text.into() }
    }
}

/// What was taken from a kept state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sequence numbers of private identities.
    pub sequence_numbers: usize,
    /// Implicit registration sets with an S-CSCF.
    pub sets: usize,
    /// Lines about identities that are not provisioned; they are kept as they are.
    pub unclaimed: usize,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// The first.
    HssState { version: u32, domain: String },
    /// Where the sequence numbers of a private identity stand.
    Sqn {
        impi: String,
        /// The last one made, SEQ and IND: twelve hexadecimal digits.
        sqn: String,
        /// DIF: how far the identity's clock is from ours, in units of 0.1 s (TS 33.102 §C.1.1.3).
        #[serde(default, skip_serializing_if = "is_zero")]
        dif: i64,
    },
    /// Who serves an implicit registration set.
    Set(Box<SetLine>),
    /// The last.
    End { lines: usize },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The state of an implicit registration set, private identities by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLine {
    /// Its first public identity.
    impu: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s_cscf: Option<Name>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    registered_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unregistered: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reassignment_pending: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    restoration: Vec<Left>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    uri: String,
    origin_host: String,
}

/// What an S-CSCF left for its restoration.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Left {
    impi: String,
    contacts: Vec<Contact>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contact {
    contact: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cseq: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscription: Option<Dialog>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dialog {
    call_id: String,
    from: String,
    to: String,
    record_route: String,
    contact: String,
}

impl Store {
    /// What is to outlive this store: what [`Store::restore`] takes.
    #[must_use]
    pub fn kept(&self) -> String {
        let mut out = Text::default();
        out.line(&Line::HssState { version: VERSION, domain: self.home_domain().to_owned() });
        for line in self.unclaimed() {
            out.raw(line);
        }
        // Of a range only who was used has anything to keep.
        for subscription in self.slots().used() {
            keep_sequences(&mut out, &subscription);
            let sets = subscription.provisioned.implicit_sets.iter().zip(&subscription.states);
            for (set, state) in sets.filter(|(_, state)| !state.is_idle()) {
                out.extend(set_line(&subscription, set, state));
            }
        }
        out.end()
    }

    /// Goes on where another store of the same subscriptions was when it said `text`.
    ///
    /// # Errors
    ///
    /// [`StateFault`] says what in the text is wrong, and where; nothing of it is taken then.
    pub fn restore(&mut self, text: &str) -> Result<Restored, StateFault> {
        let lines = read(text, self.home_domain())?;
        let mut restored = Restored::default();
        for (raw, line) in lines {
            let claimed = match line {
                Line::Sqn { impi, sqn, dif } => {
                    let done = self.restore_sequence(&impi, &sqn, dif).is_some();
                    restored.sequence_numbers += usize::from(done);
                    done
                }
                Line::Set(line) => {
                    let done = self.restore_set(*line).is_some();
                    restored.sets += usize::from(done);
                    done
                }
                Line::HssState { .. } | Line::End { .. } => true,
            };
            if !claimed {
                restored.unclaimed += 1;
                self.keep_unclaimed(raw);
            }
        }
        Ok(restored)
    }

    fn restore_sequence(&mut self, impi: &str, sqn: &str, dif: i64) -> Option<()> {
        let last = Sqn::from_bytes(from_hex(sqn)?);
        let found = self.find_impi(impi)?;
        let subscription = self.at_mut(found)?;
        let number = subscription.impi_index(impi)?;
        match subscription.secrets.get_mut(number)? {
            Secret::Aka { sequence, .. } => sequence.resume(last, dif),
            Secret::Digest { .. } => return None,
        }
        Some(())
    }

    fn restore_set(&mut self, line: SetLine) -> Option<()> {
        let found = self.find_impu(&line.impu)?;
        let subscription = self.at_mut(found.subscription)?;
        let number = |impi: &String| subscription.impi_index(impi);
        let state = SetState {
            registered_by: line.registered_by.iter().filter_map(number).collect(),
            kept: line.unregistered,
            pending: line.pending.iter().filter_map(number).collect(),
            server: line
                .s_cscf
                .map(|Name { uri, origin_host }| AssignedServer { name: uri, origin_host }.into()),
            reassignment_pending: line.reassignment_pending,
            restoration: line
                .restoration
                .into_iter()
                .filter_map(|left| Some((number(&left.impi)?, Box::new(left.into()))))
                .collect(),
        };
        *subscription.states.get_mut(found.set)? = state;
        Some(())
    }
}

/// The lines as they are made.
#[derive(Default)]
struct Text {
    text: String,
    lines: usize,
}

impl Text {
    fn line(&mut self, line: &Line) {
        // Values of this form can always be written.
        if let Ok(text) = serde_json::to_string(line) {
            self.raw(&text);
        }
    }

    fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    fn extend(&mut self, line: Option<Line>) {
        if let Some(line) = line {
            self.line(&line);
        }
    }

    fn end(mut self) -> String {
        self.line(&Line::End { lines: self.lines });
        self.text
    }
}

/// The sequence numbers that are not any more as they were provisioned.
fn keep_sequences(out: &mut Text, subscription: &Subscription) {
    let identities = subscription.provisioned.private_identities.iter();
    for (identity, secret) in identities.zip(&subscription.secrets) {
        let (Secret::Aka { sequence, .. }, Credentials::Aka { sqn, .. }) =
            (secret, &identity.credentials)
        else {
            continue;
        };
        let (last, dif) = (sequence.last(), sequence.offset());
        if last.value() != *sqn || dif != 0 {
            out.line(&Line::Sqn { impi: identity.impi.clone(), sqn: last.to_string(), dif });
        }
    }
}

fn set_line(subscription: &Subscription, set: &ImplicitSet, state: &SetState) -> Option<Line> {
    let identities = &subscription.provisioned.private_identities;
    let name = |number: &usize| Some(identities.get(*number)?.impi.clone());
    Some(Line::Set(Box::new(SetLine {
        impu: set.identities().next()?.identity.clone(),
        s_cscf: state
            .server
            .as_deref()
            .cloned()
            .map(|server| Name { uri: server.name, origin_host: server.origin_host }),
        registered_by: state.registered_by.iter().filter_map(name).collect(),
        pending: state.pending.iter().filter_map(name).collect(),
        unregistered: state.kept,
        reassignment_pending: state.reassignment_pending,
        restoration: state.restoration.values().map(|left| Left::from((**left).clone())).collect(),
    })))
}

/// A line as it stands there and as it is understood.
type Read<'a> = (&'a str, Line);

fn read<'a>(text: &'a str, domain: &str) -> Result<Vec<Read<'a>>, StateFault> {
    let mut out: Vec<Read<'a>> = Vec::new();
    for (raw, number) in text.lines().zip(1..) {
        if let Some((_, Line::End { .. })) = out.last() {
            return Err(StateFault::new(number, "there is something behind the end"));
        }
        let line = match (serde_json::from_str(raw), number) {
            (Ok(line), _) => line,
            (Err(_), 1) => return Err(StateFault::new(1, "this is no state of an HSS of cscf")),
            (Err(fault), _) => {
                let told = fault.to_string();
                let text = told.split(" at line ").next().unwrap_or_default().to_owned();
                return Err(StateFault { line: number, column: fault.column().max(1), text });
            }
        };
        check(number, &line, domain)?;
        out.push((raw, line));
    }
    match out.last() {
        Some((_, Line::End { .. })) => Ok(out),
        Some(_) => Err(StateFault::new(out.len() + 1, "the end is missing: it is cut off")),
        None => Err(StateFault::new(1, "it is empty")),
    }
}

fn check(number: usize, line: &Line, domain: &str) -> Result<(), StateFault> {
    let fault = |text: String| Err(StateFault::new(number, text));
    match line {
        Line::HssState { .. } if number != 1 => fault("a second beginning".to_owned()),
        Line::HssState { version, .. } if *version != VERSION => {
            fault(format!("it has version {version}, this program reads version {VERSION}"))
        }
        Line::HssState { domain: other, .. } if other != domain => {
            fault(format!("it is the state of an HSS of {other}, this one is of {domain}"))
        }
        Line::HssState { .. } => Ok(()),
        _ if number == 1 => fault("this is no state of an HSS of cscf".to_owned()),
        Line::Sqn { sqn, .. } if from_hex::<6>(sqn).is_none() => {
            fault(format!("`{sqn}` is no sequence number of 12 hexadecimal digits"))
        }
        Line::End { lines } if lines + 1 != number => {
            fault(format!("{lines} lines were written, here are {}", number - 1))
        }
        Line::Sqn { .. } | Line::Set(_) | Line::End { .. } => Ok(()),
    }
}

impl From<Restoration> for Left {
    fn from(Restoration { impi, contacts }: Restoration) -> Self {
        Self { impi, contacts: contacts.into_iter().map(Contact::from).collect() }
    }
}

impl From<Left> for Restoration {
    fn from(Left { impi, contacts }: Left) -> Self {
        Self { impi, contacts: contacts.into_iter().map(RestoredContact::from).collect() }
    }
}

impl From<RestoredContact> for Contact {
    fn from(it: RestoredContact) -> Self {
        let RestoredContact { path, contact, call_id, cseq, subscription } = it;
        let subscription = subscription.map(|it| {
            let RestoredSubscription { call_id, from, to, record_route, contact } = it;
            Dialog { call_id, from, to, record_route, contact }
        });
        Self { contact, path, call_id, cseq, subscription }
    }
}

impl From<Contact> for RestoredContact {
    fn from(it: Contact) -> Self {
        let Contact { contact, path, call_id, cseq, subscription } = it;
        let subscription = subscription.map(|it| {
            let Dialog { call_id, from, to, record_route, contact } = it;
            RestoredSubscription { call_id, from, to, record_route, contact }
        });
        Self { path, contact, call_id, cseq, subscription }
    }
}
