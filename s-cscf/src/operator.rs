//! Orders of the operator at an S-CSCF (TS 24.229 §5.4.1.5, §5.4.1.6) and what it shows.

use cscf_core::operator::{Order, OrderAnswer, OrderError, OrderResult, Show, Table};
use cscf_core::role::Env;
use cscf_core::time::Instant;

use crate::owner::RegistrationOwner;
use crate::{Command, Scscf, ScscfActions};

impl Scscf {
    /// Obeys an order that has a part for an S-CSCF.
    pub(crate) fn obey(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut ScscfActions,
    ) -> OrderResult {
        let (impi, command, text) = match order {
            Order::Deregister { who, contact, event } => {
                let (impi, contact, event) = (who.clone(), contact.clone(), *event);
                let text = format!("{who} is deregistered: {}", event.as_str());
                (who, Command::Deregister { impi, contact, event }, text)
            }
            Order::Forget { who } => {
                let text = format!("all data of {who} are lost");
                (who, Command::Forget { impi: who.clone() }, text)
            }
            Order::Reauthenticate { who, within } => {
                let (impi, within) = (who.clone(), *within);
                let text = format!("{who} has to authenticate within {} s", within.as_secs());
                (who, Command::Reauthenticate { impi, within }, text)
            }
            Order::Show { what, of } => return self.show(env.now, *what, of),
            _ => return self.work.obey(order).ok_or(OrderError::NotHere),
        };
        if self.owner.sets_of(impi).is_empty() {
            return Err(OrderError::refused(format!("{impi} is not registered here")));
        }
        self.command(env, command, out);
        Ok(OrderAnswer::Done(text))
    }

    fn show(&self, now: Instant, what: Show, of: &[String]) -> OrderResult {
        let table = match what {
            Show::Challenges => self.owner.challenge_table(now),
            Show::Registrations => self.owner.registration_table(now),
            Show::Dialogs => self.sessions.dialogs.table(),
            Show::Health
            | Show::Keys
            | Show::Metrics
            | Show::Refusals
            | Show::Sas
            | Show::Subscribers
            | Show::Transactions => return Err(OrderError::NotHere),
        };
        Ok(OrderAnswer::Table(table.only(of)))
    }
}

impl RegistrationOwner {
    fn registration_table(&self, now: Instant) -> Table {
        let mut table = Table::new(&[
            "impi",
            "impu",
            "contact",
            "expires_s",
            "event",
            "path",
            "identities",
            "associated_impis",
        ]);
        for set in self.in_order() {
            let identities: Vec<String> = set
                .identities
                .iter()
                .map(|its| format!("{}{}", its.uri, if its.barred { " (barred)" } else { "" }))
                .collect();
            for binding in set.bindings.list() {
                table.push([
                    binding.impi.to_string(),
                    binding.registered_with.to_string(),
                    binding.contact.uri().to_owned(),
                    binding.expires_in(now).to_string(),
                    binding.event.as_str().to_owned(),
                    binding.path.join(", "),
                    identities.join(", "),
                    set.associated.join(", "),
                ]);
            }
        }
        table
    }

    fn challenge_table(&self, now: Instant) -> Table {
        let mut table = Table::new(&["impi", "impu", "scheme", "since_s", "failures"]);
        let all = &self.challenges;
        for (impi, challenge) in
            all.iter().flat_map(|(impi, its)| its.list().map(move |it| (impi, it)))
        {
            table.push([
                impi.to_string(),
                challenge.impu().to_owned(),
                challenge.scheme().to_owned(),
                challenge.age(now).as_secs().to_string(),
                challenge.failures().to_string(),
            ]);
        }
        table
    }
}
