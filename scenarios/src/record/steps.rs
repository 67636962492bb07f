//! Steps from messages, in the order in which they were sent.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cscf_core::sip::{Direction, HeaderName, Method, NameAddr, Sdp};
use cscf_core::time::{Duration, Instant};

use super::people::People;
use crate::explain::traffic::{Item, Traffic};
use crate::report::plain;

/// A silence longer than this before a command is part of the scenario.
const PAUSE: Duration = Duration::from_millis(200);
/// What an expectation waits by itself.
const PATIENCE: Duration = Duration::from_secs(9);

/// The steps and what is not in them.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub text: String,
    pub losses: Vec<String>,
    /// Whether anybody does anything.
    pub commands: bool,
}

/// What is known while the messages are read.
struct Reader<'a> {
    traffic: &'a Traffic,
    people: &'a People,
    told: Told,
    /// When the last step was.
    last: Instant,
    /// Phones with a binding.
    registered: BTreeSet<usize>,
    /// Subscriptions to the reg event, which phones make by themselves.
    by_itself: BTreeSet<&'a str>,
    /// The name under which each icid was kept.
    icids: BTreeMap<String, String>,
    /// Phones on hold, by call.
    held: BTreeSet<(usize, &'a str)>,
    /// Calls that were answered.
    answered: BTreeSet<&'a str>,
    /// INVITEs that were sent: by whom, and the call.
    called: BTreeSet<(usize, &'a str)>,
    /// The last final answer to a REGISTER of each phone.
    registrar_said: BTreeMap<usize, &'a Item>,
}

/// Makes steps of all messages.
pub(super) fn steps(traffic: &Traffic, people: &People) -> Told {
    let mut reader = Reader {
        traffic,
        people,
        told: Told::default(),
        last: Instant::EPOCH,
        registered: BTreeSet::new(),
        by_itself: BTreeSet::new(),
        icids: BTreeMap::new(),
        held: BTreeSet::new(),
        answered: BTreeSet::new(),
        called: BTreeSet::new(),
        registrar_said: BTreeMap::new(),
    };
    for item in traffic.fresh() {
        reader.message(item);
    }
    reader.told
}

impl<'a> Reader<'a> {
    fn message(&mut self, item: &'a Item) {
        if item.method == Method::Register && item.status() >= 200 {
            self.registrar_said.insert(item.to, item);
        }
        if self.by_itself.contains(item.call_id.as_str()) {
            return;
        }
        let event = item.header(HeaderName::Event).split(';').next().unwrap_or_default().trim();
        if item.method == Method::Subscribe && event == "reg" {
            self.by_itself.insert(&item.call_id);
            return;
        }
        if item.own
            && let Some(who) = self.people.phone(item.from)
        {
            self.phone_sends(who, item);
        }
        if let Some(who) = self.people.phone(item.to) {
            self.phone_receives(who, item);
        } else {
            self.hop(item);
        }
    }

    fn command(&mut self, item: &Item, text: &str) {
        let pause = item.at.since(self.last);
        if pause > PAUSE && self.told.commands {
            let _ = writeln!(self.told.text, "  - wait {}ms", pause.as_millis());
        }
        let _ = writeln!(self.told.text, "  - {}", scalar(text));
        self.told.commands = true;
        self.last = item.at;
    }

    fn expect(&mut self, item: &Item, text: &str, conditions: &[(String, String)]) {
        let waited = item.at.since(self.last);
        let within = if waited > PATIENCE {
            format!(" within {}s", waited.as_secs() + 2)
        } else {
            String::new()
        };
        let colon = if conditions.is_empty() { "" } else { ":" };
        let _ = writeln!(self.told.text, "  - {text}{within}{colon}");
        for (name, value) in conditions {
            let _ = writeln!(self.told.text, "      {name}: {value}");
        }
        self.last = self.last.max(item.at);
    }

    fn state(&mut self, who: &str, state: &str) {
        let _ = writeln!(self.told.text, "  - {who} is {state}");
    }

    fn loss(&mut self, item: &Item, what: &str) {
        let text = format!("frame {}: {}", item.frame, plain(what));
        let _ = writeln!(self.told.text, "  # {text}");
        self.told.losses.push(text);
    }

    /// Whom a request is for, as a scenario names it; nothing where it cannot, which is told.
    fn target(&mut self, who: &str, item: &Item) -> Option<String> {
        let uri = item.as_request()?.request_uri.to_string();
        let to = item.message.to_addr().map(|it| it.uri.to_string()).unwrap_or_default();
        let known = self.people.with_identity(&uri);
        let known = known.or_else(|| self.people.with_identity(&to)).map(str::to_owned);
        self.sayable(who, item, &known.unwrap_or(uri))
    }

    /// An address that can stand as one word of a sentence; else that it cannot is told.
    fn sayable(&mut self, who: &str, item: &Item, word: &str) -> Option<String> {
        let odd = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '"';
        if word.is_empty() || word.contains(odd) {
            let what = format!("{who}: {} {word:?} is no word of a scenario", item.label());
            self.loss(item, &what);
            return None;
        }
        Some(literal(word))
    }

    fn phone_sends(&mut self, who: &str, item: &'a Item) {
        let initial = item.is_initial();
        match (&item.method, item.status()) {
            (Method::Register, 0) => self.register(who, item),
            (Method::Invite, 0) if initial => self.call(who, item),
            (Method::Invite | Method::Update, 0) => self.change(who, item),
            (Method::Cancel, 0) => self.command(item, &format!("{who} cancels")),
            (Method::Bye, 0) => self.command(item, &format!("{who} hangs up")),
            (Method::Message, 0) => self.text(who, item),
            (Method::Options, 0) => {
                if let Some(target) = self.target(who, item) {
                    self.command(item, &format!("{who} asks {target}"));
                }
            }
            (Method::Ack | Method::Prack | Method::Notify, 0) => {}
            (method, 0) => {
                let what = format!("{who} sends {method}, which is not recorded");
                self.loss(item, &what);
            }
            (Method::Invite, status) => self.answers(who, item, status),
            _ => {}
        }
    }

    fn register(&mut self, who: &str, item: &Item) {
        // What answers a challenge comes by itself.
        let last = self.registrar_said.get(&item.from);
        let challenged = last.is_some_and(|it| {
            it.status() == 401
                && it.call_id == item.call_id
                && it.cseq.checked_add(1) == Some(item.cseq)
        });
        // A longer interval after 423 too.
        let brief = last.is_some_and(|it| it.status() == 423 && it.call_id == item.call_id);
        if challenged || brief {
            return;
        }
        let star = item.header(HeaderName::Contact).trim() == "*";
        let contacts = item.message.contacts().ok();
        let contact = contacts.as_ref().and_then(|it| it.first());
        let interval = contact.and_then(NameAddr::expires).or_else(|| item.message.expires());
        let text = if star {
            "deregisters everything".to_owned()
        } else if contact.is_none() {
            "fetches her registrations".to_owned()
        } else if interval == Some(0) {
            "deregisters".to_owned()
        } else if self.registered.contains(&item.from) {
            "re-registers".to_owned()
        } else {
            match interval {
                Some(600_000) | None => "registers".to_owned(),
                Some(seconds) => format!("registers for {seconds}s"),
            }
        };
        self.command(item, &format!("{who} {text}"));
    }

    fn call(&mut self, who: &str, item: &'a Item) {
        // After 401, 407, 422, 488 or a redirection the phone calls again by itself.
        if !self.called.insert((item.from, &item.call_id)) {
            return;
        }
        let Some(target) = self.target(who, item) else { return };
        let how = match &item.sdp {
            None => " without offer",
            Some(sdp) if sdp.has_active("video") => " with video",
            Some(_) => "",
        };
        self.command(item, &format!("{who} calls {target}{how}"));
    }

    /// A re-INVITE or UPDATE: hold and resume are recorded, what serves preconditions and session
    /// timers comes by itself.
    fn change(&mut self, who: &str, item: &'a Item) {
        let established = self.answered.contains(item.call_id.as_str());
        let Some(sdp) = item.sdp.as_ref().filter(|_| established) else { return };
        let key = (item.from, item.call_id.as_str());
        let by = if item.method == Method::Update { " by UPDATE" } else { "" };
        let holds = is_hold(sdp);
        if holds && self.held.insert(key) {
            self.command(item, &format!("{who} holds{by}"));
        } else if !holds && self.held.remove(&key) {
            self.command(item, &format!("{who} resumes{by}"));
        } else if item.method == Method::Invite {
            self.loss(item, &format!("{who} changes the session in another way than by hold"));
        }
    }

    fn text(&mut self, who: &str, item: &Item) {
        let is_text = item.header(HeaderName::ContentType).starts_with("text/plain");
        let body = String::from_utf8_lossy(item.message.body()).into_owned();
        if !is_text || body.contains(['"', '\n', '\r']) {
            let kind = item.header(HeaderName::ContentType).to_owned();
            self.loss(item, &format!("{who} sends a MESSAGE of {kind}, which is not recorded"));
            return;
        }
        let Some(target) = self.target(who, item) else { return };
        let body = literal(&body);
        self.command(item, &format!("{who} sends message \"{body}\" to {target}"));
    }

    /// What the called phone's user does.
    fn answers(&mut self, who: &str, item: &'a Item, status: u16) {
        let request = self.traffic.request_of(item);
        let initial = request.is_some_and(Item::is_initial);
        match status {
            180 if initial => {
                let text = format!("{who} sends 180 for INVITE");
                self.expect(item, &text, &[]);
            }
            200..300 if initial => {
                self.answered.insert(&item.call_id);
                self.command(item, &format!("{who} answers"));
            }
            // By itself: the caller gave up, the request was not good.
            487 | 481 | 491 | 400 | 420 | 422 | 488 => {}
            300..303 => {
                let contact = item.header(HeaderName::Contact);
                let uri = NameAddr::parse(contact).map(|it| it.uri.to_string());
                let uri = uri.unwrap_or_default();
                let target = self.people.with_identity(&uri).map_or(uri.clone(), str::to_owned);
                if let Some(target) = self.sayable(who, item, &target) {
                    self.command(item, &format!("{who} redirects to {target}"));
                }
            }
            300.. if initial => self.command(item, &format!("{who} rejects with {status}")),
            _ => {}
        }
    }

    fn phone_receives(&mut self, who: &str, item: &'a Item) {
        let status = item.status();
        if status == 0 {
            let told = matches!(
                item.method,
                Method::Invite
                    | Method::Bye
                    | Method::Cancel
                    | Method::Message
                    | Method::Update
                    | Method::Prack
                    | Method::Options
            );
            if told {
                let from = self.people.node(item.from).map(|it| format!(" from {it}"));
                let text = format!("{who} receives {}{}", item.method, from.unwrap_or_default());
                let conditions = if item.is_initial() { stable(item) } else { Vec::new() };
                self.expect(item, &text, &conditions);
            }
            return;
        }
        let told = !matches!(item.method, Method::Subscribe | Method::Notify | Method::Publish);
        if status == 100 || !told {
            return;
        }
        let mut conditions = Vec::new();
        if item.method == Method::Register && status == 200 {
            for name in [HeaderName::ServiceRoute, HeaderName::PAssociatedUri] {
                let word = if item.has(name) { "present" } else { "absent" };
                conditions.push((name.to_string(), word.to_owned()));
            }
        }
        if item.has(HeaderName::RSeq) {
            conditions.push(("Require".to_owned(), "contains 100rel".to_owned()));
        }
        self.expect(item, &format!("{who} receives {status} for {}", item.method), &conditions);
        self.after(who, item, status);
    }

    /// The state that a response brings about.
    fn after(&mut self, who: &str, item: &'a Item, status: u16) {
        let request = self.traffic.request_of(item);
        let initial = request.is_some_and(Item::is_initial);
        match (&item.method, status) {
            (Method::Register, 200) => {
                let Some(request) = request else { return };
                let contacts = request.message.contacts().ok();
                let contact = contacts.as_ref().and_then(|it| it.first());
                let ends = request.header(HeaderName::Contact).trim() == "*"
                    || contact.and_then(NameAddr::expires).or_else(|| request.message.expires())
                        == Some(0);
                if ends {
                    self.registered.remove(&item.to);
                    self.state(who, "deregistered");
                } else if contact.is_some() {
                    let first = self.registered.insert(item.to);
                    self.state(who, if first { "registered" } else { "re-registered" });
                }
            }
            (Method::Register, 300..) if status != 401 && status != 423 => {
                self.state(who, "registration failed");
            }
            (Method::Invite, 200) if initial => {
                self.answered.insert(&item.call_id);
                self.state(who, "call established");
            }
            (Method::Bye, 200) => self.state(who, "call ended"),
            (Method::Message, 200..300) => self.state(who, "message delivered"),
            _ => {}
        }
    }

    /// A request that begins something, on a hop inside the network.
    fn hop(&mut self, item: &Item) {
        let (Some(from), Some(to)) = (self.people.node(item.from), self.people.node(item.to))
        else {
            return;
        };
        let told = matches!(item.method, Method::Invite | Method::Message);
        if item.status() > 0 || !item.is_initial() || !told {
            return;
        }
        let mut conditions = stable(item);
        let vector = item.header(HeaderName::PChargingVector);
        let icid = vector.split("icid-value=").nth(1).and_then(|it| it.split(';').next());
        if let Some(icid) = icid.filter(|it| !it.is_empty()) {
            let next = format!("icid_{}", self.icids.len() + 1);
            let known = self.icids.get(icid).map(|name| format!("${name}"));
            let value = known.unwrap_or_else(|| {
                self.icids.insert(icid.to_owned(), next.clone());
                format!("present as ${next}")
            });
            conditions.push(("P-Charging-Vector;icid-value".to_owned(), value));
        }
        let text = format!("{from} sends {} to {to}", item.method);
        self.expect(item, &text, &conditions);
    }
}

/// A text in which nothing is the name of a captured value; what a backslash precedes is none.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.extend(std::iter::once(letter).chain(letters.next())),
            '$' => out.push_str("$$"),
            _ => out.push(letter),
        }
    }
    out
}

/// A sentence as YAML takes it: in quotes where it would not be the whole text of a plain scalar.
fn scalar(text: &str) -> Cow<'_, str> {
    let odd = |letter: char| {
        letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    if !(text.contains(odd) || text.contains(": ") || text.contains(" #") || text.ends_with(':')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if odd(letter) => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    Cow::Owned(out)
}

fn is_hold(sdp: &Sdp) -> bool {
    let audio = sdp.media.iter().find(|it| it.kind() == "audio");
    audio
        .is_some_and(|it| matches!(sdp.direction_of(it), Direction::SendOnly | Direction::Inactive))
}

/// Headers whose being there does not change from run to run.
fn stable(item: &Item) -> Vec<(String, String)> {
    const NAMES: [HeaderName; 5] = [
        HeaderName::PAssertedIdentity,
        HeaderName::PPreferredIdentity,
        HeaderName::PCalledPartyId,
        HeaderName::Privacy,
        HeaderName::SessionExpires,
    ];
    let word = |name: HeaderName| if item.has(name) { "present" } else { "absent" };
    NAMES.iter().map(|name| (name.to_string(), word(*name).to_owned())).collect()
}
