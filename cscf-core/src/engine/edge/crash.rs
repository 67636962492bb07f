//! A node that a rule stops: its connections end, nothing of it is left, and what comes meanwhile
//! is lost; then perhaps a fresh one starts.

use super::FaultEdge;
use crate::engine::{Input, Node, Output};
use crate::hss::Provisioning;
use crate::time::Duration;
use crate::trace::TraceKind;
use crate::transport::ipsec::SaCommand;

impl<N: Node> FaultEdge<N> {
    pub(super) fn crash(&mut self, back_after: Option<Duration>) {
        let conns: Vec<_> = self.flows.keys().copied().collect();
        let sets: Vec<_> = self.sets.keys().copied().collect();
        let told: Vec<Output> = self.outputs.drain(..).collect();
        self.forget_all();
        self.outputs.extend(told);
        self.outputs.extend(conns.into_iter().map(Output::Close));
        let removed = sets.into_iter().map(|id| Output::Security(SaCommand::Remove(id)));
        self.outputs.extend(removed);
        self.trace(TraceKind::State("crashed".to_owned()));
        self.down = Some(back_after.map(|time| self.now + time));
    }

    /// Starts a fresh node if it is time; says whether one runs now.
    pub(super) fn restarts(&mut self) -> bool {
        let due = self.down.flatten().is_some_and(|until| until <= self.now);
        let fresh = due.then(|| self.rebuild.as_mut().and_then(|build| build(self.now))).flatten();
        let Some(fresh) = fresh else {
            if due {
                // Nobody can make one: it stays down.
                self.down = Some(None);
            }
            return false;
        };
        while self.node.poll_output().is_some() {}
        self.node = fresh;
        for what in self.provisioned.clone() {
            // Each was possible before, in this order.
            let _ = self.node.provision(self.now, what);
        }
        self.down = None;
        self.trace(TraceKind::State("restarted".to_owned()));
        true
    }

    /// What has become of a subscription, so that a fresh node hears of it: as much as there are
    /// subscriptions, since the last word about each is enough.
    pub(super) fn keep_in_mind(&mut self, what: Provisioning) {
        let (impi, goes) = match &what {
            Provisioning::Add(_) => return self.provisioned.push(what),
            Provisioning::Change { impi, .. } => (impi.clone(), false),
            Provisioning::Remove { impi } => (impi.clone(), true),
        };
        let is_new = |it: &Provisioning| match it {
            Provisioning::Add(one) => one.private_identities.iter().any(|its| its.impi == impi),
            Provisioning::Change { .. } | Provisioning::Remove { .. } => false,
        };
        let was_new = goes && self.provisioned.iter().any(is_new);
        self.provisioned.retain(|it| match it {
            Provisioning::Change { impi: its, .. } => *its != impi,
            Provisioning::Add(_) => !(goes && is_new(it)),
            Provisioning::Remove { .. } => true,
        });
        if !was_new {
            self.provisioned.push(what);
        }
    }

    /// Nothing is there to hear it.
    pub(super) fn while_down(&mut self, input: &Input) {
        if let Input::Opened(flow) = input {
            self.outputs.extend(flow.conn.map(Output::Close));
        }
    }
}
