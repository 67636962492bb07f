//! Which form of ESP there is here: the kernel's where it is there and this process may use it,
//! else raw sockets, else UDP where both ends are of this program.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Form, Protect, user, xfrm};
use crate::config::{EspBackend, GmSecurity, Lab, NodeConfig, NodeRole, SecAgree};
use crate::transport::ipsec::Algorithms;

/// A form, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The form.
    pub form: Form,
    /// Pairs of algorithms that it cannot protect with.
    pub without: Vec<Algorithms>,
    /// Why, for people.
    pub why: String,
}

/// Nothing here can protect packets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no ESP here: {0}")]
pub struct NoForm(pub String);

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.form, self.why)
    }
}

/// What whoever starts a node says of its associations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It has none.
    Off,
    /// It has, by this back-end.
    By(EspBackend),
}

impl Wish {
    /// The wish of this name: `off`, or that of a back-end.
    ///
    /// # Errors
    ///
    /// The text names none.
    pub fn named(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self::Off) } else { EspBackend::named(text).map(Self::By) }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::By(backend) => backend.as_str(),
        }
    }
}

/// What a node of a lab has of security associations, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// What it needs for them; none: it has none.
    pub protect: Option<Protect>,
    /// Pairs of algorithms that its form cannot protect with: it must not agree on them.
    pub without: Vec<Algorithms>,
    /// Why, for people.
    pub why: String,
}

impl Chosen {
    /// Lets a lab know what there is: a P-CSCF offers nothing else.
    pub fn tell(&self, lab: &mut Lab) {
        lab.carry_esp(self.protect.is_some());
        lab.gm.algorithms.retain(|pair| !self.without.contains(pair));
        // No form here makes tunnels.
        lab.gm.nat_traversal &= self.protect.is_none();
    }
}

/// Chooses for a node of a lab that phones of anybody reach; whoever starts it may say more than
/// the lab does.
///
/// # Errors
///
/// The back-end that was named is not there.
pub fn choose_for(lab: &Lab, node: &NodeConfig, wish: Option<Wish>) -> Result<Chosen, NoForm> {
    let none = |why: String| Ok(Chosen { why, ..Chosen::default() });
    let agrees = lab.gm.sec_agree != SecAgree::Off
        || lab
            .subscribers
            .listed()
            .iter()
            .any(|it| it.ipsec.is_some_and(|wish| wish != SecAgree::Off));
    let backend = match wish {
        _ if node.role != NodeRole::Pcscf => return none("only a P-CSCF has associations".into()),
        Some(Wish::Off) => return none("it was started without".to_owned()),
        _ if !agrees => return none("ipsec: off".to_owned()),
        Some(Wish::By(backend)) if backend != EspBackend::Auto => backend,
        Some(Wish::By(_)) | None => lab.gm.backend,
    };
    let at: Vec<IpAddr> = node.addresses().map(|it| it.ip()).collect();
    match choose(backend, &lab.gm, (&at, Peers::Anybody)) {
        Ok(choice) => {
            let why = choice.to_string();
            let Choice { form, without, .. } = choice;
            let ports = lab.protected_ports(node);
            Ok(Chosen { protect: Some(Protect { form, at, ports }), without, why })
        }
        Err(fault) => without(lab, backend, fault),
    }
}

/// What a P-CSCF does where nothing can protect packets: it agrees on nothing, unless it has to.
fn without(lab: &Lab, backend: EspBackend, fault: NoForm) -> Result<Chosen, NoForm> {
    if is_required(lab) {
        // Phones that have to be protected must not come in clear instead.
        let NoForm(why) = fault;
        let told = "the lab says `ipsec: required`; `cscf doctor` tells how to allow it";
        return Err(NoForm(format!("{why}; {told}")));
    }
    match backend {
        EspBackend::Auto => Ok(Chosen { why: fault.to_string(), ..Chosen::default() }),
        EspBackend::Kernel | EspBackend::Raw | EspBackend::Udp => Err(fault),
    }
}

/// Whether any phone has to have associations.
fn is_required(lab: &Lab) -> bool {
    let wishes = lab.subscribers.listed().iter().filter_map(|it| it.ipsec);
    std::iter::once(lab.gm.sec_agree).chain(wishes).any(|wish| wish == SecAgree::Required)
}

/// Who is at the other end of associations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Phones: they know ESP, and not in UDP.
    Anybody,
    /// This program.
    Own,
}

/// Whether this process may open raw sockets of ESP.
///
/// # Errors
///
/// Why not, and how to allow it.
pub fn raw_can() -> Result<(), String> {
    raw_can_at(&[Ipv4Addr::UNSPECIFIED.into()])
}

/// Whether it may for the families of these addresses.
fn raw_can_at(at: &[IpAddr]) -> Result<(), String> {
    let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    for any in any.iter().filter(|any| at.iter().any(|it| it.is_ipv4() == any.is_ipv4())) {
        user::raw_socket(*any).map_err(|fault| {
            let family = if any.is_ipv4() { "IPv4" } else { "IPv6" };
            format!(
                "raw sockets of {family} cannot be had ({fault}); they need the capability \
                 CAP_NET_RAW"
            )
        })?;
    }
    Ok(())
}

/// The kernel's form, where it can protect what is offered between these addresses and others.
fn kernel(gm: &GmSecurity, at: &[IpAddr], why: &str) -> Result<Choice, String> {
    let cannot = xfrm::usable(&gm.offered(), at).map_err(|fault| fault.to_string())?;
    let told: Vec<String> =
        cannot.iter().map(|(pair, fault)| format!("; without {pair}: {}", fault.reason)).collect();
    let without = cannot.into_iter().map(|(pair, _)| pair).collect();
    Ok(Choice { form: Form::Kernel, without, why: why.to_owned() + &told.concat() })
}

/// Chooses the form for a node at these addresses.
///
/// # Errors
///
/// [`NoForm`] says of each why not.
pub fn choose(
    wish: EspBackend,
    gm: &GmSecurity,
    (at, peers): (&[IpAddr], Peers),
) -> Result<Choice, NoForm> {
    const ASKED: &str = "as the lab says";
    let in_udp = Form::InUdp(gm.esp_port);
    let able = |form: Form, why: String| Choice { form, without: Vec::new(), why };
    match wish {
        EspBackend::Kernel => kernel(gm, at, ASKED).map_err(NoForm),
        EspBackend::Raw => {
            raw_can_at(at).map(|()| able(Form::Raw, ASKED.to_owned())).map_err(NoForm)
        }
        EspBackend::Udp => Ok(able(in_udp, ASKED.to_owned())),
        EspBackend::Auto => {
            let in_kernel = if at.iter().any(IpAddr::is_loopback) {
                Err("the kernel protects nothing on loopback".to_owned())
            } else if peers == Peers::Own {
                Err("the kernel protects nothing between addresses of one machine".to_owned())
            } else {
                kernel(gm, at, "the kernel has it and this process may use it")
            };
            let no_kernel = match in_kernel {
                Ok(choice) => return Ok(choice),
                Err(why) => why,
            };
            let Err(no_raw) = raw_can_at(at) else {
                return Ok(able(Form::Raw, no_kernel));
            };
            let why = format!("{no_kernel}; {no_raw}");
            match peers {
                Peers::Own => Ok(able(in_udp, why)),
                Peers::Anybody => Err(NoForm(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_p_cscf_offers_what_its_form_can_do() {
        let mut lab = Lab::default_lab();
        let pair = |alg, ealg| Algorithms::named(alg, ealg).expect("go together");
        let without = vec![pair("hmac-md5-96", "null"), pair("hmac-sha-1-96", "des-ede3-cbc")];
        let protect = Some(Protect { form: Form::Kernel, at: Vec::new(), ports: Vec::new() });
        let chosen = Chosen { protect, without: without.clone(), why: String::new() };
        chosen.tell(&mut lab);
        assert!(lab.esp && !lab.gm.nat_traversal);
        assert_eq!(lab.gm.offered().len(), 6);
        assert!(!lab.gm.offered().iter().any(|it| without.contains(it)));
    }

    #[test]
    fn the_kernel_is_not_chosen_where_it_protects_nothing() {
        let gm = Lab::default_lab().gm;
        let on_loopback = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([127, 0, 0, 1])];
        for (at, peers) in [(&on_loopback[..], Peers::Anybody), (&on_loopback[..1], Peers::Own)] {
            let form = choose(EspBackend::Auto, &gm, (at, peers)).map(|choice| choice.form);
            assert_ne!(form.ok(), Some(Form::Kernel), "{at:?} {peers:?}");
        }
        let local = xfrm::is_of_this_machine;
        assert!(local([127, 0, 0, 1].into()) && local([127, 9, 9, 9].into()));
        assert!(!local([192, 0, 2, 1].into()));
    }

    #[test]
    fn who_has_to_be_protected_is_not_served_in_clear() {
        let fault = || NoForm("nothing is allowed".to_owned());
        let mut lab = Lab::default_lab();
        let chosen = without(&lab, EspBackend::Auto, fault()).expect("no agreement");
        assert_eq!(chosen.protect, None);
        without(&lab, EspBackend::Raw, fault()).expect_err("it was named");

        lab.gm.sec_agree = SecAgree::Required;
        let told = without(&lab, EspBackend::Auto, fault()).expect_err("required").to_string();
        assert!(told.contains("nothing is allowed; the lab says `ipsec: required`"), "{told}");

        lab.gm.sec_agree = SecAgree::Optional;
        lab.subscribers.listed_mut()[0].ipsec = Some(SecAgree::Required);
        without(&lab, EspBackend::Auto, fault()).expect_err("required of a subscriber");
    }
}
