//! A scenario that judges a device: the key `test`, the party `dut`, and steps about it. What the
//! device sends and receives is looked at where it reaches and leaves its P-CSCF, because of a real
//! device nothing else can be seen.

use cscf_core::config::{Node, Position, Problems, Reader, Value, nearest};

use super::{Expectation, Party, Scenario, Seen, Step, StepKind, party, sentence, words};

/// The party that is the device under test.
pub const DUT: &str = "dut";
/// The subscriber that the device is, where nobody says otherwise.
const SUBSCRIBER: &str = "alice";
/// The P-CSCF of the device.
const PCSCF: &str = "p1";

/// What a scenario says of itself as a case of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCase {
    /// The entry of the catalogue, e.g. `CT-8.1`.
    pub id: String,
    /// Where it stands written what the device must do.
    pub clause: String,
    /// What the device must be able to do, so that it can be judged.
    pub needs: Vec<Need>,
}

/// What a case needs of the device, or of the time one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A card: IMS AKA.
    Aka,
    /// Calls.
    Calls,
    /// A password: SIP digest.
    Digest,
    /// More time than a test on real sockets takes: several minutes.
    Long,
    /// New radio as its access.
    Nr,
    /// A second P-CSCF that the device knows.
    Pcscfs,
    /// Preconditions and reliable provisional responses.
    Preconditions,
    /// A subscription to its own registration state.
    RegEvent,
    /// It registers again by itself after a failure, which it may and need not.
    Retries,
    /// Security associations with the P-CSCF.
    Security,
    /// Short messages over IP.
    Sms,
    /// Video.
    Video,
}

impl Need {
    /// All needs with their words.
    pub const NAMED: [(&str, Self); 12] = [
        ("aka", Self::Aka),
        ("calls", Self::Calls),
        ("digest", Self::Digest),
        ("long", Self::Long),
        ("nr", Self::Nr),
        ("p-cscfs", Self::Pcscfs),
        ("preconditions", Self::Preconditions),
        ("reg-event", Self::RegEvent),
        ("retries", Self::Retries),
        ("security", Self::Security),
        ("sms", Self::Sms),
        ("video", Self::Video),
    ];

    /// The need with this word.
    ///
    /// # Errors
    ///
    /// The words there are.
    pub fn named(word: &str) -> Result<Self, String> {
        let found = Self::NAMED.iter().find(|(name, _)| *name == word);
        found.map(|(_, need)| *need).ok_or_else(|| {
            let names = || Self::NAMED.iter().map(|(name, _)| *name);
            match nearest(word, names()) {
                Some(near) => format!("unknown need `{word}`; did you mean `{near}`?"),
                None => {
                    let known: Vec<&str> = names().collect();
                    format!("unknown need `{word}`; known: {}", known.join(", "))
                }
            }
        })
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = Self::NAMED.iter().find(|(_, need)| *need == self);
        found.map_or("", |(name, _)| *name)
    }
}

/// What stands under `test`, with the steps of its preamble.
pub(super) struct Test {
    case: DeviceCase,
    preamble: Vec<Step>,
}

/// Reads `test: {id, clause, needs, preamble}`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Test {
    let mut reader = Reader::new(node, "test", problems);
    let id = reader.required("id", problems);
    let id = id.map(|node| words::text(node, problems)).unwrap_or_default();
    let clause = reader.required("clause", problems);
    let clause = clause.map(|node| words::text(node, problems)).unwrap_or_default();
    let needs = reader.optional("needs").map(|node| needs(node, problems)).unwrap_or_default();
    let preamble = reader.optional("preamble");
    let preamble = preamble.map(|node| preamble_of(node, problems)).unwrap_or_default();
    reader.finish(problems);
    Test { case: DeviceCase { id, clause, needs }, preamble }
}

fn needs(node: &Node, problems: &mut Problems) -> Vec<Need> {
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
    };
    let mut out = Vec::new();
    for item in items {
        match Need::named(item.text().unwrap_or_default()) {
            Ok(need) => out.push(need),
            Err(fault) => problems.push(item.at, fault, None),
        }
    }
    out
}

/// The steps before those of the case: the generic procedure C.2 of TS 34.229-1. What is not
/// reached there is none of the case's business.
fn preamble_of(node: &Node, problems: &mut Problems) -> Vec<Step> {
    const REGISTERED: [&str; 3] = [
        "dut registers",
        "when dut sends REGISTER within 60s",
        "when p1 sends 200 for REGISTER to dut within 60s",
    ];
    const SUBSCRIBED: [&str; 3] = [
        "when dut sends SUBSCRIBE within 60s",
        "when p1 sends 200 for SUBSCRIBE to dut",
        "when dut sends 200 for NOTIFY",
    ];
    let sentences: Vec<&str> = match node.text().unwrap_or_default() {
        "registered" => REGISTERED.to_vec(),
        "subscribed" => REGISTERED.into_iter().chain(SUBSCRIBED).collect(),
        text => {
            let fault = format!("`{text}` is no preamble: registered or subscribed");
            problems.push(node.at, fault, None);
            return Vec::new();
        }
    };
    sentences.into_iter().filter_map(|text| step(node.at, text)).collect()
}

fn step(at: Position, text: &str) -> Option<Step> {
    let (when, sentence) = strip_when(text);
    let kind = sentence::read(sentence).ok()?;
    let (text, proves, uses) = (text.to_owned(), Vec::new(), Vec::new());
    Some(Step { at, text, kind, when, clause: None, proves, uses })
}

/// Takes `when` off a sentence: what it expects is a condition of the case, not its verdict.
pub(super) fn strip_when(text: &str) -> (bool, &str) {
    text.strip_prefix("when ").map_or((false, text), |rest| (true, rest))
}

/// Makes a scenario with `test` what it says: its preamble, the party of the device, and the steps
/// about the device as steps about its P-CSCF.
pub(super) fn settle(scenario: &mut Scenario, test: Test, problems: &mut Problems) {
    if !scenario.parties.iter().any(|party| party.name == DUT) {
        scenario.parties.insert(0, party::plain(DUT));
    }
    for party in scenario.parties.iter_mut().filter(|party| party.name == DUT) {
        let usual = || (Position::default(), SUBSCRIBER.to_owned());
        party.of = Some(party.of.take().unwrap_or_else(usual));
    }
    scenario.steps.splice(0..0, test.preamble);
    move_to_edge(&mut scenario.steps, problems);
    scenario.test = Some(test.case);
}

fn move_to_edge(steps: &mut [Step], problems: &mut Problems) {
    for step in steps {
        match &mut step.kind {
            StepKind::Together(branches) => {
                branches.iter_mut().for_each(|it| move_to_edge(&mut it.steps, problems));
            }
            StepKind::Expect(seen) | StepKind::Never(seen) if seen.node == DUT => {
                if let Err(fault) = look_at_the_edge(seen) {
                    problems.push(step.at, fault, None);
                }
            }
            _ => {}
        }
    }
}

/// `dut sends X` is `p1 receives X from dut`.
fn look_at_the_edge(seen: &mut Expectation) -> Result<(), String> {
    let Seen::Message { received, peer, .. } = &mut seen.what else {
        return Err("of a device only messages can be seen: `dut sends …`, `dut receives …`".into());
    };
    *received = !*received;
    seen.node = peer.replace(DUT.to_owned()).unwrap_or_else(|| PCSCF.to_owned());
    Ok(())
}

impl Party {
    /// Whether it is the device under test.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.name == DUT
    }
}

impl Expectation {
    /// Whether it is about a message of the device: one that it sends, or one that is sent to it.
    #[must_use]
    pub fn is_about_device(&self) -> bool {
        matches!(&self.what, Seen::Message { peer: Some(peer), .. } if peer == DUT)
    }

    /// Whether it is about a message that the device sends.
    #[must_use]
    pub fn is_of_device(&self) -> bool {
        let received = matches!(self.what, Seen::Message { received: true, .. });
        received && self.is_about_device()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StepKind, read_scenario};
    use super::*;

    fn read(lines: &str) -> Result<Scenario, Problems> {
        read_scenario(&format!("scenario: x\n{lines}"), "ims.example")
    }

    #[test]
    fn a_case_looks_at_the_device_where_its_messages_reach_the_network() {
        let scenario = read(
            "test: {id: CT-8.1, clause: 34.229-1 8.1, needs: [aka, security], preamble: registered}\n\
             steps: [dut sends BYE, dut receives 200 for BYE from p2, when bob sends 180]",
        )
        .expect("reads");
        let case = scenario.test.as_ref().expect("a case");
        assert_eq!(case.needs, [Need::Aka, Need::Security]);
        let of: Vec<_> = scenario.parties.iter().filter_map(|party| party.of.as_ref()).collect();
        assert_eq!(of.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["alice"]);
        let seen: Vec<(&str, bool, bool)> = scenario
            .steps
            .iter()
            .filter_map(|step| match &step.kind {
                StepKind::Expect(seen) => {
                    Some((seen.node.as_str(), seen.is_of_device(), step.when))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("p1", true, true),
                ("p1", false, true),
                ("p1", true, false),
                ("p2", false, false),
                ("bob", false, true)
            ]
        );
    }

    #[test]
    fn what_a_case_cannot_say_is_said_with_its_place() {
        for (lines, line, part) in [
            ("test: {id: CT-8.1}\nsteps: []", 2, "needs `clause`"),
            ("test: {id: x, clause: y, needs: [akka]}\nsteps: []", 2, "did you mean `aka`"),
            ("test: {id: x, clause: y, preamble: up}\nsteps: []", 2, "registered or subscribed"),
            ("test: {id: x, clause: y}\nsteps: [dut is registered]", 3, "only messages"),
            ("steps: [when alice registers]", 2, "`when`"),
        ] {
            let problems = read(lines).expect_err(lines);
            assert_eq!(problems.0[0].at.line, line, "{lines}");
            assert!(problems.0[0].text.contains(part), "{problems:?}");
        }
    }
}
