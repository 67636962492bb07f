//! Which form of ESP there is here: the kernel's where it is there and this process may use it,
//! else raw sockets, else UDP where both ends are of this program.

use std::fmt;
use std::net::IpAddr;

use super::{Form, Protect, user, xfrm};
use crate::config::{EspBackend, Lab, NodeConfig, NodeRole, SecAgree};

/// A form, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The form.
    pub form: Form,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What it needs for them; none: it has none.
    pub protect: Option<Protect>,
    /// Why, for people.
    pub why: String,
}

/// Chooses for a node of a lab that phones of anybody reach; whoever starts it may say more than
/// the lab does.
///
/// # Errors
///
/// The back-end that was named is not there.
pub fn choose_for(lab: &Lab, node: &NodeConfig, wish: Option<Wish>) -> Result<Chosen, NoForm> {
    let none = |why: String| Ok(Chosen { protect: None, why });
    let agrees = lab.gm.sec_agree != SecAgree::Off
        || lab.subscribers.iter().any(|it| it.ipsec.is_some_and(|wish| wish != SecAgree::Off));
    let backend = match wish {
        _ if node.role != NodeRole::Pcscf => return none("only a P-CSCF has associations".into()),
        Some(Wish::Off) => return none("it was started without".to_owned()),
        _ if !agrees => return none("ipsec: off".to_owned()),
        Some(Wish::By(backend)) if backend != EspBackend::Auto => backend,
        Some(Wish::By(_)) | None => lab.gm.backend,
    };
    let at = node.listen.ip();
    match choose(backend, lab.gm.esp_port, (at, Peers::Anybody)) {
        Ok(choice) => {
            let why = choice.to_string();
            let ports = lab.protected_ports(node);
            Ok(Chosen {
                protect: Some(Protect {
                    form: choice.form,
                    at: node.addresses().map(|it| it.ip()).collect(),
                    ports,
                }),
                why,
            })
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
        EspBackend::Auto => Ok(Chosen { protect: None, why: fault.to_string() }),
        EspBackend::Kernel | EspBackend::Raw | EspBackend::Udp => Err(fault),
    }
}

/// Whether any phone has to have associations.
fn is_required(lab: &Lab) -> bool {
    let wishes = lab.subscribers.iter().filter_map(|it| it.ipsec);
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

/// Whether the kernel can protect packets and this process may tell it to.
///
/// # Errors
///
/// Why not, and how to allow it.
pub fn kernel_can() -> Result<(), String> {
    xfrm::usable().map_err(|fault| fault.to_string())
}

/// Whether this process may open raw sockets of ESP.
///
/// # Errors
///
/// Why not, and how to allow it.
pub fn raw_can() -> Result<(), String> {
    let any = IpAddr::from([0, 0, 0, 0]);
    user::raw_socket(any).map(|_| ()).map_err(|fault| {
        format!("raw sockets cannot be had ({fault}); they need the capability CAP_NET_RAW")
    })
}

/// Chooses the form for a node at this address.
///
/// # Errors
///
/// [`NoForm`] says of each why not.
pub fn choose(wish: EspBackend, port: u16, (at, peers): (IpAddr, Peers)) -> Result<Choice, NoForm> {
    let in_udp = Form::InUdp(port);
    let asked = |form: Form| Choice { form, why: "as the lab says".to_owned() };
    match wish {
        EspBackend::Kernel => kernel_can().map(|()| asked(Form::Kernel)).map_err(NoForm),
        EspBackend::Raw => raw_can().map(|()| asked(Form::Raw)).map_err(NoForm),
        EspBackend::Udp => Ok(asked(in_udp)),
        EspBackend::Auto => {
            let kernel = if at.is_loopback() {
                Err("the kernel protects nothing on loopback".to_owned())
            } else {
                kernel_can()
            };
            let Err(no_kernel) = kernel else {
                let why = "the kernel has it and this process may use it".to_owned();
                return Ok(Choice { form: Form::Kernel, why });
            };
            let Err(no_raw) = raw_can() else {
                return Ok(Choice { form: Form::Raw, why: no_kernel });
            };
            let why = format!("{no_kernel}; {no_raw}");
            match peers {
                Peers::Own => Ok(Choice { form: in_udp, why }),
                Peers::Anybody => Err(NoForm(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        lab.subscribers[0].ipsec = Some(SecAgree::Required);
        without(&lab, EspBackend::Auto, fault()).expect_err("required of a subscriber");
    }
}
