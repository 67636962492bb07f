//! What a P-CSCF of a lab does where the standards leave it to the operator: media it permits,
//! the policy function beside it, emergency calls (TS 24.229 §5.2.7, §5.2.10, §6.2).

use super::lab::{domain_name, duration, named_entries, on_off, read_names};
use super::problem::Problems;
use super::tree::{Node, Reader, scalar};
use super::write::{quoted, span};
use crate::policy::Conduct;
use crate::sip::{MediaPolicy, Uri, phone_digits};
use crate::time::Duration;

/// The choices of a P-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// Media and codecs that may pass (TS 24.229 §6.2).
    pub media: MediaPolicy,
    /// How the policy function behaves.
    pub policy: Conduct,
    /// How it behaves towards single users, by name of a subscriber or by private identity.
    pub policy_of: Vec<(String, Conduct)>,
    /// How long it may take.
    pub policy_timeout: Duration,
    /// The Retry-After of refusals for lack of resources.
    pub policy_retry_after: Option<Duration>,
    /// The Retry-After of a 503 to requests for a UE whose signalling bearer is lost; none: 500.
    pub signalling_lost_retry_after: Option<Duration>,
    /// How often UEs whose flow is kept alive are to send keep-alives (RFC 5626 §5.4): they are
    /// told so, and a silent flow counts as failed; none: neither.
    pub flow_timer: Option<Duration>,
    /// The network this P-CSCF is in; none: the home network.
    pub network: Option<String>,
    /// Emergency numbers with the service each stands for, e.g. `sos.police` (RFC 5031).
    pub emergency_numbers: Vec<(String, String)>,
    /// URIs of the E-CSCFs, tried in order.
    pub e_cscfs: Vec<String>,
    /// What becomes of an emergency call of a UE that is registered for normal calls, at home.
    pub emergency_calls: EmergencyCalls,
    /// Whether who is not registered may make emergency calls (TS 24.229 §5.2.10.2).
    pub anonymous_emergency_calls: bool,
}

/// What becomes of an emergency call over a normal registration (TS 24.229 §5.2.10.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmergencyCalls {
    /// It goes to the E-CSCF.
    #[default]
    Forward,
    /// 380: the UE shall register for it.
    Register,
    /// 380: the UE shall take another domain.
    Elsewhere,
}

impl EmergencyCalls {
    const ALL: [(&'static str, Self); 3] =
        [("forward", Self::Forward), ("register", Self::Register), ("elsewhere", Self::Elsewhere)];
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            media: MediaPolicy::default(),
            policy: Conduct::Accepts,
            policy_of: Vec::new(),
            policy_timeout: Duration::from_secs(5),
            policy_retry_after: None,
            signalling_lost_retry_after: None,
            flow_timer: None,
            network: None,
            emergency_numbers: Vec::new(),
            e_cscfs: Vec::new(),
            emergency_calls: EmergencyCalls::Forward,
            anonymous_emergency_calls: false,
        }
    }
}

impl EdgeConfig {
    pub(super) fn read(reader: &mut Reader<'_>, problems: &mut Problems) -> Self {
        let default = Self::default();
        let mut names = |key: &'static str, what: &str, fine: fn(&str) -> bool| {
            reader.optional(key).map(|node| list(node, (what, fine), problems))
        };
        let media = names("allowed_media", "media type, e.g. audio", is_token);
        let codecs = names("allowed_codecs", "codec, e.g. AMR-WB", is_token);
        let media = MediaPolicy { media, codecs };
        let e_cscfs = names("e_cscf", "SIP URI, e.g. sip:127.0.0.1:5090", is_sip);
        let numbers = reader.optional("emergency_numbers");
        let policy_of = reader.optional("policy_of");
        Self {
            media,
            policy: reader.or("policy", default.policy, problems, str::parse),
            policy_of: policy_of.map(|node| conducts(node, problems)).unwrap_or_default(),
            policy_timeout: reader.or("policy_timeout", default.policy_timeout, problems, duration),
            policy_retry_after: reader
                .or("policy_retry_after", None, problems, |text| duration(text).map(Some)),
            signalling_lost_retry_after: reader.or(
                "signalling_lost_retry_after",
                None,
                problems,
                |text| duration(text).map(Some),
            ),
            flow_timer: reader.or("flow_timer", None, problems, flow_timer),
            network: reader.or("network", None, problems, |text| domain_name(text).map(Some)),
            emergency_numbers: numbers.map(|node| services(node, problems)).unwrap_or_default(),
            e_cscfs: e_cscfs.unwrap_or_default(),
            emergency_calls: reader.or(
                "emergency_calls",
                default.emergency_calls,
                problems,
                |text| super::lab::choice(text, &EmergencyCalls::ALL),
            ),
            anonymous_emergency_calls: reader.or(
                "anonymous_emergency_calls",
                false,
                problems,
                on_off,
            ),
        }
    }

    /// The keys of a node that are not at their defaults, as they are read.
    pub(super) fn written(&self) -> String {
        let default = Self::default();
        let mut out = String::new();
        let mut say = |differs: bool, key: &str, value: String| {
            if differs {
                out += &format!(", {key}: {value}");
            }
        };
        let list = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            format!("[{}]", names.join(", "))
        };
        let MediaPolicy { media, codecs } = &self.media;
        for (key, names) in [("allowed_media", media), ("allowed_codecs", codecs)] {
            say(names.is_some(), key, list(names.as_deref().unwrap_or_default()));
        }
        say(self.policy != default.policy, "policy", quoted(&self.policy.to_string()));
        let of = self.policy_of.iter();
        let of = of.map(|(who, it)| format!("{}: {}", quoted(who), quoted(&it.to_string())));
        let of: Vec<String> = of.collect();
        say(!of.is_empty(), "policy_of", format!("{{{}}}", of.join(", ")));
        let timeout = self.policy_timeout;
        say(timeout != default.policy_timeout, "policy_timeout", span(timeout));
        for (key, after) in [
            ("policy_retry_after", self.policy_retry_after),
            ("signalling_lost_retry_after", self.signalling_lost_retry_after),
            ("flow_timer", self.flow_timer),
        ] {
            say(after.is_some(), key, after.map(span).unwrap_or_default());
        }
        say(self.network.is_some(), "network", self.network.clone().unwrap_or_default());
        let numbers = self.emergency_numbers.iter();
        let numbers = numbers.map(|(number, service)| format!("{}: {service}", quoted(number)));
        let numbers: Vec<String> = numbers.collect();
        say(!numbers.is_empty(), "emergency_numbers", format!("{{{}}}", numbers.join(", ")));
        say(!self.e_cscfs.is_empty(), "e_cscf", list(&self.e_cscfs));
        let calls = self.emergency_calls;
        let word = EmergencyCalls::ALL.iter().find(|(_, it)| *it == calls);
        let word = word.map_or("", |(word, _)| word);
        say(calls != default.emergency_calls, "emergency_calls", word.to_owned());
        say(self.anonymous_emergency_calls, "anonymous_emergency_calls", "on".to_owned());
        out
    }
}

/// `off`, or whole seconds.
fn flow_timer(text: &str) -> Result<Option<Duration>, String> {
    const BOUNDS: std::ops::RangeInclusive<u64> = 1..=86_400;
    if matches!(text, "off" | "false") {
        return Ok(None);
    }
    let time = duration(text).map_err(|fault| format!("{fault}; or off"))?;
    let whole = Duration::from_secs(time.as_secs()) == time && BOUNDS.contains(&time.as_secs());
    let fault = || format!("`{text}` is no Flow-Timer: whole seconds, 1s to 24h, or off");
    whole.then_some(Some(time)).ok_or_else(fault)
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_sip(text: &str) -> bool {
    Uri::parse(text).is_ok_and(|uri| uri.is_sip())
}

/// Names of a list, or one, each of the right form.
fn list(
    node: &Node,
    (what, is_fine): (&str, fn(&str) -> bool),
    problems: &mut Problems,
) -> Vec<String> {
    let names = read_names(node, problems);
    for (at, name) in names.iter().filter(|(_, name)| !is_fine(name)) {
        problems.push(*at, format!("`{name}` is no {what}"), None);
    }
    names.into_iter().map(|(_, name)| name).collect()
}

fn conducts(node: &Node, problems: &mut Problems) -> Vec<(String, Conduct)> {
    let entries = named_entries(node, "policy_of", problems).into_iter();
    let read = |(who, _, node): (&str, _, &Node)| {
        scalar(node, problems, str::parse).map(|conduct| (who.to_owned(), conduct))
    };
    entries.filter_map(read).collect()
}

/// The services of numbers: `sos` or one of its kinds.
fn services(node: &Node, problems: &mut Problems) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (number, at, node) in named_entries(node, "emergency_numbers", problems) {
        if phone_digits(number).is_empty() {
            problems.push(at, format!("`{number}` is no number, e.g. \"112\""), None);
        }
        let service = scalar(node, problems, |text| {
            let fine = text == "sos" || text.strip_prefix("sos.").is_some_and(is_token);
            let fault =
                || format!("`{text}` is no emergency service; write sos or e.g. sos.police");
            if fine { Ok(text.to_owned()) } else { Err(fault()) }
        });
        out.extend(service.map(|service| (phone_digits(number), service)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::lab::{Lab, read_lab};
    use super::*;

    fn all() -> EdgeConfig {
        EdgeConfig {
            media: MediaPolicy {
                media: Some(vec!["audio".to_owned()]),
                codecs: Some(vec!["AMR".to_owned(), "telephone-event".to_owned()]),
            },
            policy: Conduct::RefusesAbove(64),
            policy_of: vec![("alice".to_owned(), Conduct::Late(Duration::from_millis(1_500)))],
            policy_timeout: Duration::from_secs(2),
            policy_retry_after: Some(Duration::from_secs(9)),
            signalling_lost_retry_after: Some(Duration::from_secs(8)),
            flow_timer: Some(Duration::from_secs(25)),
            network: Some("visited.example".to_owned()),
            emergency_numbers: vec![("110".to_owned(), "sos.police".to_owned())],
            e_cscfs: vec!["sip:127.0.0.1:5090".to_owned()],
            emergency_calls: EmergencyCalls::Elsewhere,
            anonymous_emergency_calls: true,
        }
    }

    #[test]
    fn every_choice_is_read_as_it_is_written() {
        for edge in [EdgeConfig::default(), all()] {
            let mut lab = Lab::default_lab();
            let p1 = lab.nodes.iter_mut().find(|node| node.name == "p1").expect("p1");
            p1.edge = edge;
            assert_eq!(read_lab(&lab.to_yaml()), Ok(lab));
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place() {
        let lab = Lab::default_lab().to_yaml();
        for (keys, text, help) in [
            ("allowed_codecs: [\"AMR 12\"]", "`AMR 12` is no codec, e.g. AMR-WB", ""),
            (
                "policy: refuse",
                "`refuse` is no policy; write accepts, refuses, refuses above 64 (kbit/s), late 2s, silent, or lost after 10s",
                "",
            ),
            (
                "policy_off: accepts",
                "unknown key `policy_off` in a node",
                "did you mean `policy_of`?",
            ),
            (
                "policy_of: {alise: refuses}",
                "`alise` is no subscriber of the lab",
                "did you mean `alice`?",
            ),
            ("flow_timer: 500ms", "`500ms` is no Flow-Timer: whole seconds, 1s to 24h, or off", ""),
            ("e_cscf: nobody", "`nobody` is no SIP URI, e.g. sip:127.0.0.1:5090", ""),
            (
                "emergency_numbers: {\"110\": police}",
                "`police` is no emergency service; write sos or e.g. sos.police",
                "",
            ),
            (
                "emergency_calls: forwards",
                "`forwards` is not known here; did you mean `forward`?",
                "",
            ),
        ] {
            let wrong = lab.replace("127.0.0.1:5060\"}", &format!("127.0.0.1:5060\", {keys}}}"));
            assert_ne!(wrong, lab);
            let line = wrong.lines().position(|line| line.contains(keys)).expect("a line");
            let problems = read_lab(&wrong).expect_err(keys);
            let [problem] = problems.0.as_slice() else { panic!("{keys}: {problems:?}") };
            assert_eq!((problem.text.as_str(), problem.at.line as usize), (text, line + 1));
            assert_eq!(problem.help.as_deref().unwrap_or_default(), help);
        }
    }
}
