//! The bindings of one implicit registration set, changed only here (RFC 3261 §10.3,
//! TS 24.229 §5.4.1.2.2).

use std::sync::Arc;

use thiserror::Error;

use super::bound::BoundContact;
use super::contact::{ContactWish, Wish};
use super::gruu::{Gruus, TempGruu, instance_of};
use super::registration::{Binding, ContactEvent};
use crate::sip::NameAddr;
use crate::time::{Duration, Instant};

/// Where a change comes from: the REGISTER's own data.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The private identity that registers.
    pub impi: Arc<str>,
    /// The key of the identity in To.
    pub registered_with: Arc<str>,
    /// The Path values, topmost first, each in angle brackets.
    pub path: &'a [Box<str>],
    /// The Call-ID.
    pub call_id: &'a str,
    /// The sequence number.
    pub cseq: u32,
    /// The user part of the Service-Route of contacts that are new; others keep theirs.
    pub token: &'a str,
    /// Whether new contacts take the place of the user's other ones: an initial registration
    /// without multiple registrations (TS 24.229 §5.4.1.2.2).
    pub replaces: bool,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Bindings that are gone, with the reason in their `event`.
    pub removed: Vec<Binding>,
    /// Whether a binding came or was refreshed.
    pub updated: bool,
}

impl Change {
    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.updated && self.removed.is_empty()
    }
}

/// A REGISTER that is older than the binding it would change: 500 (RFC 3261 §10.3 step 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("CSeq {found} is not above {last}, the one that was used with this Call-ID")]
pub struct OutOfOrder {
    /// The sequence number of the REGISTER.
    pub found: u32,
    /// The one of the binding.
    pub last: u32,
}

/// The contacts of a set.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    /// Never changed in place, so that a snapshot can have it too: each set is held once, not
    /// twice. A change copies the few contacts there are.
    list: Arc<[Binding]>,
    count: u64,
}

impl Bindings {
    /// No contact yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The contacts in the order in which they came.
    #[must_use]
    pub fn list(&self) -> &[Binding] {
        &self.list
    }

    /// The same list, to be published.
    #[must_use]
    pub fn shared(&self) -> Arc<[Binding]> {
        Arc::clone(&self.list)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is one that was not registered for emergency calls alone (TS 24.229 §5.4.8).
    #[must_use]
    pub fn has_normal(&self) -> bool {
        self.list.iter().any(|binding| !binding.is_emergency())
    }

    /// Whether this private identity has a contact here.
    #[must_use]
    pub fn has_user(&self, impi: &str) -> bool {
        self.of_user(impi).next().is_some()
    }

    /// The contacts of one private identity.
    pub fn of_user(&self, impi: &str) -> impl Iterator<Item = &Binding> {
        self.list.iter().filter(move |binding| *binding.impi == *impi)
    }

    /// The binding of this address for this private identity.
    #[must_use]
    pub fn find(&self, impi: &str, contact: &NameAddr) -> Option<&Binding> {
        self.of_user(impi).find(|binding| binding.contact.is(contact))
    }

    /// The next time at which a binding ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.list.iter().map(|binding| binding.expires_at).min()
    }

    /// Checks that a REGISTER is newer than every binding it names (RFC 3261 §10.3 step 7).
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`]; nothing may be changed then.
    pub fn check_order(
        &self,
        impi: &str,
        wish: &Wish,
        call_id: &str,
        cseq: u32,
    ) -> Result<(), OutOfOrder> {
        let named = |binding: &&Binding| match wish {
            Wish::Fetch => false,
            Wish::RemoveAll => true,
            Wish::Update(list) => list.iter().any(|wish| wish.names(&binding.contact)),
        };
        let last = self
            .of_user(impi)
            .filter(named)
            .filter(|binding| *binding.call_id == *call_id)
            .map(|binding| binding.cseq)
            .max();
        match last {
            Some(last) if cseq <= last => Err(OutOfOrder { found: cseq, last }),
            _ => Ok(()),
        }
    }

    /// Adds, refreshes and removes contacts as the REGISTER wants.
    pub fn update(&mut self, now: Instant, wishes: &[ContactWish], source: &Source<'_>) -> Change {
        let mut change = Change::default();
        let mut contacts = self.list.to_vec();
        for wish in wishes {
            let at = contacts
                .iter()
                .position(|binding| *binding.impi == *source.impi && wish.names(&binding.contact));
            if wish.expires.is_zero() {
                if let Some(at) = at {
                    let event = ContactEvent::Unregistered;
                    change.removed.push(Binding { event, ..contacts.remove(at) });
                }
                continue;
            }
            change.updated = true;
            let (id, event) = match at.and_then(|at| contacts.get(at)) {
                Some(old) => (old.id, ContactEvent::Refreshed),
                None => {
                    self.count += 1;
                    (self.count, ContactEvent::Registered)
                }
            };
            let binding = bind(now, wish, source, (id, event));
            match at.and_then(|at| contacts.get_mut(at)) {
                Some(old) => *old = binding.in_place_of(old),
                None => contacts.push(binding),
            }
        }
        self.list = contacts.into();
        if source.replaces && change.updated {
            let kept = |binding: &Binding| wishes.iter().any(|wish| wish.names(&binding.contact));
            let gone = self.remove(ContactEvent::Unregistered, |binding| {
                *binding.impi == *source.impi && !binding.is_emergency() && !kept(binding)
            });
            change.removed.extend(gone);
        }
        change
    }

    /// Gives the instance of this contact its public GRUU and further temporary ones, in all its
    /// flows (RFC 5627 §5.2).
    pub fn add_gruus(&mut self, impi: &str, contact: &NameAddr, new: Vec<TempGruu>) {
        let Some(gr) = instance_of(contact) else { return };
        let its_instance =
            |binding: &Binding| binding.contact.read().as_ref().and_then(instance_of);
        let flows = |binding: &Binding| {
            *binding.impi == *impi && its_instance(binding).as_ref() == Some(&gr)
        };
        let known = self.list.iter().filter(|its| flows(its)).find_map(|its| its.gruus.as_deref());
        let first = || Gruus { gr: gr.as_str().into(), temporary: Vec::new() };
        let mut gruus = known.cloned().unwrap_or_else(first);
        gruus.add(new);
        let gruus = Arc::new(gruus);
        let mut contacts = self.list.to_vec();
        for binding in contacts.iter_mut().filter(|its| flows(its)) {
            binding.gruus = Some(Arc::clone(&gruus));
        }
        self.list = contacts.into();
    }

    /// Takes away the contacts that `which` names, for this reason.
    pub fn remove(
        &mut self,
        event: ContactEvent,
        which: impl Fn(&Binding) -> bool,
    ) -> Vec<Binding> {
        if !self.list.iter().any(&which) {
            return Vec::new();
        }
        let contacts = self.list.iter().cloned();
        let (gone, kept) = contacts.partition::<Vec<_>, _>(|binding| which(binding));
        self.list = kept.into();
        gone.into_iter().map(|binding| Binding { event, ..binding }).collect()
    }

    /// Takes away the contacts whose time is over.
    pub fn expire(&mut self, now: Instant) -> Vec<Binding> {
        self.remove(ContactEvent::Expired, |binding| binding.expires_at <= now)
    }

    /// Cuts the time of a user's contacts, not those for emergency calls (TS 24.229 §5.4.1.6,
    /// §5.4.8); says whether one was cut.
    pub fn shorten(&mut self, now: Instant, impi: &str, to: Duration) -> bool {
        let cuttable =
            |its: &Binding| *its.impi == *impi && its.expires_at > now + to && !its.is_emergency();
        if !self.list.iter().any(cuttable) {
            return false;
        }
        let mut contacts = self.list.to_vec();
        for binding in contacts.iter_mut().filter(|its| cuttable(its)) {
            binding.expires_at = now + to;
            binding.event = ContactEvent::Shortened;
        }
        self.list = contacts.into();
        true
    }
}

fn bind(
    now: Instant,
    wish: &ContactWish,
    source: &Source<'_>,
    (id, event): (u64, ContactEvent),
) -> Binding {
    let mut contact = wish.address.clone();
    for name in ["expires", "pub-gruu", "temp-gruu"] {
        contact.params.remove(name);
    }
    Binding {
        id,
        impi: Arc::clone(&source.impi),
        registered_with: Arc::clone(&source.registered_with),
        q: contact.q_thousandths(),
        contact: BoundContact::new(&contact),
        expires_at: now + wish.expires,
        path: source.path.into(),
        call_id: source.call_id.into(),
        cseq: source.cseq,
        token: source.token.into(),
        event,
        gruus: None,
    }
}

impl Binding {
    /// Keeps what a refresh does not change: the Service-Route, and the GRUUs as long as Call-ID
    /// and instance are the same (RFC 5627 §5.2).
    fn in_place_of(mut self, old: &Self) -> Self {
        self.token.clone_from(&old.token);
        let instance = |its: &Self| its.contact.read().as_ref().and_then(instance_of);
        if old.gruus.is_some() && self.call_id == old.call_id && instance(&self) == instance(old) {
            self.gruus.clone_from(&old.gruus);
        }
        self
    }
}

/// Whether two contacts are one binding: the same instance and flow where both name one
/// (RFC 5626 §6), else equivalent URIs (RFC 3261 §10.3).
pub(super) fn same_contact(a: &NameAddr, b: &NameAddr) -> bool {
    let flow = |its: &NameAddr| {
        let instance = its.params.unquoted("+sip.instance")?.into_owned();
        Some((instance, its.param("reg-id")?.to_owned()))
    };
    match (flow(a), flow(b)) {
        (Some(a), Some(b)) => a == b,
        // A contact for emergency calls is another one (TS 24.229 §5.4.8, §7.2A.13).
        _ => a.uri == b.uri && a.uri.params().has("sos") == b.uri.params().has("sos"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(100);

    fn source(cseq: u32) -> Source<'static> {
        Source {
            impi: "alice@ims.example".into(),
            registered_with: "sip:alice@ims.example".into(),
            path: &[],
            call_id: "c1",
            cseq,
            token: "orig-1",
            replaces: false,
        }
    }

    fn wish(contact: &str, secs: u64) -> ContactWish {
        let address = NameAddr::parse(contact).expect("an address");
        ContactWish { address, expires: Duration::from_secs(secs) }
    }

    fn contacts(bindings: &Bindings) -> Vec<String> {
        bindings.list().iter().map(|binding| binding.contact.text().to_owned()).collect()
    }

    #[test]
    fn a_contact_is_bound_refreshed_and_removed() {
        let mut bindings = Bindings::new();
        let contact = "<sip:10.0.0.1:5060>;audio;q=0.5;expires=60";

        let change = bindings.update(NOW, &[wish(contact, 60)], &source(1));
        assert!(change.updated && change.removed.is_empty());
        assert_eq!(contacts(&bindings), ["<sip:10.0.0.1:5060>;audio;q=0.5"]);
        assert_eq!(bindings.list()[0].q, 500);
        assert_eq!(bindings.list()[0].event, ContactEvent::Registered);

        bindings.update(NOW, &[wish("<sip:10.0.0.1:5060>", 120)], &source(2));
        assert_eq!(bindings.list()[0].event, ContactEvent::Refreshed);
        assert_eq!(bindings.next_expiry(), Some(Instant::from_secs(220)));

        let change = bindings.update(NOW, &[wish("<sip:10.0.0.1:5060>", 0)], &source(3));
        assert_eq!(change.removed.len(), 1);
        assert_eq!(change.removed[0].event, ContactEvent::Unregistered);
        assert!(bindings.is_empty());
    }

    /// S-REG-140
    #[test]
    fn a_register_older_than_the_binding_is_out_of_order() {
        let mut bindings = Bindings::new();
        let one = vec![wish("<sip:10.0.0.1>", 60)];
        bindings.update(NOW, &one, &source(5));
        let one = Wish::Update(one);
        let check = |call_id, cseq| bindings.check_order("alice@ims.example", &one, call_id, cseq);
        assert_eq!(check("c1", 5), Err(OutOfOrder { found: 5, last: 5 }));
        assert_eq!(check("c1", 6), Ok(()));
        assert_eq!(check("c2", 1), Ok(()));
        let other = Wish::Update(vec![wish("<sip:10.0.0.2>", 60)]);
        assert_eq!(bindings.check_order("alice@ims.example", &other, "c1", 1), Ok(()));
    }

    /// S-REG-210
    #[test]
    fn a_new_contact_takes_the_place_of_the_old_one() {
        let mut bindings = Bindings::new();
        bindings.update(NOW, &[wish("<sip:10.0.0.1>", 60)], &source(1));
        let other_user = Source { impi: "tablet@ims.example".into(), ..source(1) };
        bindings.update(NOW, &[wish("<sip:10.0.0.9>", 60)], &other_user);

        let source = Source { replaces: true, ..source(2) };
        let change = bindings.update(NOW, &[wish("<sip:10.0.0.2>", 60)], &source);

        assert_eq!(change.removed.len(), 1);
        assert_eq!(contacts(&bindings), ["<sip:10.0.0.9>", "<sip:10.0.0.2>"]);
    }

    #[test]
    fn a_flow_is_known_by_instance_and_reg_id() {
        let mut bindings = Bindings::new();
        let at = |host: &str, id: u8| {
            wish(&format!("<sip:{host}>;+sip.instance=\"<urn:x:1>\";reg-id={id}"), 60)
        };
        bindings.update(NOW, &[at("10.0.0.1", 1)], &source(1));
        bindings.update(NOW, &[at("10.0.0.2", 1)], &source(2));
        bindings.update(NOW, &[at("10.0.0.2", 2)], &source(3));
        assert_eq!(bindings.list().len(), 2);
    }

    #[test]
    fn time_ends_and_is_cut() {
        let mut bindings = Bindings::new();
        bindings.update(NOW, &[wish("<sip:10.0.0.1>", 600)], &source(1));
        assert!(bindings.shorten(NOW, "alice@ims.example", Duration::from_secs(60)));
        assert!(!bindings.shorten(NOW, "alice@ims.example", Duration::from_secs(60)));
        assert!(bindings.expire(Instant::from_secs(159)).is_empty());
        let gone = bindings.expire(Instant::from_secs(160));
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].event, ContactEvent::Expired);
    }
}
