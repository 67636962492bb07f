//! `--with NAME=BEHAVIOUR`: subscribers of the lab as emulated phones inside a live lab, so that
//! one real phone has a partner.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use cscf_core::config::{Auth, Lab, NodeRole, SecAgree, Start, SubscriberConfig, nearest};
use cscf_core::engine::Engine;
use cscf_core::host::protected::{Form, Protect};
use cscf_core::host::{Addresses, Handle, Host, program};
use cscf_core::time::Duration;
use cscf_core::transport::Transport;

use crate::run::ue_node;
use crate::ue::{Protection, Robot, Ue, UeCommand, UeConfig};

/// How long a robot that answers rings.
const RING_FOR: Duration = Duration::from_secs(1);
/// The status of a robot that rejects: 603 Decline.
const DECLINE: u16 = 603;
/// Addresses of phones on loopback come after this one.
const FIRST_PHONE: u8 = 100;
const BEHAVIOURS: [&str; 5] = ["answers", "busy", "echo", "rejects", "rings"];

/// A subscriber and what its phone does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct With {
    /// The subscriber's name in the lab.
    pub name: String,
    /// What its phone does.
    pub robot: Robot,
}

impl FromStr for With {
    type Err = String;

    /// Reads `NAME=BEHAVIOUR`; a status may follow `rejects`, e.g. `bob=rejects:488`.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = BEHAVIOURS.join(", ");
        let Some((name, behaviour)) = text.split_once('=') else {
            return Err(format!("write NAME=BEHAVIOUR, e.g. bob=answers; behaviours: {known}"));
        };
        let (word, argument) = match behaviour.split_once(':') {
            Some((word, argument)) => (word, Some(argument)),
            None => (behaviour, None),
        };
        let robot = match (word, argument) {
            ("answers", None) => Robot::Answers { after: RING_FOR },
            ("busy", None) => Robot::Busy,
            ("echo", None) => Robot::Echo,
            ("rejects", None) => Robot::Rejects(DECLINE),
            ("rejects", Some(status)) => match status.parse() {
                Ok(status @ 300..=699) => Robot::Rejects(status),
                _ => return Err(format!("`{status}` is no status to reject with: 300 to 699")),
            },
            ("rings", None) => Robot::Rings,
            _ => {
                return Err(match nearest(word, BEHAVIOURS) {
                    Some(near) if near != word => {
                        format!("no phone does `{behaviour}`; did you mean `{near}`?")
                    }
                    _ => format!("no phone does `{behaviour}`; behaviours: {known}"),
                });
            }
        };
        Ok(Self { name: name.to_owned(), robot })
    }
}

/// Looks whether all phones have a subscriber, before anything is started.
///
/// # Errors
///
/// The name that is none, with the one that may have been meant.
pub(super) fn check(lab: &Lab, phones: &[With]) -> Result<(), String> {
    phones.iter().try_for_each(|phone| {
        let subscriber = find(lab, &phone.name)?;
        if has_card(&subscriber) || wish(lab, &subscriber) != SecAgree::Required {
            return Ok(());
        }
        Err(format!(
            "{} authenticates by digest, and the lab says `ipsec: required`, which takes AKA: name \
             another one, or write `ipsec: optional` at this subscriber",
            phone.name
        ))
    })
}

/// Whether a security agreement is wanted of a subscriber: its own word goes before the lab's.
fn wish(lab: &Lab, subscriber: &SubscriberConfig) -> SecAgree {
    subscriber.ipsec.unwrap_or(lab.gm.sec_agree)
}

/// Whether it has the keys of AKA, from which those of IPsec come.
const fn has_card(subscriber: &SubscriberConfig) -> bool {
    !matches!(subscriber.auth, Auth::Digest { .. })
}

fn find<'a>(lab: &'a Lab, name: &str) -> Result<Cow<'a, SubscriberConfig>, String> {
    lab.subscriber(name).ok_or_else(|| match lab.subscribers.nearest(name, []) {
        Some(near) => format!("`{name}` is no subscriber; did you mean `{near}`?"),
        None => format!("`{name}` is no subscriber of the lab"),
    })
}

/// An address for a phone beside the P-CSCF's on loopback: associations are between addresses.
fn own_address(pcscf: IpAddr, index: u8) -> Option<IpAddr> {
    let IpAddr::V4(pcscf) = pcscf else { return None };
    let [a, b, c, d] = pcscf.octets();
    let own = Ipv4Addr::new(a, b, c, FIRST_PHONE.checked_add(index)?);
    (pcscf.is_loopback() && d < FIRST_PHONE).then_some(IpAddr::V4(own))
}

/// Switches the phones on: each gets a port of its own at the P-CSCF's address, or an address of
/// its own where it has security associations, and registers. It offers an agreement unless the lab
/// says `ipsec: off`, as a phone does.
///
/// # Errors
///
/// A name that is no subscriber of the lab; no port.
pub(super) fn switch_on(
    host: &Host,
    lab: &Lab,
    phones: &[With],
    esp: Option<Form>,
) -> Result<Vec<Handle<Engine<Ue>>>, String> {
    let Some(pcscf) = lab.node(NodeRole::Pcscf) else {
        return Err("the lab has no P-CSCF for phones to register at".to_owned());
    };
    let mut handles = Vec::new();
    for (With { name, robot }, index) in phones.iter().zip(1..) {
        let subscriber = find(lab, name)?;
        let mut any = SocketAddr::new(pcscf.listen.ip(), 0);
        let mut config = UeConfig::of_subscriber(lab, &subscriber, &pcscf.sip_uri(), any);
        let mut addresses = Addresses::both(any);
        let wish = wish(lab, &subscriber);
        let own = own_address(any.ip(), index);
        let by_ipsec = wish != SecAgree::Off && has_card(&subscriber) && own.is_some();
        config.security = match by_ipsec {
            true => Protection::Ipsec,
            false if lab.gm.tls && !has_card(&subscriber) => Protection::Tls,
            false => Protection::Off,
        };
        config.tls_pcscfs = vec![format!("sip:{}", pcscf.advertised_for(Transport::Tls))];
        if own.is_none() && wish == SecAgree::Required {
            let at = any.ip();
            return Err(format!(
                "{name} has to be protected (`ipsec: required`), and associations are between two \
                 addresses: only a P-CSCF on 127.0.0.1 to 127.0.0.99 leaves one for it, this one \
                 is at {at}"
            ));
        }
        if let (Some(form), Some(own)) = (esp.filter(|_| by_ipsec), own) {
            any.set_ip(own);
            let protect = Protect { form, at: vec![any.ip()], ports: Vec::new() };
            addresses = Addresses::both(any).protected(Some(protect));
        }
        let sockets = host.open(name, &addresses).map_err(|fault| fault.to_string())?;
        config.address = sockets.address().unwrap_or(any);
        config.robot = *robot;
        let start = Start {
            seed: program::fresh_seed()?,
            unix_at_epoch: host.clock().unix_at_epoch(),
            tracing: true,
        };
        let phone = host.start(ue_node(&config, lab, &start)?, sockets);
        phone.call(|ue, now| ue.command(now, UeCommand::Register { expires: None }));
        handles.push(phone);
    }
    Ok(handles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_are_read_and_wrong_ones_explained() {
        let robot = |text: &str| text.parse::<With>().map(|with| with.robot);
        assert_eq!(robot("bob=busy"), Ok(Robot::Busy));
        assert_eq!(robot("bob=answers"), Ok(Robot::Answers { after: RING_FOR }));
        assert_eq!(robot("bob=rejects"), Ok(Robot::Rejects(603)));
        assert_eq!(robot("bob=rejects:488"), Ok(Robot::Rejects(488)));
        let error = |text: &str| robot(text).expect_err("wrong");
        assert_eq!(error("bob=bussy"), "no phone does `bussy`; did you mean `busy`?");
        assert!(error("bob").starts_with("write NAME=BEHAVIOUR"));
        assert!(error("bob=rejects:200").contains("300 to 699"));
        assert!(error("bob=sleeps well").contains("behaviours: answers"));
    }
}
