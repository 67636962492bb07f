//! Who the subscribers are to an application server: by identity, by number, by name. Ranges stay
//! ranges.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cscf_core::config::{Lab, SubscriberRange};
use cscf_core::sip::Uri;

use super::key_of;
use super::sms::number_in;

/// The subscribers of a lab.
#[derive(Debug, Default)]
pub(super) struct People {
    /// Names by the keys of identities.
    by_key: BTreeMap<String, String>,
    /// Names by numbers.
    by_number: BTreeMap<String, String>,
    /// Default public identities by name.
    identities: BTreeMap<String, String>,
    ranges: Vec<SubscriberRange>,
}

impl People {
    pub(super) fn of(lab: &Lab) -> Self {
        let mut out =
            Self { ranges: lab.subscribers.ranges().cloned().collect(), ..Self::default() };
        for subscriber in lab.subscribers.listed() {
            for impu in &subscriber.impus {
                let name = || subscriber.name.clone();
                if let Some(key) = key_of(&impu.uri) {
                    out.by_key.insert(key, name());
                }
                if let Some(number) = Uri::parse(&impu.uri).ok().and_then(|uri| number_in(&uri)) {
                    out.by_number.insert(number.to_string(), name());
                }
            }
            if let Some(impu) = subscriber.default_impu() {
                out.identities.insert(subscriber.name.clone(), impu.to_owned());
            }
        }
        out
    }

    /// The name of whom an identity belongs to, by its key.
    pub(super) fn with_key(&self, key: &str) -> Option<Cow<'_, str>> {
        let listed = self.by_key.get(key).map(|name| name.as_str().into());
        listed.or_else(|| {
            self.ranges.iter().find_map(|it| Some(it.imsis.imsi(it.imsis.of_key(key)?).into()))
        })
    }

    /// The name of whom a number belongs to, as it is dialled.
    pub(super) fn with_number(&self, number: &str) -> Option<Cow<'_, str>> {
        let listed = self.by_number.get(number).map(|name| name.as_str().into());
        listed.or_else(|| {
            self.ranges.iter().find_map(|it| Some(it.imsis.imsi(it.imsis.of_user(number)?).into()))
        })
    }

    /// The default public identity of a subscriber by its name.
    pub(super) fn identity(&self, name: &str) -> Option<Cow<'_, str>> {
        let listed = self.identities.get(name).map(|impu| impu.as_str().into());
        listed.or_else(|| {
            self.ranges.iter().find_map(|it| {
                let impus = it.imsis.impus(it.imsis.of_imsi(name)?);
                impus.into_iter().find(|(_, barred)| !barred).map(|(uri, _)| uri.into())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::config::read_lab;

    use super::*;

    #[test]
    fn members_of_a_range_are_known_as_those_who_are_listed() {
        let yaml = Lab::default_lab().to_yaml();
        let (nodes, _) = yaml.split_once("\nsubscribers:").expect("subscribers");
        let key = "00".repeat(16);
        let source = format!(
            "{nodes}\nsubscribers:\n  - range: {{imsi: 001010000000099, count: 10000000, msisdn: \
             +15550199, k: {key}, opc: {key}}}\n  - erin: {{impi: erin, impus: [\"tel:+1777\"], \
             digest: {{password: x}}}}\n"
        );
        let lab = read_lab(&source).expect("a lab");
        let people = People::of(&lab);
        let last = lab.subscriber("001010010000098").expect("the last");
        for impu in &last.impus {
            let key = key_of(&impu.uri).expect("a key");
            assert_eq!(people.with_key(&key).as_deref(), Some("001010010000098"), "{key}");
        }
        let number = last.impus[1].uri.strip_prefix("tel:").expect("a number");
        assert_eq!(people.with_number(number).as_deref(), Some("001010010000098"));
        assert_eq!(people.identity(&last.name).as_deref(), last.default_impu());
        assert_eq!(people.with_number("+1777").as_deref(), Some("erin"));
        assert_eq!(people.identity("001010010000099"), None);
        assert_eq!(people.with_key("tel:+1778"), None);
    }
}
