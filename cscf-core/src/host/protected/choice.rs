//! Which form of ESP there is here: the kernel's where it is there and this process may use it,
//! else raw sockets, else UDP where both ends are of this program.

use std::fmt;
use std::net::IpAddr;

use super::{Form, user, xfrm};
use crate::config::EspBackend;

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
    match xfrm::kernel_can().fault {
        Some(fault) => Err(fault.to_string()),
        None => Ok(()),
    }
}

/// Whether this process may open raw sockets of ESP.
///
/// # Errors
///
/// Why not, and how to allow it.
pub fn raw_can() -> Result<(), String> {
    let any = IpAddr::from([0, 0, 0, 0]);
    user::raw(any).map(|_| ()).map_err(|fault| {
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
