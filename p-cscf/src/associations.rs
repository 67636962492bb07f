//! The security associations of all UEs (TS 33.203 §7.1 SA table, §7.4.2a): which set belongs to
//! whom, how far it is, and when it ends. Bounded; numbers, SPIs and ports are given out here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use cscf_core::sip::SecurityMechanism;
use cscf_core::time::Instant;
use cscf_core::transport::SaId;
use cscf_core::transport::ipsec::{Ports, SaSet};

use crate::shards::Changes;
use crate::tokens::UeId;

/// How far a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Made by a 401; only REGISTER may come by it (TS 33.203 §7.4.2a).
    Temporary,
    /// Of the latest successful authentication.
    Established,
    /// Of an earlier one: what goes to the UE still goes by it until the UE has used the newer one.
    Superseded,
    /// Of an earlier one, no longer used: it waits for the end of its transactions.
    Retired,
    /// Its user is gone, or it failed: only repeated answers leave by it.
    Closing,
}

/// One set of security associations with what it is for.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The associations.
    pub(crate) set: SaSet,
    /// Whose they are.
    pub(crate) ue: UeId,
    /// The private identity they were made for.
    pub(crate) impi: Box<str>,
    /// How far they are.
    pub(crate) state: State,
    /// Security-Client of the REGISTER that was challenged.
    pub(crate) client: Vec<SecurityMechanism>,
    /// Security-Server as it was sent.
    pub(crate) server: Vec<SecurityMechanism>,
    /// Whether media plane security was asked for as well.
    pub(crate) mediasec: bool,
    /// The nonce of the challenge.
    pub(crate) nonce: Box<str>,
    /// The set by which the challenged REGISTER came, if it was protected.
    pub(crate) before: Option<SaId>,
    /// When it ends.
    pub(crate) expires_at: Instant,
}

impl Record {
    /// Whether it gives way to newer associations of this user with its ports or SPIs: nothing of
    /// the user goes on under it.
    pub(crate) fn gives_way_to(&self, impi: &str) -> bool {
        *self.impi == *impi && matches!(self.state, State::Temporary | State::Closing)
    }
}

/// All sets with their indexes.
#[derive(Debug, Default)]
pub(crate) struct Associations {
    records: BTreeMap<SaId, Record>,
    by_ue: BTreeSet<(UeId, SaId)>,
    by_impi: BTreeSet<(Box<str>, SaId)>,
    /// By the UE's address and protected client port.
    by_client: BTreeSet<(SocketAddr, SaId)>,
    /// By the UE's address and both of its SPIs.
    by_spi: BTreeSet<(IpAddr, u32, SaId)>,
    temporary: BTreeSet<(Instant, SaId)>,
    spis: BTreeSet<u32>,
    count: u32,
    /// Sets that the other engines of the node have to hear of.
    changes: Changes<SaId>,
}

impl Associations {
    /// The number of sets.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// All sets in the order they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// A set.
    #[must_use]
    pub(crate) fn get(&self, id: SaId) -> Option<&Record> {
        self.records.get(&id)
    }

    /// The sets of a UE, oldest first.
    pub(crate) fn of_ue(&self, ue: UeId) -> impl Iterator<Item = &Record> {
        let ids = self.by_ue.range((ue, SaId(0))..).take_while(move |(owner, _)| *owner == ue);
        ids.filter_map(|(_, id)| self.records.get(id))
    }

    /// The sets of a private identity.
    pub(crate) fn of_impi(&self, impi: &str) -> impl Iterator<Item = &Record> {
        let key: Box<str> = impi.into();
        let ids = self.by_impi.range((key.clone(), SaId(0))..);
        ids.take_while(move |(name, _)| *name == key).filter_map(|(_, id)| self.records.get(id))
    }

    /// The sets of a UE's address that have its protected client port or one of its SPIs.
    pub(crate) fn with_ports(&self, addr: IpAddr, ports: Ports) -> impl Iterator<Item = &Record> {
        let client = SocketAddr::new(addr, ports.client);
        let at_port = self.by_client.range((client, SaId(0))..=(client, SaId(u32::MAX)));
        let by_spi = [ports.spi_client, ports.spi_server].into_iter().flat_map(move |spi| {
            self.by_spi.range((addr, spi, SaId(0))..=(addr, spi, SaId(u32::MAX)))
        });
        let ids = at_port.map(|(_, id)| id).chain(by_spi.map(|(_, _, id)| id));
        ids.filter_map(|id| self.records.get(id))
    }

    /// Whether a UE at this address has an established set.
    #[must_use]
    pub(crate) fn protects(&self, addr: IpAddr) -> bool {
        self.by_client
            .range((SocketAddr::new(addr, 0), SaId(0))..)
            .take_while(|(client, _)| client.ip() == addr)
            .filter_map(|(_, id)| self.records.get(id))
            .any(|it| matches!(it.state, State::Established | State::Superseded))
    }

    /// The set that a 401 with this nonce has made for this UE, still waiting.
    #[must_use]
    pub(crate) fn pending(&self, ue: UeId, nonce: &str) -> Option<SaId> {
        let waits = |it: &&Record| it.state == State::Temporary && *it.nonce == *nonce;
        self.of_ue(ue).find(waits).map(|it| it.set.id)
    }

    /// The number of the next set.
    pub(crate) const fn next_id(&mut self) -> SaId {
        self.count = self.count.wrapping_add(1);
        SaId(self.count)
    }

    /// Whether an SPI is given out.
    #[must_use]
    pub(crate) fn has_spi(&self, spi: u32) -> bool {
        self.spis.contains(&spi)
    }

    /// A protected client port of the pool by which nothing goes to this server port of a UE yet,
    /// from `start` on.
    #[must_use]
    pub(crate) fn free_port(&self, pool: &[u16], ue: SocketAddr, start: usize) -> Option<u16> {
        let used: BTreeSet<u16> = self
            .by_client
            .range((SocketAddr::new(ue.ip(), 0), SaId(0))..)
            .take_while(|(client, _)| client.ip() == ue.ip())
            .filter_map(|(_, id)| self.records.get(id))
            .filter(|it| it.set.remote.server() == ue)
            .map(|it| it.set.local.ports.client)
            .collect();
        let (before, after) = pool.split_at(start.checked_rem(pool.len())?);
        after.iter().chain(before).find(|port| !used.contains(port)).copied()
    }

    /// The waiting set that ends first.
    #[must_use]
    pub(crate) fn oldest_temporary(&self) -> Option<SaId> {
        self.temporary.first().map(|(_, id)| *id)
    }

    /// Keeps in mind from now on which sets change.
    pub(crate) fn follow_changes(&mut self) {
        self.changes = Changes::followed();
    }

    /// The sets that have changed, are new or gone, since this was last asked.
    pub(crate) fn take_changes(&mut self) -> BTreeSet<SaId> {
        self.changes.take()
    }

    /// Takes a set over as another engine has it.
    pub(crate) fn copy(&mut self, id: SaId, record: Option<&Record>) {
        self.remove(id);
        if let Some(record) = record {
            self.insert(record.clone());
        }
    }

    /// Adds a set.
    pub(crate) fn insert(&mut self, record: Record) {
        let id = record.set.id;
        self.changes.note(id);
        let ports = record.set.local.ports;
        self.spis.extend([ports.spi_client, ports.spi_server]);
        self.by_ue.insert((record.ue, id));
        self.by_impi.insert((record.impi.clone(), id));
        self.by_client.insert((record.set.remote.client(), id));
        self.by_spi.extend(spis_of(&record));
        if record.state == State::Temporary {
            self.temporary.insert((record.expires_at, id));
        }
        self.records.insert(id, record);
    }

    /// Moves a set on: its state, and the end of its life.
    pub(crate) fn advance(&mut self, id: SaId, state: State, expires_at: Instant) {
        self.changes.note(id);
        let Some(record) = self.records.get_mut(&id) else { return };
        self.temporary.remove(&(record.expires_at, id));
        (record.state, record.expires_at) = (state, expires_at);
        if state == State::Temporary {
            self.temporary.insert((expires_at, id));
        }
    }

    /// Removes a set.
    pub(crate) fn remove(&mut self, id: SaId) -> Option<Record> {
        let record = self.records.remove(&id)?;
        self.changes.note(id);
        let ports = record.set.local.ports;
        self.spis.remove(&ports.spi_client);
        self.spis.remove(&ports.spi_server);
        self.by_ue.remove(&(record.ue, id));
        self.by_impi.remove(&(record.impi.clone(), id));
        self.by_client.remove(&(record.set.remote.client(), id));
        for key in spis_of(&record) {
            self.by_spi.remove(&key);
        }
        self.temporary.remove(&(record.expires_at, id));
        Some(record)
    }
}

/// The keys of a set by the UE's SPIs.
const fn spis_of(record: &Record) -> [(IpAddr, u32, SaId); 2] {
    let SaSet { id, remote, .. } = &record.set;
    let ports = remote.ports;
    [(remote.addr, ports.spi_client, *id), (remote.addr, ports.spi_server, *id)]
}
