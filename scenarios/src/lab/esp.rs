//! ESP in the simulated lab: a packet carries its protection as a value, set by the sender's
//! security associations and checked by the receiver's as an ESP stack checks it (RFC 4303 §3.4):
//! SPI, selectors, integrity, sequence number, lifetime. Nothing is encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use cscf_core::time::Instant;
use cscf_core::transport::ipsec::{Algorithms, EspKeys, SaSet};
use cscf_core::transport::{Flow, SaId};

/// What protects one packet.
#[derive(Clone, Debug)]
pub(super) struct Esp {
    spi: u32,
    sequence: u64,
    algorithms: Algorithms,
    keys: EspKeys,
}

/// Which sequence numbers were seen (RFC 4303 §3.4.3): the newest, and a bit for each of the 64 up
/// to it.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    newest: u64,
    seen: u64,
}

impl Window {
    /// Notes a sequence number; says whether it is new.
    fn take(&mut self, sequence: u64) -> bool {
        if sequence > self.newest {
            let shift = u32::try_from(sequence - self.newest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.newest = sequence;
            return true;
        }
        let Ok(age) = u32::try_from(self.newest - sequence) else { return false };
        let Some(bit) = 1_u64.checked_shl(age) else { return false };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[derive(Debug)]
struct Entry {
    set: SaSet,
    until: Instant,
    sent: u64,
    windows: BTreeMap<u32, Window>,
}

/// The security associations of one node.
#[derive(Debug, Default)]
pub(super) struct Database {
    sets: BTreeMap<SaId, Entry>,
    by_spi: BTreeMap<u32, SaId>,
    /// Protected ports whether or not an association uses them now.
    declared: BTreeSet<SocketAddr>,
}

impl Database {
    /// These addresses are protected ports from now on.
    pub(super) fn declare(&mut self, ports: &[SocketAddr]) {
        self.declared.extend(ports);
    }

    pub(super) fn install(&mut self, now: Instant, set: SaSet) {
        self.remove(set.id);
        let ports = set.local.ports;
        for spi in [ports.spi_client, ports.spi_server] {
            self.by_spi.insert(spi, set.id);
        }
        let until = now + set.lifetime;
        let (sent, windows) = (0, BTreeMap::new());
        self.sets.insert(set.id, Entry { set, until, sent, windows });
    }

    /// Removes a set and gives it.
    pub(super) fn remove(&mut self, id: SaId) -> Option<SaSet> {
        let entry = self.sets.remove(&id)?;
        self.by_spi.retain(|_, of| *of != id);
        Some(entry.set)
    }

    /// Removes all sets: the node is gone, and its associations with it.
    pub(super) fn clear(&mut self) {
        self.sets.clear();
        self.by_spi.clear();
    }

    fn is_protected(&self, local: SocketAddr) -> bool {
        self.declared.contains(&local) || self.sets.values().any(|it| it.set.protects(local))
    }

    /// Whether packets to this address are for the node, by one of its sets.
    pub(super) fn owns(&self, local: SocketAddr) -> bool {
        self.sets.values().any(|it| it.set.protects(local))
    }

    /// The protection of a packet that leaves by this flow, or why it does not leave.
    pub(super) fn protect(&mut self, now: Instant, flow: &Flow) -> Result<Option<Esp>, String> {
        let (local, remote) = (flow.local, flow.remote);
        let Some(id) = flow.sa else {
            return match self.is_protected(local) {
                true => Err(format!("not sent: clear text from protected port {local}")),
                false => Ok(None),
            };
        };
        let Some(entry) = self.sets.get_mut(&id) else {
            return Err(format!("not sent: association set {} is not installed", id.0));
        };
        if now > entry.until {
            return Err(format!("not sent: association set {} has expired", id.0));
        }
        let Some(spi) = entry.set.outbound_spi(local, remote) else {
            return Err(format!("not sent: no association from {local} to {remote}"));
        };
        entry.sent += 1;
        Ok(Some(Esp {
            spi,
            sequence: entry.sent,
            algorithms: entry.set.algorithms,
            keys: entry.set.keys.clone(),
        }))
    }

    /// The set under which a packet arrives, none for clear text, or why it is dropped.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        (local, remote): (SocketAddr, SocketAddr),
        esp: Option<&Esp>,
    ) -> Result<Option<SaId>, String> {
        let Some(esp) = esp else {
            return match self.is_protected(local) {
                true => Err(format!("clear text at protected port {local}")),
                false => Ok(None),
            };
        };
        let spi = esp.spi;
        let id = self.by_spi.get(&spi).copied();
        let Some((id, entry)) = id.and_then(|id| Some((id, self.sets.get_mut(&id)?))) else {
            return Err(format!("ESP: no association with SPI {spi}"));
        };
        if now > entry.until {
            return Err(format!("ESP: the association with SPI {spi} has expired"));
        }
        if esp.algorithms != entry.set.algorithms {
            let (theirs, ours) = (esp.algorithms, entry.set.algorithms);
            return Err(format!("ESP: ICV wrong: SPI {spi} by {theirs}, here {ours}"));
        }
        if esp.keys != entry.set.keys {
            return Err(format!("ESP: ICV wrong: SPI {spi} with other keys"));
        }
        let Some(it) = entry.set.inbound(spi) else {
            return Err(format!("ESP: no association with SPI {spi}"));
        };
        if (it.local, it.remote) != (local, remote) {
            let (theirs, ours) = (it.remote, it.local);
            return Err(format!(
                "ESP: SPI {spi} is for {theirs} to {ours}, not {remote} to {local}"
            ));
        }
        if !entry.windows.entry(spi).or_default().take(esp.sequence) {
            let sequence = esp.sequence;
            return Err(format!("ESP: SPI {spi}, sequence number {sequence} was here before"));
        }
        Ok(Some(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_is_good_once_and_not_for_ever() {
        let mut window = Window::default();
        for (sequence, new) in [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (90, true),
            (3, false),
            (27, true),
        ] {
            assert_eq!(window.take(sequence), new, "{sequence}");
        }
        assert!(!window.take(26), "left of the window");
    }
}
