//! Reads a scenario file.

use std::collections::BTreeSet;

use cscf_core::config::{
    DnsConfig, Node, NumberingConfig, Problems, Reader, SecAgree, SubscriberConfig, duration,
    filter_criteria, named_entries, read_faults, read_names, read_node, read_subscriber, read_tree,
};
use cscf_core::ifc::InitialFilterCriteria;
use cscf_core::time::Duration;

use super::{LabChanges, Scenario, StepKind, capture, device, party, shows, steps, words};
use crate::lab::NetworkOptions;

/// Reads a scenario.
///
/// # Errors
///
/// Every mistake in it, with its place.
pub fn read_scenario(source: &str, domain: &str) -> Result<Scenario, Problems> {
    let tree = read_tree(source)?;
    let mut problems = Problems::default();
    let mut reader = Reader::new(&tree, "a scenario", &mut problems);
    let title = reader.required("scenario", &mut problems);
    let title = title.map(|node| words::text(node, &mut problems)).unwrap_or_default();
    let parties = reader.optional("parties");
    let parties =
        parties.map(|node| party::read_all(node, domain, &mut problems)).unwrap_or_default();
    let network = reader.optional("network");
    let network = network.map(|node| network_of(node, &mut problems)).unwrap_or_default();
    let lab = reader.optional("lab");
    let lab = lab.map(|node| lab_of(node, domain, &mut problems)).unwrap_or_default();
    let only = reader.or("only", None, &mut problems, |text| only(text).map(Some));
    let clear_text = reader.or("clear_text", None, &mut problems, |text| {
        let reason = text.strip_prefix("because ").map(str::trim).filter(|it| !it.is_empty());
        let fault = || format!("`{text}` is not understood; write `because …` with the reason");
        reason.map(|reason| Some(reason.to_owned())).ok_or_else(fault)
    });
    let shows = reader.optional("shows");
    let shows = shows.map(|node| shows::read(node, &mut problems)).unwrap_or_default();
    let test = reader.optional("test").map(|node| device::read(node, &mut problems));
    let faults = reader.optional("faults");
    let faults = faults.map(|node| read_faults(node, &mut problems)).unwrap_or_default();
    let steps = reader.required("steps", &mut problems);
    let steps = steps.map(|node| steps::read_all(node, &mut problems)).unwrap_or_default();
    reader.finish(&mut problems);
    capture::check(&steps, &mut problems);
    let only_virtual = only;
    let mut scenario = Scenario {
        title,
        parties,
        network,
        lab,
        only_virtual,
        clear_text,
        test: None,
        shows,
        faults,
        steps,
    };
    if let Some(test) = test {
        device::settle(&mut scenario, test, &mut problems);
    }
    words::check(&scenario, &mut problems);
    if problems.is_empty() { Ok(scenario) } else { Err(problems) }
}

impl Scenario {
    /// The names of all subjects of commands and parties: the UEs that take part.
    #[must_use]
    pub fn ues(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        let named = self.parties.iter().map(|party| &party.name);
        let mut add = |name: &String| {
            if seen.insert(name.clone()) {
                out.push(name.clone());
            }
        };
        named.for_each(&mut add);
        for step in self.all_steps() {
            if let StepKind::Command { ue, .. } = &step.kind {
                add(ue);
            }
        }
        out
    }

    /// Why it cannot run on real sockets: its own reason, else that nobody wants to wait for it.
    #[must_use]
    pub fn only_virtual(&self) -> Option<String> {
        self.only_virtual.clone().or_else(|| self.too_long())
    }

    /// Why it does not run so: in real time, or with packets protected.
    #[must_use]
    pub fn left_out(&self, simulated: bool, protected: bool) -> Option<String> {
        let by_time = self.only_virtual().filter(|_| !simulated);
        let by_time = by_time.map(|reason| format!("virtual time only: {reason}"));
        let clear = self.clear_text.as_ref().filter(|_| protected);
        by_time.or_else(|| clear.map(|reason| format!("expects clear text: {reason}")))
    }

    /// Says how long it waits where that is too long for real time: what it must wait in all, or
    /// may wait for one thing.
    fn too_long(&self) -> Option<String> {
        let mut must = Duration::ZERO;
        let mut may = Duration::ZERO;
        for step in self.all_steps() {
            match &step.kind {
                StepKind::Wait(time) => must += *time,
                StepKind::Never(seen) => must += seen.within,
                StepKind::Expect(seen) => may = may.max(seen.within),
                _ => {}
            }
        }
        let longest = must.max(may);
        let text = format!("it waits {longest:?}; in real time {LIVE_WAIT_MAX:?} at most");
        (longest > LIVE_WAIT_MAX).then_some(text)
    }
}

/// How long a live run may wait.
const LIVE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Reads `virtual, because …`.
fn only(text: &str) -> Result<String, String> {
    let reason = text.strip_prefix("virtual, because ").map(str::trim);
    reason.filter(|reason| !reason.is_empty()).map(str::to_owned).ok_or_else(|| {
        format!("`{text}` is not understood; write `virtual, because …` with the reason")
    })
}

fn percent(text: &str) -> Result<u64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|number| (0.0..=100.0).contains(number))
        .map(|number| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 1000 by the check above"
            )]
            let thousandths = (number * 10.0).round() as u64;
            thousandths
        })
        .ok_or_else(|| format!("`{text}` is no percentage, e.g. 10%"))
}

fn network_of(node: &Node, problems: &mut Problems) -> NetworkOptions {
    let mut reader = Reader::new(node, "the network", problems);
    let default = NetworkOptions::default();
    let network = NetworkOptions {
        delay: reader.or("delay", default.delay, problems, duration),
        jitter: reader.or("jitter", default.jitter, problems, duration),
        loss: reader.or("loss", 0, problems, percent),
        duplicate: reader.or("duplicate", 0, problems, percent),
        reorder: reader.or("reorder", 0, problems, percent),
        ..default
    };
    reader.finish(problems);
    network
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(format!("`{text}` is neither on nor off")),
    }
}

fn allowed(text: &str) -> Result<bool, String> {
    match text {
        "allow" => Ok(true),
        "refuse" => Ok(false),
        _ => on_off(text).map_err(|_| format!("`{text}` is neither allow nor refuse")),
    }
}

/// Whole subscribers, and the filter criteria of those that have no `impi` here.
fn subscribers_of(
    node: &Node,
    domain: &str,
    problems: &mut Problems,
) -> (Vec<SubscriberConfig>, Vec<(String, Vec<InitialFilterCriteria>)>) {
    let (mut whole, mut criteria) = (Vec::new(), Vec::new());
    for (name, _, node) in named_entries(node, "subscribers", problems) {
        let mut reader = Reader::new(node, "a subscriber of the lab file", problems);
        if reader.optional("impi").is_some() {
            whole.extend(read_subscriber(name, node, domain, problems));
            continue;
        }
        let list = reader.required("filter_criteria", problems);
        let list = list.map(|node| filter_criteria(node, problems)).unwrap_or_default();
        reader.finish(problems);
        criteria.push((name.to_owned(), list));
    }
    (whole, criteria)
}

fn lab_of(node: &Node, domain: &str, problems: &mut Problems) -> LabChanges {
    let mut reader = Reader::new(node, "lab", problems);
    let (nodes, subscribers) = (reader.optional("nodes"), reader.optional("subscribers"));
    let nodes = nodes.map(|node| named_entries(node, "nodes", problems)).unwrap_or_default();
    let nodes = nodes.iter().filter_map(|(name, _, node)| read_node(name, node, problems));
    let nodes = nodes.collect();
    let (subscribers, filter_criteria) =
        subscribers.map(|node| subscribers_of(node, domain, problems)).unwrap_or_default();
    let some_switch = |text: &str| on_off(text).map(Some);
    let some_time = |text: &str| duration(text).map(Some);
    let wish = |text: &str| {
        let all = [SecAgree::Off, SecAgree::Optional, SecAgree::Required];
        // An editor's schema cannot tell `off` from `false`.
        let text = if text == "false" { "off" } else { text };
        let found = all.into_iter().find(|it| it.as_str() == text);
        found.map(Some).ok_or_else(|| format!("`{text}` is neither off, optional nor required"))
    };
    let ipsec = reader.or("ipsec", None, problems, wish);
    let changes = LabChanges {
        aka_without_sec_agree: reader
            .or("aka_without_sec_agree", None, problems, |text| allowed(text).map(Some)),
        sec_agree: reader.or("sec_agree", ipsec, problems, wish),
        reg_event_subscription: reader.or("reg_event_subscription", None, problems, some_switch),
        outbound: reader.or("outbound", None, problems, some_switch),
        expires_min: reader.or("expires_min", None, problems, some_time),
        expires_max: reader.or("expires_max", None, problems, some_time),
        nodes,
        interconnect: reader.or("interconnect", None, problems, |text| match text {
            "trusted" => Ok(Some(true)),
            "untrusted" => Ok(Some(false)),
            _ => Err(format!("`{text}` is neither trusted nor untrusted")),
        }),
        numbering: reader.optional("numbering").map(|node| NumberingConfig::read(node, problems)),
        dns: reader.optional("dns").map(|node| DnsConfig::read(node, problems)),
        untrusted: reader
            .optional("untrusted")
            .map(|node| read_names(node, problems))
            .unwrap_or_default(),
        subscribers,
        filter_criteria,
    };
    reader.finish(problems);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_virtual(lines: &str) -> Option<String> {
        let source = format!("scenario: x\n{lines}\n");
        read_scenario(&source, "ims.example").expect("reads").only_virtual()
    }

    #[test]
    fn a_condition_may_name_a_parameter_of_a_sip_header() {
        let read = |step: &str, key: &str| {
            let source = format!("scenario: x\nsteps:\n  - {step}:\n      {key}: absent\n");
            read_scenario(&source, "ims.example")
        };
        let scenario = read("alice receives 401", "WWW-Authenticate;ck").expect("reads");
        let StepKind::Expect(expectation) = &scenario.steps[0].kind else { panic!("expectation") };
        assert_eq!(expectation.fields[0].name, "WWW-Authenticate");
        assert_eq!(expectation.fields[0].parameter.as_deref(), Some("ck"));
        for (step, key) in [
            ("alice receives 401", "WWW-Authenticate;"),
            ("alice receives 401", "WWW-Authenticate;ck;ik"),
            ("alice receives 401", "body;ck"),
            ("hss sends MAA", "SIP-Auth-Data-Item;ck"),
            ("s1 decides TS 24.229 5.4.1.2.2", "Contact;q"),
        ] {
            let problems = read(step, key).expect_err(key);
            assert_eq!(problems.0[0].at.line, 4, "{key}");
        }
    }

    #[test]
    fn what_runs_in_virtual_time_only_says_why() {
        assert_eq!(only_virtual("steps: [alice registers]"), None);
        let said = "only: virtual, because packets carry their SA\nsteps: []";
        assert_eq!(only_virtual(said).as_deref(), Some("packets carry their SA"));
        let long = only_virtual("steps: [wait 59s, s1 sends no MAR within 2s]");
        assert_eq!(long.as_deref(), Some("it waits 61s; in real time 60s at most"));
        assert_eq!(only_virtual("steps: [wait 40s, s1 sends MAR within 40s]"), None);
        for wrong in ["virtual", "live", "virtual, because"] {
            let source = format!("scenario: x\nonly: {wrong}\nsteps: []\n");
            let problems = read_scenario(&source, "ims.example").expect_err(wrong);
            assert_eq!(problems.0[0].at.line, 2);
            assert!(problems.0[0].text.contains("virtual, because …"), "{problems:?}");
        }
    }
}
