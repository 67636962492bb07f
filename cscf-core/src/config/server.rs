//! What an application server of a lab does (TS 24.229 §5.7).

use super::behaviour::ServerBehaviour;
use super::centre::CentreConfig;
use super::lab::{choice, duration};
use super::problem::Problems;
use super::tree::{Node, Reader, Value};
use super::write::quoted;
use crate::sip::Uri;
use crate::time::Duration;

const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];

/// How an application server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// What it takes part in.
    pub behaviour: ServerBehaviour,
    /// What it answers to a third-party REGISTER.
    pub register: RegisterAnswer,
    /// Whether it subscribes to the reg event of those who register (TS 24.229 §5.7.1.1).
    pub reg_event: bool,
    /// Whether it stays in the dialogs of the requests it passes on.
    pub record_route: bool,
    /// Header lines of scripted answers ([`ServerBehaviour::Answers`], `Refuses`).
    pub headers: Vec<(String, String)>,
    /// Whether a caller is told that the call is diverted (TS 24.604 §4.5.2.6.2).
    pub notify_caller: bool,
    /// Whether others may know who diverted a call, and to whom (TS 24.604 §4.3.1).
    pub show_diversion: bool,
    /// Callers that are taken although they hide who they are (TS 24.611 §4.5.2.6.1).
    pub overriding: Vec<String>,
    /// Shortest time of a publication or a subscription to presence.
    pub expires_min: Duration,
    /// Longest time of these.
    pub expires_max: Duration,
    /// Who may follow the presence of a user.
    pub watchers: Watchers,
    /// The short message service centre behind an IP-SM-GW.
    pub centre: CentreConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            behaviour: ServerBehaviour::default(),
            register: RegisterAnswer::default(),
            reg_event: true,
            record_route: false,
            headers: Vec::new(),
            notify_caller: true,
            show_diversion: true,
            overriding: Vec::new(),
            expires_min: Duration::from_secs(60),
            expires_max: Duration::from_secs(3600),
            watchers: Watchers::default(),
            centre: CentreConfig::default(),
        }
    }
}

/// What becomes of those who want to follow the presence of a user (RFC 3856 §6.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watchers {
    /// They are told.
    #[default]
    Allowed,
    /// They are told nothing that is true (polite blocking).
    Blocked,
    /// They wait for the user's consent, which comes after this time.
    Pending(Duration),
    /// They get 403.
    Refused,
}

impl Watchers {
    fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["allowed"] => Ok(Self::Allowed),
            ["blocked"] => Ok(Self::Blocked),
            ["pending", "for", time] => duration(time).map(Self::Pending),
            ["refused"] => Ok(Self::Refused),
            [word, ..] => {
                let known = ["allowed", "blocked", "pending", "refused"];
                let near = super::problem::nearest(word, known);
                let near = near.map(|near| format!("; did you mean `{near}`?"));
                let near = near.unwrap_or_default();
                Err(format!(
                    "`{text}` is not known here{near} Write allowed, blocked, pending for 10s, or \
                     refused"
                ))
            }
            [] => Err("write allowed, blocked, pending for 10s, or refused".to_owned()),
        }
    }
}

impl std::fmt::Display for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Blocked => f.write_str("blocked"),
            Self::Pending(time) => write!(f, "pending for {}ms", time.as_millis()),
            Self::Refused => f.write_str("refused"),
        }
    }
}

/// What an application server answers to a third-party REGISTER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegisterAnswer {
    /// 200 with the time that was asked for.
    #[default]
    Accepts,
    /// 200 with at most this time.
    AcceptsFor(Duration),
    /// This status, 300 to 699; not 408, which no element may answer here (RFC 4320 §4.2).
    Refuses(u16),
    /// Nothing.
    Silent,
}

impl RegisterAnswer {
    fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let status =
            |text: &str| text.parse().ok().filter(|it| (300..700).contains(it) && *it != 408);
        match words.as_slice() {
            ["accepts"] => Ok(Self::Accepts),
            ["accepts", "for", time @ ..] => duration(&time.concat()).map(Self::AcceptsFor),
            ["refuses", code] if status(code).is_some() => {
                Ok(Self::Refuses(status(code).unwrap_or(500)))
            }
            ["silent"] => Ok(Self::Silent),
            _ => Err(format!(
                "`{text}` is no answer; write accepts, accepts for 60s, refuses 500, or silent"
            )),
        }
    }
}

impl std::fmt::Display for RegisterAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepts => f.write_str("accepts"),
            Self::AcceptsFor(time) => write!(f, "accepts for {}s", time.as_secs()),
            Self::Refuses(status) => write!(f, "refuses {status}"),
            Self::Silent => f.write_str("silent"),
        }
    }
}

impl ServerConfig {
    pub(super) fn read(reader: &mut Reader<'_>, problems: &mut Problems) -> Self {
        let usual = Self::default();
        Self {
            behaviour: reader.or(
                "behaviour",
                ServerBehaviour::default(),
                problems,
                ServerBehaviour::read,
            ),
            register: reader.or(
                "register",
                RegisterAnswer::default(),
                problems,
                RegisterAnswer::read,
            ),
            reg_event: reader.or("reg_event", true, problems, |text| choice(text, &SWITCH)),
            record_route: reader.or("record_route", false, problems, |text| choice(text, &SWITCH)),
            headers: reader.optional("headers").map(|it| headers(it, problems)).unwrap_or_default(),
            notify_caller: reader.or("notify_caller", true, problems, |text| choice(text, &SWITCH)),
            show_diversion: reader
                .or("show_diversion", true, problems, |text| choice(text, &SWITCH)),
            overriding: reader.or("overriding", Vec::new(), problems, identities),
            expires_min: reader.or("expires_min", usual.expires_min, problems, duration),
            expires_max: reader.or("expires_max", usual.expires_max, problems, duration),
            watchers: reader.or("watchers", Watchers::default(), problems, Watchers::read),
            centre: CentreConfig::read(reader, problems),
        }
    }

    /// The keys of a node, as they are read.
    pub(super) fn written(&self) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        let mut out = format!(
            ", behaviour: {}, register: {}, reg_event: {}, record_route: {}",
            quoted(&self.behaviour.to_string()),
            self.register,
            switch(self.reg_event),
            switch(self.record_route),
        );
        if !self.headers.is_empty() {
            let lines = self.headers.iter();
            let lines: Vec<String> =
                lines.map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
            out.push_str(&format!(", headers: {{{}}}", lines.join(", ")));
        }
        out.push_str(&format!(
            ", notify_caller: {}, show_diversion: {}, overriding: {}, expires_min: {}s, expires_max: {}s, watchers: {}",
            switch(self.notify_caller),
            switch(self.show_diversion),
            quoted(&self.overriding.join(" ")),
            self.expires_min.as_secs(),
            self.expires_max.as_secs(),
            self.watchers,
        ));
        out.push_str(&self.centre.written());
        out
    }
}

/// URIs with spaces between them.
pub(super) fn identities(text: &str) -> Result<Vec<String>, String> {
    let uri = |text: &str| match Uri::parse(text) {
        Ok(uri) if uri.is_sip() || uri.is_tel() => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no SIP or tel URI; write them with spaces between")),
    };
    text.split_whitespace().map(uri).collect()
}

/// The headers of a scripted answer, by name.
fn headers(node: &Node, problems: &mut Problems) -> Vec<(String, String)> {
    let Value::Map(entries) = &node.value else {
        let text = "here must be headers by name, e.g. {Retry-After: \"30\"}";
        problems.push(node.at, text, None);
        return Vec::new();
    };
    let mut out = Vec::new();
    for entry in entries {
        let token = entry.key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let line = entry.node.text().filter(|text| !text.contains(['\r', '\n']));
        match line {
            Some(text) if token => out.push((entry.key.clone(), text.to_owned())),
            _ => problems.push(entry.at, format!("`{}` is no header line", entry.key), None),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_read_as_they_are_written() {
        let time = Duration::from_millis(1500);
        for watchers in
            [Watchers::Allowed, Watchers::Blocked, Watchers::Pending(time), Watchers::Refused]
        {
            assert_eq!(Watchers::read(&watchers.to_string()), Ok(watchers));
        }
        assert!(Watchers::read("pendign").is_err_and(|it| it.contains("did you mean `pending`?")));
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        let time = Duration::from_secs(60);
        for answer in [
            RegisterAnswer::Accepts,
            RegisterAnswer::AcceptsFor(time),
            RegisterAnswer::Refuses(503),
            RegisterAnswer::Silent,
        ] {
            assert_eq!(RegisterAnswer::read(&answer.to_string()), Ok(answer));
        }
        for wrong in
            ["refuses", "refuses 200", "refuses 408", "refuses x", "accepts for 5", "maybe"]
        {
            assert!(RegisterAnswer::read(wrong).is_err(), "{wrong}");
        }
    }
}
