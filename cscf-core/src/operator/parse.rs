//! The text form of orders: what a person types, what a scenario says, what goes to a node process.

use std::fmt;
use std::str::FromStr;

use super::{FaultOrder, HssMood, Order, Originated, ProfileChange, Show, SubscriberChange};
use crate::cx::{CxCommand, CxResult, DeregistrationReason};
use crate::registrar::ContactEvent;
use crate::time::Duration;
use crate::words::nearest;

/// The first words of orders.
pub const VERBS: [&str; 19] = [
    "bearer",
    "call",
    "dereg",
    "drain",
    "fault",
    "forget",
    "hangup",
    "hss",
    "inject",
    "log",
    "message",
    "overload",
    "policy",
    "ppr",
    "reauth",
    "rtr",
    "show",
    "sms",
    "subscriber",
];

/// Every order in a line.
pub const USAGE: &str = "\
dereg USER [--reason rejected|deactivated|probation] [--contact URI]
reauth USER [--within 60s]
rtr USER [--reason permanent|new-server|server-change|remove] [--impu URI]…
ppr USER [--bar URI]… [--unbar URI]… [--charging AAA-URI] [--password TEXT]
forget USER
drain NODE [--off]
overload NODE [--retry-after SECONDS | --off]
call AS TARGET [--for USER]
message AS TARGET TEXT… [--for USER]
sms AS TARGET TEXT… [--for USER|NUMBER]
hangup AS
fault add RULE | fault list | fault remove ID|all
inject STATUS CSCF [--to METHOD] [--times N] | inject CSCF --off
hss silent|old-sqn|bad-mac|garbled|garbage|late TIME|answers CODE [--to UAR|MAR|SAR|LIR] [--times N]
hss normal
policy accepts|refuses|refuses above KBPS|late TIME|silent|lost after TIME [--of USER]
bearer lost|signalling-lost USER
log NODE [FILTER]
subscriber add|change NAME ENTRY | subscriber remove NAME
show registrations|challenges|sas|dialogs|transactions|subscribers|refusals [USER]
show health|metrics|keys
";

const EVENTS: [(&str, ContactEvent); 3] = [
    ("deactivated", ContactEvent::Deactivated),
    ("probation", ContactEvent::Probation),
    ("rejected", ContactEvent::Rejected),
];

const REASONS: [(&str, DeregistrationReason); 4] = [
    ("new-server", DeregistrationReason::NewServerAssigned),
    ("permanent", DeregistrationReason::PermanentTermination),
    ("remove", DeregistrationReason::RemoveScscf),
    ("server-change", DeregistrationReason::ServerChange),
];

/// How long a user may take to authenticate anew where nothing is said.
const WITHIN: Duration = Duration::from_secs(60);
/// The Retry-After of an overloaded node where nothing is said.
const RETRY_AFTER: u32 = 30;

/// The words behind the verb: those that are no option, and options with their values.
struct Words<'a> {
    plain: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn read(words: &[&'a str]) -> Result<Self, String> {
        let mut out = Self { plain: Vec::new(), options: Vec::new() };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match word.strip_prefix("--") {
                None => out.plain.push(word),
                Some("off") => out.options.push(("off", "")),
                Some(name) => {
                    let (name, value) = match name.split_once('=') {
                        Some((name, value)) => (name, Some(value)),
                        None => (name, rest.next().copied()),
                    };
                    let value = value.ok_or_else(|| format!("--{name} needs a value"))?;
                    out.options.push((name, value));
                }
            }
        }
        Ok(out)
    }

    /// Takes an option out.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.options.iter().position(|(known, _)| *known == name)?;
        Some(self.options.remove(at).1)
    }

    /// Takes every option of a name out.
    fn all(&mut self, name: &str) -> Vec<String> {
        std::iter::from_fn(|| self.take(name)).map(str::to_owned).collect()
    }

    /// One of the words of a list.
    fn one_of<T: Copy>(&mut self, name: &str, list: &[(&str, T)], default: T) -> Result<T, String> {
        self.take(name).map_or(Ok(default), |word| find(name, word, list))
    }

    /// The one thing the order is about; nothing else may be left.
    fn subject(self, verb: &str, what: &str) -> Result<String, String> {
        self.no_options()?;
        match self.plain.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(format!("say which {what}: `{verb} {}`", what.to_uppercase())),
            [_, other, ..] => Err(format!("`{other}` is not understood here")),
        }
    }

    fn no_options(&self) -> Result<(), String> {
        match self.options.first() {
            Some((name, _)) => Err(format!("there is no option --{name} here")),
            None => Ok(()),
        }
    }
}

fn find<T: Copy>(what: &str, word: &str, list: &[(&str, T)]) -> Result<T, String> {
    list.iter().find(|(known, _)| *known == word).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = list.iter().map(|(known, _)| *known).collect();
        match nearest(word, known.iter().copied()) {
            Some(near) => format!("`{word}` is no {what}; did you mean `{near}`?"),
            None => format!("`{word}` is no {what}; known: {}", known.join(", ")),
        }
    })
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let number = number.parse::<u32>().map_err(|_| format!("`{text}` is no time, e.g. 60s"))?;
    Ok(Duration::from_secs(number.into()))
}

/// `inject STATUS NODE …` or `inject NODE --off`.
fn inject(mut words: Words<'_>) -> Result<Order, String> {
    if words.take("off").is_some() {
        let node = words.subject("inject", "node")?;
        return Ok(Order::Inject { node, status: None, method: None, times: None });
    }
    let method = words.take("to").map(str::to_owned);
    let times = words.take("times").map(number).transpose()?;
    if words.plain.is_empty() {
        return Err("say which status: `inject STATUS NODE`".to_owned());
    }
    let status = words.plain.remove(0);
    let known = status.parse().ok().filter(|status| (300..700).contains(status));
    let status = known.ok_or_else(|| format!("`{status}` is no status from 300 to 699"))?;
    let node = words.subject("inject STATUS", "node")?;
    Ok(Order::Inject { node, status: Some(status), method, times })
}

/// `bearer lost USER`.
fn bearer(mut words: Words<'_>) -> Result<Order, String> {
    let kinds = [("lost", false), ("signalling-lost", true)];
    if words.plain.is_empty() {
        return Err("say what is lost: `bearer lost USER`".to_owned());
    }
    let signalling = find("event of a bearer", words.plain.remove(0), &kinds)?;
    Ok(Order::BearerLost { signalling, who: words.subject("bearer lost", "user")? })
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(order) = of_whole_line(text) {
            return order;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some((verb, rest)) = words.split_first() else {
            return Err(format!("say what to do:\n{USAGE}"));
        };
        let mut words = Words::read(rest)?;
        Ok(match *verb {
            "bearer" => bearer(words)?,
            "dereg" => Self::Deregister {
                contact: words.take("contact").map(str::to_owned),
                event: words.one_of("reason", &EVENTS, ContactEvent::Rejected)?,
                who: words.subject(verb, "user")?,
            },
            "drain" => {
                let on = words.take("off").is_none();
                Self::Drain { on, node: words.subject(verb, "node")? }
            }
            "call" | "message" | "sms" => originate(verb, words)?,
            "hangup" => Self::HangUp { node: words.subject(verb, "node")? },
            "forget" => Self::Forget { who: words.subject(verb, "user")? },
            "hss" => {
                let to = words.take("to").map(|word| find("question", word, &CxCommand::ALL));
                let times = words.take("times").map(number);
                let (to, times) = (to.transpose()?, times.transpose()?);
                Self::Hss { mood: mood(&words)?, to, times }
            }
            "inject" => inject(words)?,
            "log" => log(&words)?,
            "overload" => {
                let off = words.take("off").is_some();
                let after = words.take("retry-after").map_or(Ok(RETRY_AFTER), number)?;
                let retry_after = (!off).then_some(after);
                Self::Overload { retry_after, node: words.subject(verb, "node")? }
            }
            "policy" => {
                let who = words.take("of").map(str::to_owned);
                words.no_options()?;
                Self::Policy { who, conduct: words.plain.join(" ").parse()? }
            }
            "ppr" => {
                let changes = profile_changes(&mut words);
                Self::Ppr { changes, who: words.subject(verb, "user")? }
            }
            "reauth" => {
                let within = words.take("within").map_or(Ok(WITHIN), seconds)?;
                Self::Reauthenticate { within, who: words.subject(verb, "user")? }
            }
            "rtr" => Self::Rtr {
                impus: words.all("impu"),
                reason: words.one_of(
                    "reason",
                    &REASONS,
                    DeregistrationReason::PermanentTermination,
                )?,
                who: words.subject(verb, "user")?,
            },
            "show" => show(&words)?,
            "subscriber" => subscriber("")?,
            other => {
                return Err(match nearest(other, VERBS) {
                    Some(near) => format!("there is no order `{other}`; did you mean `{near}`?"),
                    None => format!("there is no order `{other}`; orders are:\n{USAGE}"),
                });
            }
        })
    }
}

fn profile_changes(words: &mut Words<'_>) -> Vec<ProfileChange> {
    let mut changes = Vec::new();
    changes.extend(words.all("bar").into_iter().map(ProfileChange::Bar));
    changes.extend(words.all("unbar").into_iter().map(ProfileChange::Unbar));
    changes.extend(words.all("charging").into_iter().map(ProfileChange::Charging));
    changes.extend(words.all("password").into_iter().map(ProfileChange::Password));
    changes
}

/// `call AS TARGET`, `message AS TARGET TEXT…` or `sms AS TARGET TEXT…`.
fn originate(verb: &str, mut words: Words<'_>) -> Result<Order, String> {
    let on_behalf_of = words.take("for").map(str::to_owned);
    words.no_options()?;
    let (node, target, what) = match (verb, words.plain.as_slice()) {
        ("call", [node, target]) => (node, target, Originated::Call),
        ("message", [node, target, text @ ..]) if !text.is_empty() => {
            (node, target, Originated::Message(text.join(" ")))
        }
        ("sms", [node, target, text @ ..]) if !text.is_empty() => {
            (node, target, Originated::ShortMessage(text.join(" ")))
        }
        ("sms", _) => return Err("write `sms AS TARGET TEXT… [--for USER|NUMBER]`".to_owned()),
        ("call", _) => return Err("write `call AS TARGET [--for USER]`".to_owned()),
        _ => return Err("write `message AS TARGET TEXT… [--for USER]`".to_owned()),
    };
    let (node, target) = ((*node).to_owned(), (*target).to_owned());
    Ok(Order::Originate { node, what, target, on_behalf_of })
}

/// `log NODE [FILTER]`.
fn log(words: &Words<'_>) -> Result<Order, String> {
    words.no_options()?;
    match words.plain.as_slice() {
        [node] => Ok(Order::Log { node: (*node).to_owned(), filter: None }),
        [node, filter] => {
            Ok(Order::Log { node: (*node).to_owned(), filter: Some((*filter).to_owned()) })
        }
        _ => Err("write `log NODE` or `log NODE FILTER`, e.g. `log p1 debug`".to_owned()),
    }
}

/// What stands behind `subscriber`: an entry is the rest of the line, as it is.
fn subscriber(rest: &str) -> Result<Order, String> {
    let usage = "write `subscriber add NAME ENTRY`, `subscriber change NAME ENTRY` or \
                 `subscriber remove NAME`; ENTRY as in a lab file, e.g. \
                 {impi: erin, impus: [\"sip:erin@ims.example\"], digest: {password: secret}}";
    let word = |text: &str| {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        (word.to_owned(), rest.trim().to_owned())
    };
    let (what, rest) = word(rest);
    let (name, entry) = word(&rest);
    let change = match (what.as_str(), name.is_empty(), entry.is_empty()) {
        ("add", false, false) => SubscriberChange::Add(entry),
        ("change", false, false) => SubscriberChange::Change(entry),
        ("remove", false, true) => SubscriberChange::Remove,
        _ => return Err(usage.to_owned()),
    };
    Ok(Order::Subscriber { name, change })
}

/// What is not made of words: a rule, an entry.
fn of_whole_line(text: &str) -> Option<Result<Order, String>> {
    let rule = FaultOrder::read(text).map(|rule| rule.map(Order::Fault));
    rule.or_else(|| Some(subscriber(text.trim_start().strip_prefix("subscriber ")?.trim())))
}

fn write_change(f: &mut fmt::Formatter<'_>, name: &str, change: &SubscriberChange) -> fmt::Result {
    match change {
        SubscriberChange::Add(entry) => write!(f, "subscriber add {name} {entry}"),
        SubscriberChange::Change(entry) => write!(f, "subscriber change {name} {entry}"),
        SubscriberChange::Remove => write!(f, "subscriber remove {name}"),
    }
}

fn write_mood(f: &mut fmt::Formatter<'_>, mood: HssMood) -> fmt::Result {
    match mood {
        HssMood::Answers(result) => write!(f, "hss answers {}", result.written()),
        HssMood::BadMac => f.write_str("hss bad-mac"),
        HssMood::Garbage => f.write_str("hss garbage"),
        HssMood::Garbled => f.write_str("hss garbled"),
        HssMood::Late(time) => write!(f, "hss late {}s", time.as_secs()),
        HssMood::Normal => f.write_str("hss normal"),
        HssMood::OldSqn => f.write_str("hss old-sqn"),
        HssMood::Silent => f.write_str("hss silent"),
    }
}

/// What an HSS may be told to be.
const MOODS: [&str; 8] =
    ["answers", "bad-mac", "garbage", "garbled", "late", "normal", "old-sqn", "silent"];

fn mood(words: &Words<'_>) -> Result<HssMood, String> {
    words.no_options()?;
    Ok(match words.plain.as_slice() {
        ["answers", code] => HssMood::Answers(CxResult::read(code)?),
        ["bad-mac"] => HssMood::BadMac,
        ["garbage"] => HssMood::Garbage,
        ["garbled"] => HssMood::Garbled,
        ["late", time] => HssMood::Late(seconds(time)?),
        ["normal"] => HssMood::Normal,
        ["old-sqn"] => HssMood::OldSqn,
        ["silent"] => HssMood::Silent,
        [first, ..] if nearest(first, MOODS).is_some_and(|near| near != *first) => {
            let near = nearest(first, MOODS).unwrap_or_default();
            return Err(format!("`{first}` is nothing an HSS does; did you mean `{near}`?"));
        }
        _ => {
            let line = USAGE.lines().find(|line| line.starts_with("hss")).unwrap_or_default();
            return Err(format!("write `hss normal` or `{line}`"));
        }
    })
}

fn show(words: &Words<'_>) -> Result<Order, String> {
    words.no_options()?;
    let Some((what, of)) = words.plain.split_first() else {
        let known: Vec<&str> = Show::ALL.iter().map(|(word, _)| *word).collect();
        return Err(format!("say what to show: {}", known.join(", ")));
    };
    let of = of.iter().map(|word| (*word).to_owned()).collect();
    Ok(Order::Show { what: find("table", what, &Show::ALL)?, of })
}

fn word_of<T: PartialEq>(list: &[(&'static str, T)], value: &T) -> &'static str {
    list.iter().find(|(_, it)| it == value).map_or("", |(word, _)| word)
}

impl fmt::Display for Order {
    /// The text that reads back as the same order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BearerLost { who, signalling } => {
                write!(f, "bearer {} {who}", if *signalling { "signalling-lost" } else { "lost" })
            }
            Self::Deregister { who, contact, event } => {
                write!(f, "dereg {who} --reason {}", word_of(&EVENTS, event))?;
                contact.iter().try_for_each(|uri| write!(f, " --contact {uri}"))
            }
            Self::Drain { node, on } => {
                write!(f, "drain {node}{}", if *on { "" } else { " --off" })
            }
            Self::Fault(order) => write!(f, "{order}"),
            Self::Forget { who } => write!(f, "forget {who}"),
            Self::Hss { mood, to, times } => {
                write_mood(f, *mood)?;
                to.iter().try_for_each(|to| write!(f, " --to {}", word_of(&CxCommand::ALL, to)))?;
                times.iter().try_for_each(|times| write!(f, " --times {times}"))
            }
            Self::Inject { node, status: None, .. } => write!(f, "inject {node} --off"),
            Self::Inject { node, status: Some(status), method, times } => {
                write!(f, "inject {status} {node}")?;
                method.iter().try_for_each(|method| write!(f, " --to {method}"))?;
                times.iter().try_for_each(|times| write!(f, " --times {times}"))
            }
            Self::Log { node, filter } => {
                write!(f, "log {node}")?;
                filter.iter().try_for_each(|filter| write!(f, " {filter}"))
            }
            Self::Originate { node, what, target, on_behalf_of } => {
                match what {
                    Originated::Call => write!(f, "call {node} {target}"),
                    Originated::Message(text) => write!(f, "message {node} {target} {text}"),
                    Originated::ShortMessage(text) => write!(f, "sms {node} {target} {text}"),
                }?;
                on_behalf_of.iter().try_for_each(|user| write!(f, " --for {user}"))
            }
            Self::HangUp { node } => write!(f, "hangup {node}"),
            Self::Overload { node, retry_after: Some(time) } => {
                write!(f, "overload {node} --retry-after {time}")
            }
            Self::Overload { node, retry_after: None } => write!(f, "overload {node} --off"),
            Self::Policy { who, conduct } => {
                write!(f, "policy {conduct}")?;
                who.iter().try_for_each(|who| write!(f, " --of {who}"))
            }
            Self::Ppr { who, changes } => {
                write!(f, "ppr {who}")?;
                changes.iter().try_for_each(|change| match change {
                    ProfileChange::Bar(impu) => write!(f, " --bar {impu}"),
                    ProfileChange::Charging(uri) => write!(f, " --charging {uri}"),
                    ProfileChange::Password(text) => write!(f, " --password {text}"),
                    ProfileChange::Unbar(impu) => write!(f, " --unbar {impu}"),
                })
            }
            Self::Reauthenticate { who, within } => {
                write!(f, "reauth {who} --within {}s", within.as_secs())
            }
            Self::Rtr { who, impus, reason } => {
                write!(f, "rtr {who} --reason {}", word_of(&REASONS, reason))?;
                impus.iter().try_for_each(|impu| write!(f, " --impu {impu}"))
            }
            Self::Subscriber { name, change } => write_change(f, name, change),
            Self::Show { what, of } => {
                write!(f, "show {}", what.as_str())?;
                of.iter().try_for_each(|text| write!(f, " {text}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_reads_back_as_itself() {
        for text in [
            "dereg alice --reason probation",
            "dereg a@b --reason rejected --contact sip:a@127.0.0.1:5070",
            "drain p1",
            "drain p1 --off",
            "fault list",
            "fault remove p1-2",
            "fault add p1 answers REGISTER from alice with 503, first 2: {Retry-After: \"30\"}",
            "fault add --known p1=127.0.0.1:5060 --known a=sip:a@b|1@b p1 drops INVITE to a",
            "forget alice",
            "hss answers 5012",
            "hss answers 5001 --to UAR --times 1",
            "hss answers base-5003",
            "hss late 7s --to MAR",
            "hss bad-mac --times 2",
            "hss normal",
            "hss silent",
            "inject 408 p1",
            "inject 408 p1 --to REGISTER --times 2",
            "inject p1 --off",
            "call as1 bob --for alice",
            "call as1 tel:+15550100002",
            "message as1 bob good morning --for alice",
            "hangup as1",
            "overload p1 --retry-after 7",
            "overload p1 --off",
            "policy accepts",
            "policy refuses above 64 --of alice",
            "policy late 7s",
            "policy lost after 1500ms",
            "bearer lost alice",
            "bearer signalling-lost alice",
            "ppr alice --bar sip:a@b --unbar tel:+1 --charging aaa://c --password x",
            "reauth alice --within 60s",
            "rtr alice --reason server-change --impu sip:a@b --impu tel:+1",
            "log p1",
            "log p1 cscf_core=debug",
            "subscriber add erin {impi: erin, digest: {password: \"two  words\"}}",
            "subscriber change erin {impi: erin}",
            "subscriber remove erin",
            "show health",
            "show registrations",
            "show refusals alice sip:a@b",
        ] {
            let order: Order = text.parse().expect("an order");
            assert_eq!(order.to_string(), text);
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let text = |text: &str| text.parse::<Order>().map(|order| order.to_string());
        assert_eq!(text("dereg alice"), Ok("dereg alice --reason rejected".into()));
        assert_eq!(text("reauth alice"), Ok("reauth alice --within 60s".into()));
        assert_eq!(text("rtr alice"), Ok("rtr alice --reason permanent".into()));
        assert_eq!(text("overload p1"), Ok("overload p1 --retry-after 30".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let fault = |text: &str| text.parse::<Order>().expect_err("wrong");
        assert_eq!(fault("dereg"), "say which user: `dereg USER`");
        assert_eq!(
            fault("dereg alice --reason tired"),
            "`tired` is no reason; known: deactivated, probation, rejected"
        );
        assert_eq!(fault("inject 200 p1"), "`200` is no status from 300 to 699");
        assert_eq!(fault("inject 408"), "say which node: `inject STATUS NODE`");
        assert_eq!(fault("call as1"), "write `call AS TARGET [--for USER]`");
        assert_eq!(fault("inject"), "say which status: `inject STATUS NODE`");
        assert_eq!(fault("reauth alice --within soon"), "`soon` is no time, e.g. 60s");
        assert_eq!(fault("bearer"), "say what is lost: `bearer lost USER`");
        assert!(fault("policy refuse").starts_with("`refuse` is no policy; write accepts"));
        assert_eq!(fault("forget alice --now 1"), "there is no option --now here");
        assert_eq!(fault("forget alice bob"), "`bob` is not understood here");
        assert_eq!(fault("rtr alice --impu"), "--impu needs a value");
        assert!(fault("sing").starts_with("there is no order `sing`"));
        assert_eq!(fault("derge alice"), "there is no order `derge`; did you mean `dereg`?");
        assert!(fault("hss silnt").ends_with("did you mean `silent`?"));
        assert!(fault("hss").starts_with("write `hss normal` or"));
        assert!(fault("show regstrations").ends_with("did you mean `registrations`?"));
        assert!(fault("show").contains("registrations"));
        assert!(fault("hss answers 7").contains("5012"));
    }
}
