//! Orders of the operator at a P-CSCF and what it shows.

use cscf_core::operator::{Order, OrderAnswer, OrderError, OrderResult, Show, Table};
use cscf_core::role::{Actions, Env, Role as _};
use cscf_core::time::Instant;

use crate::{Command, Pcscf, Timer};

impl Pcscf {
    /// Obeys an order that has a part for a P-CSCF.
    pub(crate) fn obey(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut Actions<Timer>,
    ) -> OrderResult {
        let (command, text) = match order {
            Order::Drain { on, .. } => {
                let text =
                    if *on { "new UEs are sent elsewhere (305)" } else { "new UEs may come" };
                (Command::Drain(*on), text.to_owned())
            }
            Order::Overload { retry_after, .. } => {
                let text = match retry_after {
                    Some(time) => format!("new work gets 503, Retry-After {time} s"),
                    None => "new work is taken".to_owned(),
                };
                (Command::Overload(*retry_after), text)
            }
            Order::Show { what, of } => return self.show(env.now, *what, of),
            _ => return Err(OrderError::NotHere),
        };
        self.on_command(env, command, out);
        Ok(OrderAnswer::Done(text))
    }

    fn show(&self, now: Instant, what: Show, of: &[String]) -> OrderResult {
        let table = match what {
            Show::Registrations => self.registration_table(now),
            Show::Dialogs => self.dialog_table(now),
            Show::Sas => self.association_table(now),
            Show::Challenges
            | Show::Health
            | Show::Keys
            | Show::Metrics
            | Show::Refusals
            | Show::Subscribers
            | Show::Transactions => return Err(OrderError::NotHere),
        };
        Ok(OrderAnswer::Table(table.only(of)))
    }

    fn registration_table(&self, now: Instant) -> Table {
        let mut table =
            Table::new(&["impi", "impu", "contact", "expires_s", "flow", "mechanism", "term_ioi"]);
        for ue in self.bindings.iter() {
            let flow = ue.flow.to_string();
            if !ue.is_registered() {
                let left = ue.pending_until.since(now).as_secs().to_string();
                let (impu, contact) = (String::new(), "(no answer yet)".to_owned());
                let (by, home) = (ue.mechanism.as_str().to_owned(), String::new());
                table.push([ue.impi().to_owned(), impu, contact, left, flow.clone(), by, home]);
            }
            for one in &ue.registrations {
                let left = one.expires_at.since(now).as_secs().to_string();
                let (impu, contact) = (one.aor.to_string(), one.contact.to_string());
                let by = ue.mechanism.as_str().to_owned();
                let home = one.term_ioi.as_deref().unwrap_or_default().to_owned();
                table.push([ue.impi().to_owned(), impu, contact, left, flow.clone(), by, home]);
            }
        }
        table
    }

    /// The sets of security associations; their keys never leave this node.
    fn association_table(&self, now: Instant) -> Table {
        let mut table = Table::new(&[
            "impi",
            "set",
            "state",
            "algorithms",
            "mode",
            "ue",
            "ue_ports",
            "ue_spis",
            "p_ports",
            "p_spis",
            "expires_s",
        ]);
        let both = |client: u32, server: u32| format!("{client}|{server}");
        for record in self.associations.iter() {
            let set = &record.set;
            let (ours, theirs) = (set.local.ports, set.remote.ports);
            table.push([
                record.impi.to_string(),
                set.id.0.to_string(),
                format!("{:?}", record.state).to_lowercase(),
                set.algorithms.to_string(),
                set.mode.as_str().to_owned(),
                set.remote.addr.to_string(),
                both(theirs.client.into(), theirs.server.into()),
                both(theirs.spi_client, theirs.spi_server),
                both(ours.client.into(), ours.server.into()),
                both(ours.spi_client, ours.spi_server),
                record.expires_at.since(now).as_secs().to_string(),
            ]);
        }
        table
    }

    fn dialog_table(&self, now: Instant) -> Table {
        let mut table = Table::new(&["call_id", "usage", "direction", "expires_s", "flow"]);
        for dialog in self.dialogs.iter() {
            table.push([
                dialog.between.call_id().to_owned(),
                format!("{:?}", dialog.usage).to_lowercase(),
                format!("{:?}", dialog.direction).to_lowercase(),
                dialog.expires_at.since(now).as_secs().to_string(),
                dialog.flow().to_string(),
            ]);
        }
        table
    }
}
