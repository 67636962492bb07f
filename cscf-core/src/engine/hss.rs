//! The HSS of [`crate::hss`] as a [`Node`], so that a lab or a host drives it like any other.

use crate::cx::CxCommand;
use crate::engine::{Input, Node, Output};
use crate::hss::{
    HssCommand, HssInput, HssNode, HssOutput, Misbehaviour, Provisioning, StateFault,
};
use crate::operator::{
    HssMood, Order, OrderAnswer, OrderError, OrderResult, ProfileChange, Samples, Show,
    SubscriberChange, Table, Workload,
};
use crate::time::Instant;

impl Node for HssNode {
    fn name(&self) -> &str {
        Self::name(self)
    }

    /// Everything but connections and time means nothing to an HSS.
    fn handle_input(&mut self, now: Instant, input: Input) {
        let input = match input {
            Input::Bytes { conn, bytes, .. } => HssInput::Bytes(conn, bytes),
            Input::Closed { conn, cause } => HssInput::Closed(conn, cause),
            Input::Opened(flow) => HssInput::Opened(flow),
            Input::Timeout => HssInput::Timeout,
            Input::Dropped { remote, reason } => return self.dropped(now, remote, reason),
            Input::Answer(..)
            | Input::Datagram(_)
            | Input::Demand(..)
            | Input::NotSecured { .. }
            | Input::Policy(_)
            | Input::Shard(_)
            | Input::Unreachable { .. } => return,
        };
        Self::handle_input(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Some(match Self::poll_output(self)? {
            HssOutput::Close(conn) => Output::Close(conn),
            HssOutput::Trace(event) => Output::Trace(event),
            HssOutput::Write(conn, bytes) => Output::Write { conn, bytes },
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn shut_down(&mut self, now: Instant) {
        Self::handle_input(self, now, HssInput::Command(HssCommand::Shutdown));
    }

    fn is_unkept(&self) -> bool {
        Self::is_unkept(self)
    }

    fn kept(&mut self) -> String {
        Self::kept(self)
    }

    fn restore(&mut self, now: Instant, kept: &str) -> Result<(), StateFault> {
        Self::restore(self, now, kept)
    }

    fn provision(&mut self, now: Instant, what: Provisioning) -> OrderResult {
        let done = Self::provision(self, now, what);
        done.map(OrderAnswer::Done).map_err(OrderError::Refused)
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        let (command, text) = match order {
            // What comes anew is read from an entry of a lab file, by who knows those.
            Order::Subscriber { name, change: SubscriberChange::Remove } => {
                return Node::provision(self, now, Provisioning::Remove { impi: name.clone() });
            }
            Order::Rtr { who, impus, reason } => {
                known(self, who)?;
                let (impi, impus, info) = (who.clone(), impus.clone(), String::new());
                let command = HssCommand::Deregister { impi, impus, reason: *reason, info };
                (command, format!("RTR for {who}: {reason:?}"))
            }
            Order::Hss { mood, to, times } => {
                (misbehaviour(*mood, *to, *times), format!("the HSS is told: {order}"))
            }
            Order::Ppr { who, changes } => {
                known(self, who)?;
                for command in changed(self, who, changes)? {
                    Self::handle_input(self, now, HssInput::Command(command));
                }
                return Ok(OrderAnswer::Done(format!("PPR for {who}")));
            }
            Order::Show { what: Show::Refusals, of } => {
                let table = super::orders::refusals(self.refusals());
                return Ok(OrderAnswer::Table(table.only(of)));
            }
            Order::Show { what: Show::Subscribers, of } => {
                return Ok(OrderAnswer::Table(subscribers(self, of)));
            }
            Order::Show { what: Show::Health, .. } => {
                return Ok(OrderAnswer::Table(health(self)));
            }
            Order::Show { what: Show::Metrics, .. } => {
                return Ok(OrderAnswer::Table(metrics(self)));
            }
            _ => return Err(OrderError::NotHere),
        };
        Self::handle_input(self, now, HssInput::Command(command));
        Ok(OrderAnswer::Done(text))
    }
}

/// Rows shown of the subscriptions at most.
const ROWS_MAX: usize = 1_000;

fn known(hss: &HssNode, impi: &str) -> Result<(), OrderError> {
    if hss.store().has_impi(impi) {
        Ok(())
    } else {
        Err(OrderError::refused(format!("the HSS does not know {impi}")))
    }
}

/// An HSS is never drained; its peers are those who ask it.
fn health(hss: &HssNode) -> Table {
    let mut table = super::orders::health(&Workload::NONE);
    for name in hss.peers() {
        super::orders::peer(&mut table, name, true);
    }
    table
}

fn metrics(hss: &HssNode) -> Table {
    let mut samples = Samples::default();
    super::orders::workload(&Workload::NONE, &mut samples);
    super::orders::answers(hss.answers(), &mut samples);
    super::orders::refused(hss.refusals(), &mut samples);
    for (state, count) in hss.store().states_count() {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        samples.add("cscf_subscriptions", &[("state", &state.to_string())], count);
    }
    let mut table = samples.into_table();
    for name in hss.peers() {
        super::orders::peer(&mut table, name, true);
    }
    table
}

fn subscribers(hss: &HssNode, of: &[String]) -> Table {
    let mut table = Table::new(&["impi", "state", "s_cscf", "sqn", "impus"]);
    for one in hss.store().states(of, ROWS_MAX) {
        table.push([
            one.impi,
            one.registration.to_string(),
            one.server.unwrap_or_default(),
            one.sqn.unwrap_or_default(),
            one.impus.join(", "),
        ]);
    }
    table.only(of)
}

const fn misbehaviour(mood: HssMood, command: Option<CxCommand>, times: Option<u32>) -> HssCommand {
    let how = match mood {
        HssMood::Answers(result) => Misbehaviour::Answer(result),
        HssMood::BadMac => Misbehaviour::BadMac,
        HssMood::Garbage => Misbehaviour::Garbage,
        HssMood::Garbled => Misbehaviour::GarbledData,
        HssMood::Late(time) => Misbehaviour::Late(time),
        HssMood::Normal => return HssCommand::Behave,
        HssMood::OldSqn => Misbehaviour::OldSqn,
        HssMood::Silent => Misbehaviour::Silent,
    };
    HssCommand::Misbehave { command, how, times }
}

/// What is to be done so that a user has these changes and its S-CSCF is told; without changes its
/// profile is pushed as it is.
fn changed(
    hss: &HssNode,
    impi: &str,
    changes: &[ProfileChange],
) -> Result<Vec<HssCommand>, OrderError> {
    let nothing = || OrderError::refused(format!("{impi} has no public identity"));
    let (impu, mut service_profiles) = hss.store().services(impi).ok_or_else(nothing)?;
    let (mut commands, mut push) = (Vec::new(), changes.is_empty());
    for change in changes {
        let impi = impi.to_owned();
        let (wanted, barred) = match change {
            ProfileChange::Bar(wanted) => (wanted, true),
            ProfileChange::Unbar(wanted) => (wanted, false),
            ProfileChange::Charging(ccf) => {
                commands.push(HssCommand::ChangeCharging { impi, ccf: ccf.clone() });
                continue;
            }
            ProfileChange::Password(password) => {
                let password = password.clone();
                commands.push(HssCommand::ChangePassword { impi, password });
                continue;
            }
        };
        let found = service_profiles
            .iter_mut()
            .flat_map(|profile| &mut profile.public_identities)
            .find(|one| one.identity == *wanted);
        let Some(identity) = found else {
            return Err(OrderError::refused(format!("{impi} has no public identity {wanted}")));
        };
        identity.barred = barred;
        push = true;
    }
    if push {
        commands.push(HssCommand::ChangeProfile { impu, service_profiles });
    }
    Ok(commands)
}
