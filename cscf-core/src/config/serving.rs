//! What an S-CSCF of a lab does where the standards leave it to the operator (TS 24.229 §5.4).

use super::lab::{choice, duration, named_entries, on_off};
use super::problem::Problems;
use super::subscribers::Subscribers;
use super::tree::{Node, Reader, Value, scalar};
use super::write::{quoted, span};
use crate::auth::Algorithm;
use crate::ifc::PROFILE_MAX;
use crate::time::Duration;

/// The AKA algorithms an S-CSCF can challenge with.
const AKA: [(&str, Algorithm); 3] = [
    ("AKAv1-MD5", Algorithm::AKAV1_MD5),
    ("AKAv2-MD5", Algorithm::AKAV2_MD5),
    ("AKAv2-SHA-256", Algorithm::AKAV2_SHA_256),
];

/// What `breadth` may be.
const BREADTH: [(&str, Breadth); 2] =
    [("fall_back", Breadth::FallBack), ("refuse", Breadth::Refuse)];

/// The choices of an S-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingConfig {
    /// Authentication vectors asked for at a time, 1 to 8 (SIP-Number-Auth-Items).
    pub vectors_per_request: u32,
    /// Which protected REGISTER of a user is challenged again: every n-th; 0 none
    /// (TS 24.229 §5.4.1.2.2).
    pub reauthenticate_every: u32,
    /// How old the authentication of a user may be when it registers again; none means any.
    pub reauthenticate_after: Option<Duration>,
    /// The AKA algorithms of challenges, most preferred first (TS 24.229 §5.4.1.2.1A).
    pub aka_algorithms: Vec<Algorithm>,
    /// Those of single users, by name of a subscriber or by private identity.
    pub aka_algorithms_of: Vec<(String, Vec<Algorithm>)>,
    /// What a REGISTER is answered when the HSS cannot be asked.
    pub hss_failure: HssFailure,
    /// Flows that one instance of a user may have (TS 24.229 §5.4.1.2.2).
    pub flows_max: u32,
    /// Whether a Path that nobody says to understand is refused (RFC 3327 §5.3).
    pub strict_path: bool,
    /// Feature-Caps of the 200 to REGISTER (RFC 6809).
    pub feature_caps: Option<String>,
    /// Bytes of a user profile that can be kept (TS 29.228 §6.1.2.1).
    pub profile_max: u32,
    /// Whether data for restoration are left with the HSS and fetched again (TS 23.380 §4).
    pub restoration: bool,
    /// Whether users of SIP digest prove their other requests, too (TS 24.229 §5.4.3.6).
    pub proxy_authentication: bool,
    /// What the media profiles of subscribers allow, by number (TS 24.229 §6.3): kinds such as
    /// `audio`, or kinds with a codec, `audio/AMR-WB`. A profile without entry allows everything.
    pub media_profiles: Vec<(u32, Vec<String>)>,
    /// What becomes of a request for more contacts at a time than its Max-Breadth allows.
    pub breadth: Breadth,
}

/// What becomes of a request for more contacts at a time than its Max-Breadth allows
/// (RFC 5393 §5.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breadth {
    /// Only so many are tried at a time, the others after them.
    #[default]
    FallBack,
    /// 440.
    Refuse,
}

/// What a REGISTER is answered when the HSS cannot be asked (TS 24.229 §5.4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HssFailure {
    /// 500 with Retry-After of this time.
    RetryAfter(Duration),
    /// 504.
    TimedOut,
}

impl Default for ServingConfig {
    fn default() -> Self {
        Self {
            vectors_per_request: 1,
            reauthenticate_every: 0,
            reauthenticate_after: None,
            aka_algorithms: vec![Algorithm::AKAV1_MD5],
            aka_algorithms_of: Vec::new(),
            hss_failure: HssFailure::TimedOut,
            flows_max: 4,
            strict_path: false,
            feature_caps: None,
            profile_max: u32::try_from(PROFILE_MAX).unwrap_or(u32::MAX),
            restoration: false,
            proxy_authentication: false,
            media_profiles: Vec::new(),
            breadth: Breadth::default(),
        }
    }
}

impl HssFailure {
    fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["504"] => Ok(Self::TimedOut),
            ["500", "after", time @ ..] => duration(&time.concat()).map(Self::RetryAfter),
            _ => Err(format!("`{text}` is no answer here; write 504, or 500 after 10s")),
        }
    }
}

impl std::fmt::Display for HssFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RetryAfter(time) => write!(f, "500 after {}s", time.as_secs()),
            Self::TimedOut => f.write_str("504"),
        }
    }
}

impl ServingConfig {
    pub(super) fn read(reader: &mut Reader<'_>, problems: &mut Problems) -> Self {
        let default = Self::default();
        let list = reader.optional("aka_algorithms").map(|node| algorithms(node, problems));
        let by_user = reader.optional("aka_algorithms_of").map(|node| by_user(node, problems));
        let media = reader.optional("media_profiles").map(|node| media_profiles(node, problems));
        Self {
            vectors_per_request: reader
                .or("vectors_per_request", 1, problems, |text| within(text, 1, 8)),
            reauthenticate_every: reader.or("reauthenticate_every", 0, problems, |text| {
                if text == "off" { Ok(0) } else { within(text, 1, 1_000_000) }
            }),
            reauthenticate_after: reader.or("reauthenticate_after", None, problems, |text| {
                if text == "off" { Ok(None) } else { duration(text).map(Some) }
            }),
            aka_algorithms: list.filter(|list| !list.is_empty()).unwrap_or(default.aka_algorithms),
            aka_algorithms_of: by_user.unwrap_or_default(),
            hss_failure: reader.or("hss_failure", default.hss_failure, problems, HssFailure::read),
            flows_max: reader
                .or("flows_max", default.flows_max, problems, |text| within(text, 1, 64)),
            strict_path: reader.or("strict_path", false, problems, on_off),
            feature_caps: reader.or("feature_caps", None, problems, feature_caps),
            profile_max: reader.or("profile_max", default.profile_max, problems, |text| {
                within(text, 1, default.profile_max)
            }),
            restoration: reader.or("restoration", false, problems, on_off),
            proxy_authentication: reader.or("proxy_authentication", false, problems, on_off),
            media_profiles: media.unwrap_or_default(),
            breadth: reader.or("breadth", default.breadth, problems, |text| choice(text, &BREADTH)),
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
        let on = |value: bool| if value { "on" } else { "off" }.to_owned();
        let (mine, its) = (self, &default);
        let vectors = mine.vectors_per_request;
        say(vectors != its.vectors_per_request, "vectors_per_request", vectors.to_string());
        let every = mine.reauthenticate_every;
        say(every != its.reauthenticate_every, "reauthenticate_every", every.to_string());
        let after = mine.reauthenticate_after;
        say(after.is_some(), "reauthenticate_after", after.map(span).unwrap_or_default());
        let list = &mine.aka_algorithms;
        say(*list != its.aka_algorithms, "aka_algorithms", names(list));
        let users = mine.aka_algorithms_of.iter();
        let users = users.map(|(who, list)| format!("{}: {}", quoted(who), names(list)));
        let users: Vec<String> = users.collect();
        say(!users.is_empty(), "aka_algorithms_of", format!("{{{}}}", users.join(", ")));
        say(mine.hss_failure != its.hss_failure, "hss_failure", mine.hss_failure.to_string());
        say(mine.flows_max != its.flows_max, "flows_max", mine.flows_max.to_string());
        say(mine.strict_path, "strict_path", on(mine.strict_path));
        let caps = mine.feature_caps.as_deref();
        say(caps.is_some(), "feature_caps", quoted(caps.unwrap_or_default()));
        say(mine.profile_max != its.profile_max, "profile_max", mine.profile_max.to_string());
        say(mine.restoration, "restoration", on(mine.restoration));
        let proves = mine.proxy_authentication;
        say(proves, "proxy_authentication", on(proves));
        let named = BREADTH.iter().find(|(_, value)| *value == mine.breadth);
        let named = named.map_or("", |(name, _)| name);
        say(mine.breadth != its.breadth, "breadth", named.to_owned());
        let media = mine.media_profiles.iter();
        let media = media.map(|(id, kinds)| format!("{id}: [{}]", kinds.join(", ")));
        let media: Vec<String> = media.collect();
        say(!media.is_empty(), "media_profiles", format!("{{{}}}", media.join(", ")));
        out
    }
}

/// The users of `aka_algorithms_of` and `policy_of` who are no subscribers of the lab; `nodes` is
/// what the file says of its nodes.
pub(super) fn unknown_users(
    nodes: &Node,
    known: impl Fn(&str) -> bool,
    subscribers: &Subscribers,
    problems: &mut Problems,
) {
    let Value::Map(nodes) = &nodes.value else { return };
    let keys = nodes.iter().filter_map(|node| match &node.node.value {
        Value::Map(keys) => Some(keys),
        Value::Scalar(_) | Value::Seq(_) => None,
    });
    let names_users = |key: &str| matches!(key, "aka_algorithms_of" | "policy_of");
    for entry in keys.flatten().filter(|entry| names_users(&entry.key)) {
        let Value::Map(users) = &entry.node.value else { continue };
        for user in users.iter().filter(|user| !known(&user.key)) {
            let near = subscribers.nearest(&user.key, []);
            let near = near.map(|near| format!("did you mean `{near}`?"));
            problems.push(user.at, format!("`{}` is no subscriber of the lab", user.key), near);
        }
    }
}

fn names(list: &[Algorithm]) -> String {
    let names: Vec<String> = list.iter().map(ToString::to_string).collect();
    format!("[{}]", names.join(", "))
}

fn within(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("`{text}` is no number from {min} to {max}"))
}

/// A value of Feature-Caps stands in a header: one line, of the form `*;+tag` (RFC 6809 §6.3).
fn feature_caps(text: &str) -> Result<Option<String>, String> {
    let fine = text.starts_with("*;+") && !text.chars().any(char::is_control);
    let fault = || format!("`{text}` is no value of Feature-Caps, e.g. *;+g.3gpp.icsi-ref");
    if fine { Ok(Some(text.to_owned())) } else { Err(fault()) }
}

fn algorithms(node: &Node, problems: &mut Problems) -> Vec<Algorithm> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, "here must be a list, e.g. [AKAv2-SHA-256, AKAv1-MD5]", None);
        return Vec::new();
    };
    if items.is_empty() {
        problems.push(node.at, "an S-CSCF needs at least one algorithm", None);
    }
    let read = |item| scalar(item, problems, |text| choice(text, &AKA));
    items.iter().filter_map(read).collect()
}

fn by_user(node: &Node, problems: &mut Problems) -> Vec<(String, Vec<Algorithm>)> {
    let entries = named_entries(node, "aka_algorithms_of", problems);
    let entries = entries.into_iter();
    entries.map(|(who, _, node)| (who.to_owned(), algorithms(node, problems))).collect()
}

fn media_profiles(node: &Node, problems: &mut Problems) -> Vec<(u32, Vec<String>)> {
    let mut out = Vec::new();
    for (id, at, node) in named_entries(node, "media_profiles", problems) {
        let Value::Seq(items) = &node.value else {
            problems.push(node.at, "here must be a list, e.g. [audio, video/H264]", None);
            continue;
        };
        let kind = |text: &str| {
            let fine = |it: char| it.is_ascii_alphanumeric() || "-/.".contains(it);
            let known = !text.is_empty() && text.chars().all(fine);
            known.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no kind of media"))
        };
        let kinds = items.iter().filter_map(|item| scalar(item, problems, kind)).collect();
        match id.parse() {
            Ok(id) => out.push((id, kinds)),
            Err(_) => problems.push(at, format!("`{id}` is no number of a profile"), None),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::lab::{Lab, read_lab};
    use super::*;

    fn all() -> ServingConfig {
        ServingConfig {
            vectors_per_request: 3,
            reauthenticate_every: 2,
            reauthenticate_after: Some(Duration::from_secs(600)),
            aka_algorithms: vec![Algorithm::AKAV2_SHA_256, Algorithm::AKAV1_MD5],
            aka_algorithms_of: vec![("alice".to_owned(), vec![Algorithm::AKAV2_MD5])],
            hss_failure: HssFailure::RetryAfter(Duration::from_secs(7)),
            flows_max: 2,
            strict_path: true,
            feature_caps: Some("*;+g.3gpp.icsi-ref=\"x\"".to_owned()),
            profile_max: 2_000,
            restoration: true,
            proxy_authentication: true,
            media_profiles: vec![(1, vec!["audio".to_owned(), "video/H264".to_owned()])],
            breadth: Breadth::Refuse,
        }
    }

    #[test]
    fn every_choice_is_read_as_it_is_written() {
        for serving in [ServingConfig::default(), all()] {
            let mut lab = Lab::default_lab();
            let s1 = lab.nodes.iter_mut().find(|node| node.name == "s1").expect("s1");
            s1.serving = serving;
            assert_eq!(read_lab(&lab.to_yaml()), Ok(lab));
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place() {
        let lab = Lab::default_lab().to_yaml();
        for (keys, text, help) in [
            ("vectors_per_request: 9", "`9` is no number from 1 to 8", ""),
            ("reauthenticate_after: 5", "`5` needs a unit: ms, s, min or h", ""),
            ("hss_failure: 503", "`503` is no answer here; write 504, or 500 after 10s", ""),
            (
                "aka_algorithms: [AKAv2-MD4]",
                "`AKAv2-MD4` is not known here; did you mean `AKAv2-MD5`?",
                "",
            ),
            ("aka_algorithms: []", "an S-CSCF needs at least one algorithm", ""),
            ("restoration: onn", "`onn` is not known here; did you mean `on`?", ""),
            (
                "feature_caps: \"*;+a\\nVia: x\"",
                "`*;+a\nVia: x` is no value of Feature-Caps, e.g. *;+g.3gpp.icsi-ref",
                "",
            ),
            ("flow_max: 3", "unknown key `flow_max` in a node", "did you mean `flows_max`?"),
            (
                "aka_algorithms_of: {alise: [AKAv1-MD5]}",
                "`alise` is no subscriber of the lab",
                "did you mean `alice`?",
            ),
        ] {
            let wrong = lab.replace("127.0.0.1:6060\"}", &format!("127.0.0.1:6060\", {keys}}}"));
            assert_ne!(wrong, lab);
            let line = wrong.lines().position(|line| line.contains(keys)).expect("a line");
            let problems = read_lab(&wrong).expect_err(keys);
            let [problem] = problems.0.as_slice() else { panic!("{keys}: {problems:?}") };
            assert_eq!((problem.text.as_str(), problem.at.line as usize), (text, line + 1));
            assert_eq!(problem.help.as_deref().unwrap_or_default(), help);
        }
        let other = lab.replace("127.0.0.1:4060\"}", "127.0.0.1:4060\", strict_path: on}");
        let problems = read_lab(&other).expect_err("an I-CSCF");
        assert_eq!(problems.0[0].text, "unknown key `strict_path` in a node");
    }
}
