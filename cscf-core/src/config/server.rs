//! What an application server of a lab does (TS 24.229 §5.7).

use super::lab::{choice, duration};
use super::problem::Problems;
use super::tree::Reader;
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
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            behaviour: ServerBehaviour::default(),
            register: RegisterAnswer::default(),
            reg_event: true,
            record_route: false,
        }
    }
}

/// What an application server does with requests of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerBehaviour {
    /// Nothing: it follows who is registered; other requests get 405.
    #[default]
    Registrations,
    /// It is a proxy: passes them on along their Route, so back to the S-CSCF
    /// (TS 24.229 §5.7.3.1).
    Proxy,
    /// It is a proxy that sends them to somebody else: this URI becomes the Request-URI.
    Retargets(String),
    /// It answers them with this status, 300 to 699.
    Refuses(u16),
    /// It says nothing at all.
    Silent,
}

impl ServerBehaviour {
    fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let status = |text: &str| text.parse().ok().filter(|it| (300..700).contains(it));
        let uri = |text: &str| Uri::parse(text).is_ok_and(|uri| uri.is_sip() || uri.is_tel());
        match words.as_slice() {
            ["registrations"] => Ok(Self::Registrations),
            ["proxy"] => Ok(Self::Proxy),
            ["proxy", "to", to] if uri(to) => Ok(Self::Retargets((*to).to_owned())),
            ["refuses", code] if status(code).is_some() => {
                Ok(Self::Refuses(status(code).unwrap_or(500)))
            }
            ["silent"] => Ok(Self::Silent),
            _ => Err(format!(
                "`{text}` is no behaviour; write registrations, proxy, proxy to sip:bob@…, \
                 refuses 503, or silent"
            )),
        }
    }

    /// Whether it passes requests on.
    #[must_use]
    pub const fn is_proxy(&self) -> bool {
        matches!(self, Self::Proxy | Self::Retargets(_))
    }
}

impl std::fmt::Display for ServerBehaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registrations => f.write_str("registrations"),
            Self::Proxy => f.write_str("proxy"),
            Self::Retargets(uri) => write!(f, "proxy to {uri}"),
            Self::Refuses(status) => write!(f, "refuses {status}"),
            Self::Silent => f.write_str("silent"),
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
        }
    }

    /// The keys of a node, as they are read.
    pub(super) fn written(&self) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        format!(
            ", behaviour: {}, register: {}, reg_event: {}, record_route: {}",
            super::write::quoted(&self.behaviour.to_string()),
            self.register,
            switch(self.reg_event),
            switch(self.record_route),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_are_read_as_they_are_written() {
        for behaviour in [
            ServerBehaviour::Registrations,
            ServerBehaviour::Proxy,
            ServerBehaviour::Retargets("tel:+15550100009".to_owned()),
            ServerBehaviour::Refuses(486),
            ServerBehaviour::Silent,
        ] {
            assert_eq!(ServerBehaviour::read(&behaviour.to_string()), Ok(behaviour));
        }
        for wrong in ["proxy to", "proxy to nobody", "refuses 200", "answers", ""] {
            assert!(ServerBehaviour::read(wrong).is_err(), "{wrong}");
        }
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
