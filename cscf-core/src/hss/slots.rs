//! The subscriptions by number. Each has the number that it would have if all had been provisioned
//! one by one, and keeps it; those of ranges are there only while they are in use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::Arc;

use crate::auth::Scheme;
use crate::hss::range::{Members, Servers, SubscriberRange};
use crate::hss::store::{Found, RegistrationState, SetState, StoreError, Subscriber, Subscription};
use crate::identity::{imsi_value, number_value};
use crate::ids::Seed;
use crate::map::SeededState;

/// Members of ranges that may be there whole at a time. The questions of a registration find the
/// same one, also of all that begin within some ten milliseconds; with more, the one that goes has
/// left the caches of the processor before. One goes for each that comes when there is no more
/// room: all at once would be a pause.
const AWAKE_MAX: usize = 256;

/// Subscriptions that were provisioned together.
#[derive(Debug)]
struct Block {
    /// The number of the first.
    first: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Listed(Vec<Subscription>),
    Range(Box<Members>),
}

/// A member of a range in use, with its first data if it had them when it woke: as long as it
/// shares them, nothing of them was changed.
type Awake = (Subscription, Option<Arc<Subscriber>>);

/// All subscriptions.
#[derive(Debug)]
pub(super) struct Slots {
    blocks: Vec<Block>,
    len: usize,
    /// Members of ranges in use, by number.
    awake: BTreeMap<usize, Awake>,
    /// The same in the order in which they woke.
    woken: VecDeque<usize>,
    servers: Servers,
    /// The blocks of ranges by width and value of the first IMSI, and by first number.
    by_imsi: BTreeMap<(usize, u64), usize>,
    by_number: BTreeMap<u64, usize>,
    home_domain: String,
    /// Spreads what is kept of members.
    state: SeededState,
}

/// A subscription to be looked at: where it is, or made for this.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    Here(&'a Subscription),
    Made(Box<Subscription>),
}

impl Deref for Seen<'_> {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        match self {
            Self::Here(subscription) => subscription,
            Self::Made(subscription) => subscription,
        }
    }
}

impl Slots {
    pub(super) fn new(home_domain: &str, seed: &Seed) -> Self {
        Self {
            blocks: Vec::new(),
            len: 0,
            awake: BTreeMap::new(),
            woken: VecDeque::new(),
            servers: Servers::default(),
            by_imsi: BTreeMap::new(),
            by_number: BTreeMap::new(),
            home_domain: home_domain.to_ascii_lowercase(),
            state: SeededState::new(seed),
        }
    }

    /// How many there are, those of ranges counted each.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has_ranges(&self) -> bool {
        !self.by_imsi.is_empty()
    }

    /// How many members of ranges there are whole, or in part.
    pub(super) fn made(&self) -> usize {
        let kept = self.blocks.iter().map(|block| match &block.kind {
            Kind::Listed(_) => 0,
            Kind::Range(members) => members.used().count(),
        });
        let awake = self.awake.keys().filter(|number| {
            let range = self.range_with(**number);
            range.is_some_and(|(members, member)| !members.keeps(member))
        });
        kept.sum::<usize>() + awake.count()
    }

    /// One more; gives its number.
    pub(super) fn push(&mut self, subscription: Subscription) -> usize {
        let number = self.len;
        self.len += 1;
        match self.blocks.last_mut() {
            Some(Block { kind: Kind::Listed(listed), .. }) => listed.push(subscription),
            _ => {
                self.blocks.push(Block { first: number, kind: Kind::Listed(vec![subscription]) });
            }
        }
        number
    }

    /// A range more.
    ///
    /// # Errors
    ///
    /// It meets another one, or is of another domain.
    pub(super) fn push_range(
        &mut self,
        range: SubscriberRange,
        scheme: Scheme,
    ) -> Result<(), StoreError> {
        self.check(&range)?;
        let block = self.blocks.len();
        self.by_imsi.insert((range.imsis.width(), *range.imsis.values().start()), block);
        if let Some(numbers) = range.imsis.numbers() {
            self.by_number.insert(*numbers.start(), block);
        }
        let members = Members::new(range, scheme, self.state)?;
        let first = self.len;
        self.len = self.len.saturating_add(members.count());
        self.blocks.push(Block { first, kind: Kind::Range(Box::new(members)) });
        Ok(())
    }

    fn check(&self, range: &SubscriberRange) -> Result<(), StoreError> {
        let imsis = &range.imsis;
        if imsis.domain() != self.home_domain {
            return Err(StoreError::IdentityWrong(imsis.impi(0)));
        }
        let last = (imsis.width(), *imsis.values().end());
        let before = self.by_imsi.range(..=last).next_back();
        let other = before.and_then(|(_, block)| self.members(*block));
        if let Some(member) = other.and_then(|other| imsis.meets(other.imsis())) {
            return Err(StoreError::IdentityTwice(imsis.impi(member)));
        }
        let Some(numbers) = imsis.numbers() else { return Ok(()) };
        let before = self.by_number.range(..=*numbers.end()).next_back();
        let other = before.and_then(|(_, block)| self.members(*block)?.imsis().numbers());
        match other.filter(|other| other.end() >= numbers.start()) {
            Some(other) => {
                let number = other.start().max(numbers.start());
                Err(StoreError::IdentityTwice(format!("tel:+{number}")))
            }
            None => Ok(()),
        }
    }

    fn members(&self, block: usize) -> Option<&Members> {
        match &self.blocks.get(block)?.kind {
            Kind::Range(members) => Some(members),
            Kind::Listed(_) => None,
        }
    }

    /// The block with a number, and the place in it.
    fn block_with(&self, number: usize) -> Option<(usize, usize)> {
        let block = self.blocks.partition_point(|block| block.first <= number).checked_sub(1)?;
        let place = number - self.blocks.get(block)?.first;
        Some((block, place)).filter(|_| number < self.len)
    }

    fn range_with(&self, number: usize) -> Option<(&Members, u64)> {
        let (block, place) = self.block_with(number)?;
        Some((self.members(block)?, u64::try_from(place).ok()?))
    }

    /// The member of a range with this private identity, as long as it leads there.
    pub(super) fn find_impi(&self, key: &str) -> Option<usize> {
        let (imsi, domain) = key.split_once('@')?;
        if domain != self.home_domain { None } else { self.find_imsi(imsi) }
    }

    /// The same for a public identity in the form it is looked up by (`identity::Impu`).
    pub(super) fn find_impu(&self, key: &str) -> Option<Found> {
        let number = match key.strip_prefix("tel:") {
            Some(number) => self.find_number(number),
            None => {
                let (user, domain) = key.strip_prefix("sip:")?.split_once('@')?;
                match user.starts_with('+') {
                    _ if domain != self.home_domain => None,
                    true => self.find_number(user),
                    false => self.find_imsi(user),
                }
            }
        };
        Some(Found { subscription: number?, set: 0 })
    }

    fn find_imsi(&self, imsi: &str) -> Option<usize> {
        if self.by_imsi.is_empty() {
            return None;
        }
        let (_, block) = self.by_imsi.range(..=imsi_value(imsi)?).next_back()?;
        self.number_of(*block, self.members(*block)?.imsis().of_imsi(imsi)?)
    }

    fn find_number(&self, number: &str) -> Option<usize> {
        if self.by_number.is_empty() {
            return None;
        }
        let (_, block) = self.by_number.range(..=number_value(number)?).next_back()?;
        self.number_of(*block, self.members(*block)?.imsis().of_number(number)?)
    }

    fn number_of(&self, block: usize, member: u64) -> Option<usize> {
        let leads = self.members(block)?.leads(member);
        let number = self.blocks.get(block)?.first + usize::try_from(member).ok()?;
        Some(number).filter(|_| leads)
    }

    /// Lets the identities of a member of a range lead to it, or nowhere; whether it is one.
    pub(super) fn lead(&mut self, number: usize, here: bool) -> bool {
        let Some((block, place)) = self.block_with(number) else { return false };
        match (self.blocks.get_mut(block), u64::try_from(place)) {
            (Some(Block { kind: Kind::Range(members), .. }), Ok(member)) => {
                members.lead(member, here);
                true
            }
            _ => false,
        }
    }

    /// A subscription to be looked at.
    pub(super) fn at(&self, number: usize) -> Option<Seen<'_>> {
        let (block, place) = self.block_with(number)?;
        match &self.blocks.get(block)?.kind {
            Kind::Listed(listed) => listed.get(place).map(Seen::Here),
            Kind::Range(members) => Some(match self.awake.get(&number) {
                Some((awake, _)) => Seen::Here(awake),
                None => Seen::Made(Box::new(members.make(u64::try_from(place).ok()?).0)),
            }),
        }
    }

    /// A subscription to be changed.
    pub(super) fn at_mut(&mut self, number: usize) -> Option<&mut Subscription> {
        let (block, place) = self.block_with(number)?;
        let is_range = matches!(self.blocks.get(block)?.kind, Kind::Range(_));
        if is_range && !self.awake.contains_key(&number) {
            if self.awake.len() >= AWAKE_MAX {
                self.put_oldest_away();
            }
            self.woken.push_back(number);
        }
        match &mut self.blocks.get_mut(block)?.kind {
            Kind::Listed(listed) => listed.get_mut(place),
            Kind::Range(members) => {
                let member = u64::try_from(place).ok()?;
                Some(&mut self.awake.entry(number).or_insert_with(|| members.wake(member)).0)
            }
        }
    }

    /// Lets the member go that woke first; what differs from how it was made is kept.
    fn put_oldest_away(&mut self) {
        let Some(number) = self.woken.pop_front() else { return };
        let (Some(awake), Some((block, place))) =
            (self.awake.remove(&number), self.block_with(number))
        else {
            return;
        };
        if let (Some(Block { kind: Kind::Range(members), .. }), Ok(member)) =
            (self.blocks.get_mut(block), u64::try_from(place))
        {
            members.keep(member, awake, &mut self.servers);
        }
    }

    /// How many members of ranges are there whole.
    #[cfg(test)]
    pub(super) fn awake(&self) -> usize {
        self.awake.len()
    }

    /// Those that were provisioned one by one, and the members of ranges that may not be as they
    /// were made, in order.
    pub(super) fn used(&self) -> impl Iterator<Item = Seen<'_>> {
        self.blocks.iter().flat_map(|block| self.used_of(block)).filter_map(|it| self.at(it))
    }

    fn used_of(&self, block: &Block) -> Vec<usize> {
        match &block.kind {
            Kind::Listed(listed) => (block.first..block.first + listed.len()).collect(),
            Kind::Range(members) => self.numbers(block.first, members, members.used()),
        }
    }

    /// The numbers of members, and of those that are awake.
    fn numbers(
        &self,
        first: usize,
        members: &Members,
        some: impl Iterator<Item = u64>,
    ) -> Vec<usize> {
        let some = some.filter_map(|member| Some(first + usize::try_from(member).ok()?));
        let awake = self.awake.range(first..first.saturating_add(members.count()));
        let all: BTreeSet<usize> = some.chain(awake.map(|(number, _)| *number)).collect();
        all.into_iter().collect()
    }

    /// The numbers of those that may have an S-CSCF, in order.
    pub(super) fn perhaps_served(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().flat_map(|block| match &block.kind {
            Kind::Listed(_) => self.used_of(block),
            Kind::Range(members) => self.numbers(block.first, members, members.served()),
        })
    }

    /// The numbers of those whose private identity may have one of these texts in it, in order.
    pub(super) fn perhaps_named<'a>(
        &'a self,
        of: &'a [String],
    ) -> impl Iterator<Item = usize> + use<'a> {
        self.blocks.iter().flat_map(move |block| {
            let (listed, members) = match &block.kind {
                Kind::Listed(listed) => (listed.len(), None),
                Kind::Range(members) => (0, Some(members)),
            };
            let mut from = 0;
            let named = std::iter::from_fn(move || {
                let imsis = members?.imsis();
                let next = of.iter().filter_map(|text| imsis.next_with(from, text)).min()?;
                from = next + 1;
                usize::try_from(next).ok()
            });
            (0..listed).chain(named).map(|place| block.first + place)
        })
    }

    /// How many implicit registration sets there are in each state.
    pub(super) fn count_states(&self, mut add: impl FnMut(RegistrationState, usize)) {
        let mut each = |states: &[SetState]| {
            states.iter().for_each(|state| add(state.registration(), 1));
        };
        self.awake.values().for_each(|(one, _)| each(&one.states));
        for block in &self.blocks {
            match &block.kind {
                Kind::Listed(listed) => listed.iter().for_each(|one| each(&one.states)),
                Kind::Range(_) => {}
            }
        }
        for Block { first, kind } in &self.blocks {
            let Kind::Range(members) = kind else { continue };
            let awake = self.awake.range(*first..first.saturating_add(members.count()));
            let is_awake = |member: u64| {
                let number = usize::try_from(member).ok().map(|place| first + place);
                number.is_some_and(|number| self.awake.contains_key(&number))
            };
            members.count_states(awake.count(), is_awake, &mut add);
        }
    }
}
