//! The recorded messages of a scenario, to be changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::time::Duration;
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};
use cscf_core::transport::Transport;
use scenarios::builtin;
use scenarios::capture::Capture;
use scenarios::report::{Parties, pcapng};

/// A change of the tape. Messages are named `alice REGISTER 2`, `bob 183/INVITE` or
/// `p1>bob INVITE`; Content-Length follows the body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Appends a header.
    Add(&'static str, &'static str, &'static str),
    /// Sends a message once more, so many milliseconds later.
    Again(&'static str, u64),
    /// Puts a message before another.
    Before(&'static str, &'static str),
    /// Sets the body.
    Body(&'static str, &'static str),
    /// Takes a header from another message.
    Copy(&'static str, &'static str, &'static str),
    /// Takes a header away.
    Cut(&'static str, &'static str),
    /// Lets everything from a message on happen so many seconds later.
    Delay(&'static str, u64),
    /// Goes on for minutes.
    GoesOn,
    /// Changes text and leaves Content-Length as it is.
    Raw(&'static str, &'static str, &'static str),
    /// Puts a header in the place of those of its name.
    Set(&'static str, &'static str, &'static str),
    /// Changes text wherever it stands.
    Swap(&'static str, &'static str, &'static str),
    /// Sends a message by TCP.
    Tcp(&'static str),
    /// Sends a message to another address.
    To(&'static str, &'static str),
    /// Lets the rest of a call happen once more from a message on, over other nodes.
    Twice(&'static str),
    /// Takes one message out.
    Without(&'static str),
    /// Takes all messages of a label out.
    WithoutAll(&'static str),
}

/// What nodes sent in a run, in order.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    events: Vec<TraceEvent>,
    names: BTreeMap<SocketAddr, String>,
}

impl Tape {
    pub(crate) fn of(scenario: &str) -> Self {
        let it = builtin::find(scenario).unwrap_or_else(|| panic!("no scenario {scenario}"));
        let mut events = scenarios::run::simulate(it.source, 1).expect("runs").events;
        let mut names = BTreeMap::new();
        for event in &events {
            if let TraceKind::Sent(wire) | TraceKind::Received(wire) = &event.kind {
                names.entry(wire.local).or_insert_with(|| event.node.to_string());
            }
        }
        events.retain(
            |event| matches!(&event.kind, TraceKind::Sent(wire) if wire.protocol == Protocol::Sip),
        );
        Self { events, names }
    }

    pub(crate) fn capture(&self) -> Capture {
        Capture::of_events(&self.events)
    }

    /// As packets without names of hosts, one address in the place of another.
    pub(crate) fn as_packets(&self, from: SocketAddr, to: SocketAddr) -> Capture {
        let mut events = self.events.clone();
        for event in &mut events {
            let TraceKind::Sent(wire) = &mut event.kind else { unreachable!() };
            for addr in [&mut wire.local, &mut wire.remote] {
                if *addr == from {
                    *addr = to;
                }
            }
            let text = String::from_utf8(wire.bytes.to_vec()).expect("text");
            wire.bytes = text.replace(&from.to_string(), &to.to_string()).into();
        }
        let file = pcapng::write(&events, &Parties::default());
        scenarios::capture::read(&file[..]).expect("a capture")
    }

    /// The place of `alice REGISTER 2`, `bob 183/INVITE` or `p1>bob INVITE`.
    fn place(&self, selector: &str) -> Result<usize, String> {
        let mut words = selector.split(' ');
        let (ends, label) = (words.next().expect("who"), words.next().expect("what"));
        let number: usize = words.next().map_or(1, |it| it.parse().expect("a number"));
        let (from, to) = ends.split_once('>').unwrap_or((ends, ""));
        let fits = |event: &TraceEvent| {
            let wire = wire(event);
            let target = self.names.get(&wire.remote).map_or("", String::as_str);
            &*event.node == from && (to.is_empty() || target == to) && label_of(wire) == label
        };
        let places = self.events.iter().enumerate().filter(|(_, event)| fits(event));
        let place = places.map(|(index, _)| index).nth(number - 1);
        place.ok_or_else(|| format!("no {selector}"))
    }

    /// Makes one change.
    pub(crate) fn change(&mut self, op: &Op) -> Result<(), String> {
        match *op {
            Op::Add(selector, name, value) => {
                self.edit(selector, |it| {
                    it.add(name, value);
                    Ok(())
                })?;
            }
            Op::Again(selector, millis) => self.again(selector, Duration::from_millis(millis))?,
            Op::Before(selector, other) => self.before(selector, other)?,
            Op::Body(selector, body) => {
                self.edit(selector, |it| {
                    body.clone_into(&mut it.body);
                    Ok(())
                })?;
            }
            Op::Copy(selector, name, other) => {
                let other = Text::read(&wire(&self.events[self.place(other)?]).bytes);
                let value = other.get(name).ok_or(format!("{selector} has no {name}"))?.to_owned();
                self.edit(selector, |it| {
                    it.set(name, &value);
                    Ok(())
                })?;
            }
            Op::Cut(selector, name) => self.edit(selector, |it| it.cut(name))?,
            Op::Delay(selector, seconds) => {
                let place = self.place(selector)?;
                for event in &mut self.events[place..] {
                    event.at += Duration::from_secs(seconds);
                }
            }
            Op::GoesOn => self.goes_on(),
            Op::Raw(selector, from, to) => {
                let wire = self.wire(selector)?;
                let text = String::from_utf8(wire.bytes.to_vec()).expect("text");
                if !text.contains(from) {
                    return Err(format!("{selector} has no {from}: {text}"));
                }
                wire.bytes = text.replacen(from, to, 1).into();
            }
            Op::Set(selector, name, value) => {
                self.edit(selector, |it| {
                    it.set(name, value);
                    Ok(())
                })?;
            }
            Op::Swap(selector, from, to) => self.edit(selector, |it| it.swap(from, to))?,
            Op::Tcp(selector) => self.wire(selector)?.transport = Transport::Tcp,
            Op::To(selector, addr) => {
                self.wire(selector)?.remote = addr.parse().expect("an address");
            }
            Op::Twice(selector) => self.twice(selector)?,
            Op::Without(selector) => {
                let place = self.place(selector)?;
                self.events.remove(place);
            }
            Op::WithoutAll(label) => self.events.retain(|event| label_of(wire(event)) != label),
        }
        Ok(())
    }

    fn wire(&mut self, selector: &str) -> Result<&mut Wire, String> {
        let place = self.place(selector)?;
        match &mut self.events[place].kind {
            TraceKind::Sent(wire) => Ok(wire),
            _ => unreachable!(),
        }
    }

    /// Changes a message; Content-Length follows its body.
    fn edit(
        &mut self,
        selector: &str,
        change: impl FnOnce(&mut Text) -> Result<(), String>,
    ) -> Result<(), String> {
        let wire = self.wire(selector)?;
        let mut text = Text::read(&wire.bytes);
        change(&mut text).map_err(|fault| format!("{selector}: {fault}"))?;
        wire.bytes = text.write().into();
        Ok(())
    }

    fn again(&mut self, selector: &str, after: Duration) -> Result<(), String> {
        let place = self.place(selector)?;
        let mut event = self.events[place].clone();
        event.at += after;
        let later = self.events.iter().position(|it| it.at > event.at);
        self.events.insert(later.unwrap_or(self.events.len()), event);
        Ok(())
    }

    fn twice(&mut self, selector: &str) -> Result<(), String> {
        let place = self.place(selector)?;
        let call =
            |event: &TraceEvent| Text::read(&wire(event).bytes).get("Call-ID").map(str::to_owned);
        let this = call(&self.events[place]);
        let later = self.events[place..].iter().filter(|event| call(event) == this);
        let mut again: Vec<TraceEvent> = later.cloned().collect();
        for event in &mut again {
            event.at += Duration::from_secs(400);
            let TraceKind::Sent(wire) = &mut event.kind else { unreachable!() };
            let text = String::from_utf8(wire.bytes.to_vec()).expect("text");
            let text = text.replace("branch=z9hG4bK", "branch=z9hG4bKx").replace("-rr.", "-rx.");
            wire.bytes = text.into();
        }
        self.events.append(&mut again);
        Ok(())
    }

    fn before(&mut self, selector: &str, other: &str) -> Result<(), String> {
        let (from, to) = (self.place(selector)?, self.place(other)?);
        let mut event = self.events.remove(from);
        event.at = self.events[to].at;
        self.events.insert(to, event);
        Ok(())
    }

    /// Goes on for minutes: the last message is one that nobody minds.
    fn goes_on(&mut self) {
        let mut last = self.events.last().expect("an event").clone();
        last.at += Duration::from_secs(200);
        let TraceKind::Sent(wire) = &mut last.kind else { unreachable!() };
        wire.bytes = "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: keep\r\nCSeq: 1 OPTIONS\r\n\
            Content-Length: 0\r\n\r\n"
            .into();
        self.events.push(last);
    }
}

fn wire(event: &TraceEvent) -> &Wire {
    match &event.kind {
        TraceKind::Sent(wire) => wire,
        _ => unreachable!(),
    }
}

/// `INVITE` or `183/INVITE`.
fn label_of(wire: &Wire) -> String {
    let text = String::from_utf8_lossy(&wire.bytes);
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_owned();
    if first != "SIP/2.0" {
        return first;
    }
    let status = words.next().unwrap_or_default();
    let cseq = text.lines().find(|line| line.starts_with("CSeq:")).unwrap_or_default();
    format!("{status}/{}", cseq.split_whitespace().nth(2).unwrap_or_default())
}

/// A message as lines.
struct Text {
    head: Vec<String>,
    body: String,
}

impl Text {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        Self { head: head.split("\r\n").map(str::to_owned).collect(), body: body.to_owned() }
    }

    fn write(mut self) -> String {
        let length = self.body.len().to_string();
        if self.get("Content-Length").is_some() {
            self.set("Content-Length", &length);
        }
        format!("{}\r\n\r\n{}", self.head.join("\r\n"), self.body)
    }

    fn is(line: &str, name: &str) -> bool {
        line.split_once(':').is_some_and(|(its, _)| its.eq_ignore_ascii_case(name))
    }

    /// The first value of a header.
    fn get(&self, name: &str) -> Option<&str> {
        let line = self.head.iter().skip(1).find(|line| Self::is(line, name))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    /// Replaces text in the head and the body; it must be there.
    fn swap(&mut self, from: &str, to: &str) -> Result<(), String> {
        let whole = format!("{}\r\n\r\n{}", self.head.join("\r\n"), self.body);
        if !whole.contains(from) {
            return Err(format!("no {from} in {whole}"));
        }
        *self = Self::read(whole.replace(from, to).as_bytes());
        Ok(())
    }

    /// Takes a header away.
    fn cut(&mut self, name: &str) -> Result<(), String> {
        self.get(name).ok_or(format!("no {name}"))?;
        self.head.retain(|line| !Self::is(line, name));
        Ok(())
    }

    /// Puts a header in the place of those of its name.
    fn set(&mut self, name: &str, value: &str) {
        self.head.retain(|line| !Self::is(line, name));
        self.add(name, value);
    }

    /// Appends a header.
    fn add(&mut self, name: &str, value: &str) {
        self.head.push(format!("{name}: {value}"));
    }
}
