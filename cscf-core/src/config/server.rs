//! What an application server of a lab does (TS 24.229 §5.7).

use super::lab::{choice, duration};
use super::problem::Problems;
use super::tree::Reader;
use crate::time::Duration;

/// How an application server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// What it takes part in.
    pub behaviour: ServerBehaviour,
    /// What it answers to a third-party REGISTER.
    pub register: RegisterAnswer,
    /// Whether it subscribes to the reg event of those who register (TS 24.229 §5.7.1.1).
    pub reg_event: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            behaviour: ServerBehaviour::default(),
            register: RegisterAnswer::default(),
            reg_event: true,
        }
    }
}

/// What an application server takes part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerBehaviour {
    /// It follows who is registered; other requests get 405.
    #[default]
    Registrations,
}

impl ServerBehaviour {
    const ALL: [(&'static str, Self); 1] = [("registrations", Self::Registrations)];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
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
            behaviour: reader.or("behaviour", ServerBehaviour::default(), problems, |text| {
                choice(text, &ServerBehaviour::ALL)
            }),
            register: reader.or(
                "register",
                RegisterAnswer::default(),
                problems,
                RegisterAnswer::read,
            ),
            reg_event: reader.or("reg_event", true, problems, |text| {
                choice(text, &[("on", true), ("off", false)])
            }),
        }
    }

    /// The keys of a node, as they are read.
    pub(super) fn written(&self) -> String {
        format!(
            ", behaviour: {}, register: {}, reg_event: {}",
            self.behaviour.as_str(),
            self.register,
            if self.reg_event { "on" } else { "off" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
