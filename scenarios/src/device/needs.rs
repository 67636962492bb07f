//! Whether a device can be judged by a case: what the case needs of it, who it is, and how long it
//! takes.

use std::borrow::Cow;

use cscf_core::config::{Auth, Lab, SubscriberConfig};

use super::{Case, Device, Options};
use crate::script::{DUT, Need, Scenario};

/// Why the device cannot be judged by this case; `scenario` is the case with the device's own
/// subscriber.
pub(super) fn why_skipped(
    case: &Case,
    scenario: &Scenario,
    lab: &Lab,
    options: &Options,
) -> Option<String> {
    let needs = scenario.test.as_ref().map(|test| test.needs.as_slice()).unwrap_or_default();
    let lacks = needs.iter().find(|need| options.cannot.contains(need));
    let lacks = lacks.map(|need| format!("the device cannot: {}", need.word()));
    let why = lacks.or_else(|| taken(case, scenario)).or_else(|| secret(needs, scenario, lab));
    if why.is_some() || matches!(options.device, Device::Own(_)) {
        return why;
    }
    if needs.contains(&Need::Security) && !options.ipsec {
        return Some("needs security associations; say `--ipsec` for them".to_owned());
    }
    let only = if needs.contains(&Need::Long) {
        scenario.only_virtual.clone()
    } else {
        scenario.only_virtual()
    };
    if let Some(reason) = only {
        return Some(format!("runs in virtual time only: {reason}"));
    }
    needs.iter().find_map(|need| {
        let seldom =
            matches!(need, Need::Long | Need::Nr | Need::Pcscfs | Need::Retries | Need::Video);
        let word = need.word();
        let why = || format!("needs {word}; say `--can {word}` if it is so");
        (seldom && !options.can.contains(need)).then(why)
    })
}

/// The name of the subscriber that the device is.
fn name(scenario: &Scenario) -> &str {
    let party = scenario.parties.iter().find(|party| party.is_device());
    party.and_then(|party| party.of.as_ref()).map_or("", |(_, name)| name.as_str())
}

/// The subscriber that the device is, as the case has it.
pub(super) fn subscriber<'a>(
    scenario: &'a Scenario,
    lab: &'a Lab,
) -> Option<Cow<'a, SubscriberConfig>> {
    let party = scenario.parties.iter().find(|party| party.is_device())?;
    let name = name(scenario);
    let own = scenario.lab.subscribers.iter().find(|it| it.name == name);
    party.subscriber.as_ref().or(own).map(Cow::Borrowed).or_else(|| lab.subscriber(name))
}

/// Says where the subscriber of the device is somebody else's in the case, or the case has prepared
/// another one.
fn taken(case: &Case, scenario: &Scenario) -> Option<String> {
    let (own, usual) = (name(scenario), name(&case.scenario));
    let others = scenario.ues();
    let mut others = others.iter().filter(|other| *other != DUT);
    let is_own = |other: &String| {
        let party = scenario.parties.iter().find(|party| party.name == *other);
        party.and_then(|party| party.of.as_ref()).map_or(other, |(_, name)| name) == own
    };
    if let Some(other) = others.find(|other| is_own(other)) {
        return Some(format!("`{other}` calls and is called as {own}; the device is that, too"));
    }
    let lab = &scenario.lab;
    let changed = lab.filter_criteria.iter().map(|(name, _)| name);
    let mut changed = changed.chain(lab.subscribers.iter().map(|it| &it.name));
    (own != usual && changed.any(|name| name == usual))
        .then(|| format!("its lab is made for {usual} as the device, not {own}"))
}

/// Says where the case needs a card or a password, and the device has the other.
fn secret(needs: &[Need], scenario: &Scenario, lab: &Lab) -> Option<String> {
    let subscriber = subscriber(scenario, lab);
    let has_card = subscriber.is_some_and(|it| !matches!(it.auth, Auth::Digest { .. }));
    let name = name(scenario);
    needs.iter().find_map(|need| match need {
        Need::Aka if !has_card => Some(format!("needs a card, and {name} has a password")),
        Need::Digest if has_card => Some(format!("needs a password, and {name} has a card")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{all_cases, played_by};
    use super::*;

    fn skipped(case: &str, subscriber: Option<&str>, device: Device) -> Option<String> {
        let lab = Lab::default_lab();
        let cases = all_cases(&lab).expect("reads");
        let case = cases.iter().find(|it| it.name == case).expect("there");
        let options = Options {
            suites: Vec::new(),
            cases: Vec::new(),
            device,
            subscriber: subscriber.map(str::to_owned),
            can: Vec::new(),
            cannot: vec![Need::Preconditions],
            seed: 1,
            ipsec: false,
            lab: None,
            out: std::path::PathBuf::new(),
            junit: None,
            github: false,
        };
        let scenario = played_by(&case.scenario, subscriber);
        why_skipped(case, &scenario, &lab, &options)
    }

    #[test]
    fn a_case_is_skipped_for_the_device_that_it_would_have() {
        let program = || Device::Program("./client".to_owned());
        let own = || Device::Own(None);
        for (case, subscriber, device, part) in [
            ("ct-8.1-digest", None, program(), ""),
            ("ct-8.1", None, program(), ""),
            ("ct-9.1", Some("carol"), own(), "needs a card"),
            ("ct-8.1-digest", Some("alice"), own(), "needs a password"),
            ("ct-12.12a", Some("bob"), program(), "`bob` calls"),
            ("ct-18.2", Some("carol"), own(), "made for alice"),
            ("ct-8.11-408", None, program(), "--can retries"),
            ("ct-8.11-408", None, own(), ""),
            ("ct-16.x", None, own(), "cannot: preconditions"),
        ] {
            let why = skipped(case, subscriber, device).unwrap_or_default();
            assert_eq!(why.is_empty(), part.is_empty(), "{case}: {why}");
            assert!(why.contains(part), "{case}: {why}");
        }
    }
}
