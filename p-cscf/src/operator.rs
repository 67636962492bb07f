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
            Show::Challenges | Show::Refusals | Show::Sas | Show::Subscribers => {
                return Err(OrderError::NotHere);
            }
        };
        Ok(OrderAnswer::Table(table.only(of)))
    }

    fn registration_table(&self, now: Instant) -> Table {
        let mut table = Table::new(&["impi", "impu", "contact", "expires_s", "flow"]);
        for ue in self.bindings.iter() {
            let flow = ue.flow.to_string();
            if !ue.is_registered() {
                let left = ue.pending_until.since(now).as_secs().to_string();
                let (impu, contact) = (String::new(), "(no answer yet)".to_owned());
                table.push([ue.impi().to_owned(), impu, contact, left, flow.clone()]);
            }
            for one in &ue.registrations {
                let left = one.expires_at.since(now).as_secs().to_string();
                let (impu, contact) = (one.aor.to_string(), one.contact.to_string());
                table.push([ue.impi().to_owned(), impu, contact, left, flow.clone()]);
            }
        }
        table
    }

    fn dialog_table(&self, now: Instant) -> Table {
        let mut table = Table::new(&["call_id", "usage", "direction", "expires_s", "flow"]);
        for dialog in self.dialogs.iter() {
            table.push([
                dialog.call_id.to_string(),
                format!("{:?}", dialog.usage).to_lowercase(),
                format!("{:?}", dialog.direction).to_lowercase(),
                dialog.expires_at.since(now).as_secs().to_string(),
                dialog.flow.to_string(),
            ]);
        }
        table
    }
}
