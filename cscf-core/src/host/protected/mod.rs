//! Security associations of a node on real sockets (TS 33.203 §7.1): what becomes of its
//! [`SaCommand`]s, and of the packets under them.
//!
//! There are two back-ends. The kernel's ESP (XFRM) protects what ordinary sockets at the
//! protected ports send and receive. Without it this program speaks ESP itself ([`Endpoint`]): on
//! raw sockets, or in UDP datagrams as RFC 3948 frames them. Then nothing listens at the protected
//! ports but sockets that drop clear text.
//!
//! [`SaCommand`]: crate::transport::ipsec::SaCommand
//! [`Endpoint`]: crate::transport::esp::Endpoint

mod apart;
mod choice;
mod drops;
mod guard;
mod kernel;
#[cfg(test)]
mod tests;
mod turn;
mod user;
pub mod xfrm;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

pub use apart::unshare_network;
pub use choice::{Choice, Chosen, NoForm, Peers, Wish, choose, choose_for, raw_can};
use drops::Telling;
use kernel::Kernel;
use user::User;

use crate::config::EspBackend;
use crate::transport::SaId;
use crate::transport::esp::{DropCause, wireshark};
use crate::transport::ipsec::{SaCommand, SaSet};

/// Sets that are gone and still told with their keys, so that a capture can be read.
const GONE_MAX: usize = 256;

/// How the ESP of a node travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The kernel's own (XFRM).
    Kernel,
    /// This program's, as ESP packets on raw sockets (RFC 4303).
    Raw,
    /// This program's, in UDP datagrams to and from this port (RFC 3948).
    InUdp(u16),
}

impl Form {
    /// What the lab file calls it.
    #[must_use]
    pub const fn backend(self) -> EspBackend {
        match self {
            Self::Kernel => EspBackend::Kernel,
            Self::Raw => EspBackend::Raw,
            Self::InUdp(_) => EspBackend::Udp,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("ESP of the kernel (XFRM)"),
            Self::Raw => f.write_str("ESP packets on raw sockets"),
            Self::InUdp(port) => write!(f, "ESP in UDP datagrams at port {port} (RFC 3948)"),
        }
    }
}

/// What a node needs to have security associations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protect {
    /// How its packets travel.
    pub form: Form,
    /// Where ESP reaches it.
    pub at: Vec<IpAddr>,
    /// Its protected ports that are there before any association.
    pub ports: Vec<SocketAddr>,
}

/// What a node has of security associations, for whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    /// How its packets travel; none: it has no associations.
    pub form: Option<Form>,
    /// The sets that hold.
    pub sets: Vec<SaSet>,
    /// The last sets that no longer do, oldest first.
    pub gone: Vec<SaSet>,
    /// Packets that were dropped, by cause.
    pub dropped: Vec<(DropCause, u64)>,
}

impl Protected {
    /// Its keys as lines of Wireshark's table `esp_sa`, those of sets that are gone first.
    #[must_use]
    pub fn esp_sa(&self) -> Vec<String> {
        let all = self.gone.iter().chain(&self.sets);
        all.flat_map(|set| wireshark::esp_sa(set).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

/// The security associations of one node.
#[derive(Debug, Default)]
pub(super) struct Protection {
    back: Back,
    sets: BTreeMap<SaId, SaSet>,
    gone: VecDeque<SaSet>,
    telling: Telling,
}

/// Who protects packets.
#[derive(Debug, Default)]
enum Back {
    #[default]
    Off,
    Kernel(Box<Kernel>),
    User(Box<User>),
}

impl Protection {
    /// Opens what a node needs: one socket an address for ESP, and the protected ports. The error
    /// names the place that cannot be had.
    pub(super) fn open(protect: &Protect) -> Result<Self, (&'static str, SocketAddr, io::Error)> {
        let back = match protect.form {
            Form::Kernel => Back::Kernel(Box::new(Kernel::open(protect)?)),
            Form::Raw => Back::User(Box::new(User::open(protect, None)?)),
            Form::InUdp(port) => Back::User(Box::new(User::open(protect, Some(port))?)),
        };
        Ok(Self { back, ..Self::default() })
    }

    /// What there is of it.
    pub(super) fn told(&self) -> Protected {
        let (form, dropped) = match &self.back {
            Back::Off => (None, Vec::new()),
            Back::Kernel(kernel) => (Some(Form::Kernel), kernel.dropped()),
            Back::User(user) => (Some(user.form()), user.dropped()),
        };
        Protected {
            form,
            sets: self.sets.values().cloned().collect(),
            gone: self.gone.iter().cloned().collect(),
            dropped,
        }
    }

    /// Keeps in mind which sets hold.
    fn note(&mut self, command: &SaCommand) {
        let gone = match command {
            SaCommand::Install(set) => self.sets.insert(set.id, (**set).clone()),
            SaCommand::Remove(id) => self.sets.remove(id),
        };
        self.gone.extend(gone);
        while self.gone.len() > GONE_MAX {
            self.gone.pop_front();
        }
    }
}
