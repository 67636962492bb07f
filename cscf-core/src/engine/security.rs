//! Security associations in the engine: flows under them, and what becomes of connections when they
//! go (TS 33.203 §7.1). Which there are is the role's business; packets are the host's.

use super::state::{Core, Event};
use super::wire::SendFault;
use super::{Output, ShardEvent};
use crate::clause::ts33203;
use crate::role::ContextId;
use crate::sip::Message;
use crate::time::Instant;
use crate::transport::ipsec::SaCommand;
use crate::transport::{Flow, FlowEvent, SaId, Transport};

use std::net::SocketAddr;

impl Core {
    /// Carries out an order of the role, behind what was sent before.
    pub(super) fn secure(&mut self, now: Instant, command: SaCommand) {
        match &command {
            SaCommand::Install(set) => {
                self.forget_associations(set.id);
                self.addresses.protect(set.local.server(), true);
                self.associations.insert(set.id, (**set).clone());
                self.note(now, ts33203("7.1"), || format!("associations hold: {set}"));
            }
            SaCommand::Remove(id) => {
                // What waits to leave may leave by them.
                self.pump(now);
                for conn in self.outlet.protected_by(*id) {
                    self.close(now, conn, "its security associations are gone");
                }
                if self.forget_associations(*id) {
                    self.note(now, ts33203("7.1"), || {
                        format!("associations removed: set {}", id.0)
                    });
                }
            }
        }
        if !self.settings.shard.is_alone() {
            self.tell_others(&ShardEvent::Security(command.clone()));
        }
        self.outlet.push(Output::Security(command));
    }

    /// The owner of the associations has carried out an order.
    pub(super) fn on_secured(&mut self, now: Instant, command: SaCommand) {
        match command {
            SaCommand::Install(set) => {
                self.forget_associations(set.id);
                self.addresses.protect(set.local.server(), true);
                self.associations.insert(set.id, *set);
            }
            SaCommand::Remove(id) => {
                for conn in self.outlet.protected_by(id) {
                    self.close(now, conn, "its security associations are gone");
                }
                self.forget_associations(id);
            }
        }
    }

    /// Associations that were to be installed do not hold: what would leave by them has failed.
    pub(super) fn on_not_secured(&mut self, now: Instant, set: SaId, why: String) {
        if !self.forget_associations(set) {
            return;
        }
        for conn in self.outlet.protected_by(set) {
            self.close(now, conn, "its security associations do not hold");
        }
        if !self.settings.shard.is_alone() {
            self.tell_others(&ShardEvent::Security(SaCommand::Remove(set)));
        }
        self.refuse(now, ts33203("7.1"), || format!("set {} does not hold: {why}", set.0));
        self.events.push_back(Event::Flow(FlowEvent::NotSecured { set, cause: why }));
    }

    fn forget_associations(&mut self, id: SaId) -> bool {
        let Some(old) = self.associations.remove(&id) else { return false };
        self.addresses.protect(old.local.server(), false);
        self.associations_ended(id);
        true
    }

    /// A flow as its security associations have it: from our client port to the peer's server port.
    /// Flows without any stay as they are.
    pub(super) fn protected_flow(&self, flow: Flow) -> Result<Flow, SendFault> {
        let Some(sa) = flow.sa else { return Ok(flow) };
        let set = self.associations.get(&sa).ok_or(SendFault::NoAssociation)?;
        Ok(match flow.transport {
            Transport::Udp => set.datagram_flow(),
            transport => Flow { transport, ..set.stream_flow() },
        })
    }

    /// The address that names us in the Via of a request on this flow: under security associations
    /// the protected server port (TS 24.229 §5.1.1.2.2, §5.2.6.4).
    pub(super) fn named_by(&self, flow: &Flow) -> SocketAddr {
        let set = flow.sa.and_then(|sa| self.associations.get(&sa));
        set.map_or(flow.local, |set| set.local.server())
    }

    /// Lets the answers to a request leave by another flow.
    pub(super) fn answer_by(&mut self, now: Instant, id: ContextId, flow: Flow) {
        let Some(server) = self.contexts.get(id.0).map(|context| context.server) else { return };
        let Ok(mut flow) = self.protected_flow(flow) else { return };
        if flow.transport.is_reliable() && flow.conn.is_none() {
            let Ok((connected, _)) = self.connect(now, flow) else { return };
            flow = connected;
        }
        self.layer.answer_by(server, flow);
    }

    /// Drops a message that came by another way than its transaction, and tells both.
    pub(super) fn drop_stray(&mut self, now: Instant, flow: &Flow, message: &Message, of: &Flow) {
        let what = match message {
            Message::Request(request) => request.method.as_str().to_owned(),
            Message::Response(response) => format!("response {}", response.status),
        };
        let (came, its) = (flow.protection(), of.protection());
        let reason = format!("{what} {came}, its transaction {its}");
        self.outlet.dropped(now, flow.remote, &reason);
        let remote = flow.remote;
        self.refuse(now, ts33203("7.1"), || format!("{reason}: from {remote}, dropped"));
    }

    /// Leaves a request without any answer.
    pub(super) fn discard(&mut self, now: Instant, id: ContextId) {
        let Some(context) = self.contexts.get(id.0) else { return };
        self.layer.discard(now, context.server, &mut self.outbox);
        self.end(id);
    }
}
