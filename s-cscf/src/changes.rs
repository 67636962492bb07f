//! What happens when an implicit registration set has changed, whoever changed it: everybody who
//! has to hear of it is told from this one place (TS 24.229 §5.4.1.7, §5.4.2.1.2).

use cscf_core::clause::ts24229;
use cscf_core::registrar::Binding;
use cscf_core::role::Env;

use crate::ScscfActions;
use crate::owner::{RegistrationOwner, SetId};
use crate::register::Register;

/// What became of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// It has its first contact that is not for emergency calls alone.
    Registered,
    /// Contacts came, were refreshed or went; at least one is left.
    Reregistered,
    /// The network cut the time of its contacts.
    Shortened,
    /// The HSS sent another profile; the contacts are the same.
    Profiled,
    /// Its last contact that is not for emergency calls alone is gone.
    Deregistered,
}

/// Who changed it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChangedBy<'a> {
    /// A REGISTER of the user.
    User(&'a Register),
    /// The end of its time.
    Time,
    /// The HSS.
    Hss,
    /// The operator.
    Operator,
    /// An application server that failed.
    Server,
}

/// A change of a set. The set is still there, its bindings are those after the change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetChange<'a> {
    pub(crate) set: SetId,
    pub(crate) became: Became,
    pub(crate) by: ChangedBy<'a>,
    /// The contacts that went, the reason in their `event`.
    pub(crate) removed: &'a [Binding],
}

impl SetChange<'_> {
    /// Whether only contacts for emergency calls came or went: application servers do not hear of
    /// them (TS 24.229 §5.4.8, TS 23.167 §6.2.4).
    pub(crate) fn is_emergency(&self) -> bool {
        match self.by {
            ChangedBy::User(register) if !register.wish.deregisters() => {
                register.wish.is_emergency()
            }
            _ => !self.removed.is_empty() && self.removed.iter().all(Binding::is_emergency),
        }
    }
}

impl RegistrationOwner {
    /// Tells everybody who has to hear of a change.
    pub(crate) fn set_changed(
        &mut self,
        env: &mut Env<'_>,
        change: &SetChange<'_>,
        out: &mut ScscfActions,
    ) {
        env.note(ts24229("5.4.1.2.2"), || {
            let by = match change.by {
                ChangedBy::User(register) => register.impi.as_str(),
                ChangedBy::Time => "the end of its time",
                ChangedBy::Hss => "the HSS",
                ChangedBy::Operator => "the operator",
                ChangedBy::Server => "the failure of an application server",
            };
            format!("{:?} by {by}, {} contact(s) gone", change.became, change.removed.len())
        });
        self.notify(env, change.set, change.removed, out);
        self.tell_servers(env, change, out);
    }
}
