//! How the policy function of the lab behaves.

use std::fmt;

use crate::time::Duration;

/// What the policy function does when it is asked for resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conduct {
    /// It grants them.
    #[default]
    Accepts,
    /// It grants them after this time.
    Late(Duration),
    /// It grants them and loses the bearers after this time.
    LostAfter(Duration),
    /// It refuses.
    Refuses,
    /// It refuses more than this many kbit/s a session, and says so.
    RefusesAbove(u64),
    /// It says nothing.
    Silent,
}

impl Conduct {
    /// What it answers, in words.
    pub const FORMS: &str =
        "accepts, refuses, refuses above 64 (kbit/s), late 2s, silent, or lost after 10s";
}

impl std::str::FromStr for Conduct {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["accepts"] => Ok(Self::Accepts),
            ["late", time] => span(time).map(Self::Late),
            ["lost", "after", time] => span(time).map(Self::LostAfter),
            ["refuses"] => Ok(Self::Refuses),
            ["refuses", "above", kbps] => kbps
                .parse()
                .map(Self::RefusesAbove)
                .map_err(|_| format!("`{kbps}` is no number of kbit/s")),
            ["silent"] => Ok(Self::Silent),
            _ => Err(format!("`{text}` is no policy; write {}", Self::FORMS)),
        }
    }
}

/// A span of time: `500ms` or `4s`.
fn span(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no time, e.g. 500ms or 4s");
    let (digits, millis) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        (None, None) => return Err(fault()),
    };
    let count: u32 = digits.parse().map_err(|_| fault())?;
    Ok(Duration::from_millis(u64::from(count) * millis))
}

/// The text that reads back as the same span, milliseconds being the smallest part.
fn span_text(time: Duration) -> String {
    match time.as_millis() {
        millis if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        millis => format!("{millis}ms"),
    }
}

impl fmt::Display for Conduct {
    /// The text that reads back as the same conduct.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepts => f.write_str("accepts"),
            Self::Late(time) => write!(f, "late {}", span_text(*time)),
            Self::LostAfter(time) => write!(f, "lost after {}", span_text(*time)),
            Self::Refuses => f.write_str("refuses"),
            Self::RefusesAbove(kbps) => write!(f, "refuses above {kbps}"),
            Self::Silent => f.write_str("silent"),
        }
    }
}

/// The conduct towards everybody and towards single users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Towards everybody else.
    pub all: Conduct,
    /// Towards single users, by private identity.
    pub of: Vec<(String, Conduct)>,
}

impl Rules {
    /// The conduct towards a user.
    #[must_use]
    pub fn towards(&self, who: &str) -> Conduct {
        self.of.iter().find(|(its, _)| its == who).map_or(self.all, |(_, conduct)| *conduct)
    }

    /// Another conduct from now on, towards one user or towards all.
    pub fn set(&mut self, who: Option<&str>, conduct: Conduct) {
        match who {
            None => (self.all, self.of) = (conduct, Vec::new()),
            Some(who) => match self.of.iter_mut().find(|(its, _)| its == who) {
                Some((_, its)) => *its = conduct,
                None => self.of.push((who.to_owned(), conduct)),
            },
        }
    }
}
