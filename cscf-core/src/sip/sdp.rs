//! Session descriptions (RFC 8866, RFC 3264): an editable list of lines with typed views on it.
//! Preconditions are in [`super::qos`]. A body that is only forwarded is never printed from here.

use std::fmt;

use bytestring::ByteString;

/// The lines a description may have; more is refused.
const LINES_MAX: usize = 4_096;

/// A body that is no session description. The culprit is the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} in line {line} of the SDP, byte {offset}")]
pub struct SdpError {
    /// The line, from 1.
    pub line: usize,
    /// The offset of the line in the body, in bytes.
    pub offset: usize,
    /// What is wrong, lower case, no full stop.
    pub reason: &'static str,
}

/// One line: `kind=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpLine {
    /// The letter before `=`.
    pub kind: char,
    /// The text behind it: a part of the one text that was read.
    pub value: ByteString,
}

/// A session description. Lines that nobody edits print as they were read, except that mixed line
/// ends all become CRLF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    /// The lines before the first `m=`.
    pub session: Vec<SdpLine>,
    /// The media descriptions in order.
    pub media: Vec<Media>,
    line_end: &'static str,
    ends_open: bool,
}

/// One media description; its first line is `m=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    lines: Vec<SdpLine>,
}

/// The `o=` line (RFC 8866 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The user name, `-` if none.
    pub user: String,
    /// The session identifier; compared as text, it may be longer than any number type.
    pub session_id: String,
    /// The version of the description.
    pub version: u64,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// The address or host of the creator.
    pub address: String,
}

/// A `c=` line (RFC 8866 §5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// The address, with `/ttl` if one is there.
    pub address: String,
}

/// A direction (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `inactive`.
    Inactive,
    /// `recvonly`.
    RecvOnly,
    /// `sendonly`.
    SendOnly,
    /// `sendrecv`.
    SendRecv,
}

/// An `a=rtpmap` (RFC 8866 §6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpMap {
    /// The payload type.
    pub payload: u8,
    /// The encoding name as written.
    pub encoding: String,
    /// The clock rate in Hz.
    pub clock_rate: u32,
    /// Channels or other parameters, if written.
    pub parameters: Option<String>,
}

impl Direction {
    const ALL: [Self; 4] = [Self::Inactive, Self::RecvOnly, Self::SendOnly, Self::SendRecv];

    /// Reads a direction, without regard to case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(text))
    }

    /// The attribute name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::RecvOnly => "recvonly",
            Self::SendOnly => "sendonly",
            Self::SendRecv => "sendrecv",
        }
    }

    /// The same direction seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::RecvOnly => Self::SendOnly,
            Self::SendOnly => Self::RecvOnly,
            other => other,
        }
    }

    /// Whether the one who says it sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendOnly | Self::SendRecv)
    }

    /// Whether the one who says it receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::RecvOnly | Self::SendRecv)
    }

    /// What both sides allow, from `self`'s point of view: `self` and the other's direction
    /// reversed (RFC 3264 §6.1).
    #[must_use]
    pub const fn answered_by(self, other: Self) -> Self {
        let sends = self.sends() && other.receives();
        match (sends, self.receives() && other.sends()) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
}

impl SdpLine {
    /// A line; line ends in the value become spaces.
    #[must_use]
    pub fn new(kind: char, value: &str) -> Self {
        Self { kind, value: value.replace(['\r', '\n'], " ").into() }
    }

    /// The name and value of an attribute line: `a=name[:value]`.
    #[must_use]
    pub fn attribute(&self) -> Option<(&str, &str)> {
        (self.kind == 'a').then(|| self.value.split_once(':').unwrap_or((&self.value, "")))
    }
}

/// The order in which the lines of a session and of a media description must stand (RFC 8866 §5).
const SESSION_ORDER: &str = "vosiuepcbtrzka";
const MEDIA_ORDER: &str = "micbka";

fn insert(lines: &mut Vec<SdpLine>, order: &str, line: SdpLine) {
    let rank = |kind| order.find(kind).unwrap_or(order.len());
    let at = lines.iter().rposition(|it| rank(it.kind) <= rank(line.kind)).map_or(0, |at| at + 1);
    lines.insert(at, line);
}

fn attributes<'a>(lines: &'a [SdpLine], name: &'a str) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .filter_map(SdpLine::attribute)
        .filter(move |(its, _)| *its == name)
        .map(|(_, value)| value)
}

fn first(lines: &[SdpLine], kind: char) -> Option<&str> {
    lines.iter().find(|line| line.kind == kind).map(|line| &*line.value)
}

fn direction(lines: &[SdpLine]) -> Option<Direction> {
    lines
        .iter()
        .filter_map(SdpLine::attribute)
        .find_map(|(name, value)| value.is_empty().then(|| Direction::parse(name)).flatten())
}

fn bandwidth(lines: &[SdpLine], kind: &str) -> Option<u64> {
    lines
        .iter()
        .filter(|line| line.kind == 'b')
        .filter_map(|line| line.value.split_once(':'))
        .find(|(its, _)| *its == kind)
        .and_then(|(_, value)| value.trim().parse().ok())
}

impl Sdp {
    /// A description with `v=`, `o=`, `s=`, `c=` and `t=` and no media.
    #[must_use]
    pub fn new(origin: &Origin, name: &str, connection: &Connection) -> Self {
        let line = |kind, value: &dyn fmt::Display| SdpLine::new(kind, &value.to_string());
        Self {
            session: vec![
                line('v', &"0"),
                line('o', origin),
                line('s', &name),
                line('c', connection),
                line('t', &"0 0"),
            ],
            media: Vec::new(),
            line_end: "\r\n",
            ends_open: false,
        }
    }

    /// Reads a description. Lines may end with LF alone.
    ///
    /// # Errors
    ///
    /// [`SdpError`] when it does not begin with `v=0`, a line is not `x=…`, an `m=` line is
    /// malformed, it is not UTF-8 or has too many lines.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let text = std::str::from_utf8(body).map_err(|fault| SdpError {
            line: 1 + body.iter().take(fault.valid_up_to()).filter(|byte| **byte == b'\n').count(),
            offset: fault.valid_up_to(),
            reason: "not UTF-8",
        })?;
        let line_end = if text.contains("\r\n") || !text.contains('\n') { "\r\n" } else { "\n" };
        let ends_open = !text.ends_with('\n');
        let kept = ByteString::from(text);
        let mut sdp = Self { session: Vec::new(), media: Vec::new(), line_end, ends_open };
        let mut offset = 0;
        for (number, raw) in super::scan::short_lines(&kept).enumerate() {
            let error = |reason| SdpError { line: number + 1, offset, reason };
            let line = raw.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            let line = line.unwrap_or(raw);
            if number == LINES_MAX {
                return Err(error("more than 4096 lines"));
            }
            sdp.take_line(line, &kept).map_err(error)?;
            offset += raw.len();
        }
        if sdp.session.is_empty() {
            return Err(SdpError { line: 1, offset: 0, reason: "description is empty" });
        }
        Ok(sdp)
    }

    fn take_line(&mut self, line: &str, text: &ByteString) -> Result<(), &'static str> {
        let mut chars = line.chars();
        let (Some(kind @ 'a'..='z'), Some('=')) = (chars.next(), chars.next()) else {
            return Err("line is not a small letter and =");
        };
        let value = chars.as_str();
        if self.session.is_empty() && (kind, value) != ('v', "0") {
            return Err("description does not begin with v=0");
        }
        if line.contains('\r') {
            return Err("CR without LF");
        }
        let line = SdpLine { kind, value: text.slice_ref(value) };
        if kind == 'm' {
            // Less and less room: a hostile body has thousands.
            let mut media = Media { lines: Vec::with_capacity(8 >> self.media.len().min(3)) };
            media.lines.push(line);
            if media.m_line().is_none() {
                return Err("m= is not media, port, protocol and formats");
            }
            self.media.push(media);
        } else {
            self.media.last_mut().map_or(&mut self.session, |media| &mut media.lines).push(line);
        }
        Ok(())
    }

    /// Every line in order, e.g. for the session description triggers of initial filter criteria.
    pub fn lines(&self) -> impl Iterator<Item = &SdpLine> {
        self.session.iter().chain(self.media.iter().flat_map(|media| media.lines.iter()))
    }

    /// The `o=` line, if it is there and well-formed.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        let mut parts = first(&self.session, 'o')?.split(' ');
        let origin = Origin {
            user: parts.next()?.to_owned(),
            session_id: parts.next()?.to_owned(),
            version: parts.next()?.parse().ok()?,
            address_type: parts.nth(1)?.to_owned(),
            address: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(origin)
    }

    /// Replaces the `o=` line.
    pub fn set_origin(&mut self, origin: &Origin) {
        self.session.retain(|line| line.kind != 'o');
        insert(&mut self.session, SESSION_ORDER, SdpLine::new('o', &origin.to_string()));
    }

    /// Counts the version in `o=` up by one, as every changed description must (RFC 3264 §8).
    pub fn bump_version(&mut self) {
        if let Some(mut origin) = self.origin() {
            origin.version = origin.version.wrapping_add(1);
            self.set_origin(&origin);
        }
    }

    /// The `c=` line of the session.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        Connection::parse(first(&self.session, 'c')?)
    }

    /// Where a media stream goes: its own `c=`, else the session's.
    #[must_use]
    pub fn connection_of(&self, media: &Media) -> Option<Connection> {
        media.connection().or_else(|| self.connection())
    }

    /// The direction of a media stream: its own, else the session's, else `sendrecv`
    /// (RFC 8866 §6.7).
    #[must_use]
    pub fn direction_of(&self, media: &Media) -> Direction {
        media.direction().or_else(|| direction(&self.session)).unwrap_or(Direction::SendRecv)
    }

    /// The session's bandwidth of a kind: `AS` in kbit/s, `TIAS` `RS` `RR` in bit/s.
    #[must_use]
    pub fn bandwidth(&self, kind: &str) -> Option<u64> {
        bandwidth(&self.session, kind)
    }

    /// The values of a session attribute; empty text for a flag.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        attributes(&self.session, name)
    }

    /// Whether a stream of this media type, e.g. `video`, is there with a port.
    #[must_use]
    pub fn has_active(&self, kind: &str) -> bool {
        self.media.iter().any(|media| media.kind() == kind && media.port() != 0)
    }

    /// Appends a line of the session in its place.
    pub fn push(&mut self, kind: char, value: &str) {
        insert(&mut self.session, SESSION_ORDER, SdpLine::new(kind, value));
    }
}

struct MLine<'a> {
    kind: &'a str,
    port: u16,
    ports: Option<&'a str>,
    protocol: &'a str,
    formats: &'a str,
}

impl Media {
    /// A media description with its `m=` line only.
    #[must_use]
    pub fn new(kind: &str, port: u16, protocol: &str, formats: &[&str]) -> Self {
        let value = format!("{kind} {port} {protocol} {}", formats.join(" "));
        Self { lines: vec![SdpLine::new('m', &value)] }
    }

    fn m_line(&self) -> Option<MLine<'_>> {
        let mut parts = self.lines.first()?.value.splitn(4, ' ');
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let port = parts.next()?;
        let (port, ports) = match port.split_once('/') {
            Some((port, ports)) => (port, Some(ports)),
            None => (port, None),
        };
        let port = port.parse().ok()?;
        let protocol = parts.next().filter(|protocol| !protocol.is_empty())?;
        Some(MLine { kind, port, ports, protocol, formats: parts.next().unwrap_or_default() })
    }

    /// The lines in order, `m=` first.
    #[must_use]
    pub fn lines(&self) -> &[SdpLine] {
        &self.lines
    }

    /// The media type, e.g. `audio`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.m_line().map_or("", |it| it.kind)
    }

    /// The port; 0 if the stream is refused or gone (RFC 3264 §6).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.m_line().map_or(0, |it| it.port)
    }

    /// The protocol, e.g. `RTP/AVP`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.m_line().map_or("", |it| it.protocol)
    }

    /// The formats, for RTP the payload types.
    pub fn formats(&self) -> impl Iterator<Item = &str> {
        self.m_line().map_or("", |it| it.formats).split(' ').filter(|format| !format.is_empty())
    }

    /// Changes the port.
    pub fn set_port(&mut self, port: u16) {
        let Some(it) = self.m_line() else { return };
        let ports = it.ports.map(|ports| format!("/{ports}")).unwrap_or_default();
        let value = format!("{} {port}{ports} {} {}", it.kind, it.protocol, it.formats);
        self.set_m_line(&value);
    }

    /// Changes the formats and drops `rtpmap` and `fmtp` of those that are gone.
    pub fn set_formats(&mut self, formats: &[&str]) {
        let Some(it) = self.m_line() else { return };
        let ports = it.ports.map(|ports| format!("/{ports}")).unwrap_or_default();
        let formats_text = formats.join(" ");
        let value = format!("{} {}{ports} {} {formats_text}", it.kind, it.port, it.protocol);
        self.set_m_line(&value);
        self.lines.retain(|line| match line.attribute() {
            Some(("rtpmap" | "fmtp", value)) => {
                let payload = value.split(' ').next().unwrap_or_default();
                payload == "*" || formats.contains(&payload)
            }
            _ => true,
        });
    }

    fn set_m_line(&mut self, value: &str) {
        if let Some(line) = self.lines.first_mut() {
            *line = SdpLine::new('m', value.trim_end());
        }
    }

    /// The stream's own `c=` line.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        Connection::parse(first(&self.lines, 'c')?)
    }

    /// The stream's own direction.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        direction(&self.lines)
    }

    /// Changes the direction in its place, or adds it.
    pub fn set_direction(&mut self, direction: Direction) {
        let old = self
            .lines
            .iter_mut()
            .find(|it| it.kind == 'a' && Direction::parse(&it.value).is_some());
        match old {
            Some(old) => *old = SdpLine::new('a', direction.as_str()),
            None => self.push('a', direction.as_str()),
        }
    }

    /// The stream's bandwidth of a kind: `AS` in kbit/s, `TIAS` `RS` `RR` in bit/s.
    #[must_use]
    pub fn bandwidth(&self, kind: &str) -> Option<u64> {
        bandwidth(&self.lines, kind)
    }

    /// The values of an attribute; empty text for a flag.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        attributes(&self.lines, name)
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.lines
            .iter()
            .filter_map(SdpLine::attribute)
            .find(|(its, _)| *its == name)
            .map(|(_, value)| value)
    }

    /// The well-formed `rtpmap` attributes.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap> {
        attributes(&self.lines, "rtpmap").filter_map(RtpMap::parse)
    }

    /// The parameters of a format.
    #[must_use]
    pub fn fmtp(&self, format: &str) -> Option<&str> {
        attributes(&self.lines, "fmtp")
            .filter_map(|value| value.split_once(' '))
            .find(|(its, _)| *its == format)
            .map(|(_, parameters)| parameters)
    }

    /// Appends a line in its place among the lines of its kind.
    pub fn push(&mut self, kind: char, value: &str) {
        insert(&mut self.lines, MEDIA_ORDER, SdpLine::new(kind, value));
    }

    /// Appends an attribute; without a value if it is empty.
    pub fn push_attribute(&mut self, name: &str, value: &str) {
        let colon = if value.is_empty() { "" } else { ":" };
        self.push('a', &format!("{name}{colon}{value}"));
    }

    /// Removes every attribute with this name; says how many there were.
    pub fn remove_attribute(&mut self, name: &str) -> usize {
        let before = self.lines.len();
        self.lines.retain(|line| line.attribute().is_none_or(|(its, _)| its != name));
        before - self.lines.len()
    }
}

impl Connection {
    /// An address with its type.
    #[must_use]
    pub fn new(address: std::net::IpAddr) -> Self {
        let address_type = if address.is_ipv4() { "IP4" } else { "IP6" };
        Self { address_type: address_type.to_owned(), address: address.to_string() }
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(' ');
        if parts.next()? != "IN" {
            return None;
        }
        let it = Self { address_type: parts.next()?.to_owned(), address: parts.next()?.to_owned() };
        parts.next().is_none().then_some(it)
    }

    /// Whether it is `0.0.0.0` or `::`, an old way to put a call on hold (RFC 3264 §8.4).
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IN {} {}", self.address_type, self.address)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, session_id, version, address_type, address } = self;
        write!(f, "{user} {session_id} {version} IN {address_type} {address}")
    }
}

impl RtpMap {
    fn parse(value: &str) -> Option<Self> {
        let (payload, rest) = value.split_once(' ')?;
        let mut parts = rest.trim().splitn(3, '/');
        Some(Self {
            payload: payload.parse().ok()?,
            encoding: parts.next()?.to_owned(),
            clock_rate: parts.next()?.parse().ok()?,
            parameters: parts.next().map(str::to_owned),
        })
    }
}

impl fmt::Display for RtpMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.payload, self.encoding, self.clock_rate)?;
        self.parameters.as_ref().map_or(Ok(()), |parameters| write!(f, "/{parameters}"))
    }
}

impl fmt::Display for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            write!(f, "{}={}", line.kind, line.value)?;
            if lines.peek().is_some() || !self.ends_open {
                f.write_str(self.line_end)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;
